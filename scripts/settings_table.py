"""Writes the table of settings into the README between its markers; `--check` only says whether it is current.

.venv/bin/python scripts/settings_table.py [--check] README.md
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

from schemas.settings import documented

BEGIN = "<!-- settings: written by scripts/settings_table.py -->\n"
END = "<!-- end of settings -->\n"


def table() -> str:
    """Markdown: one table a concern, headed by its sentence."""
    parts: list[str] = []
    for concern, rows in groupby(documented(), key=lambda row: row[0]):
        lines = [f"**{concern}**", "", "| variable | default | meaning |", "|---|---|---|"]
        for _, name, default, sentence in rows:
            shown = f"`{default}`" if default else ""
            lines.append(f"| `{name}` | {shown} | {sentence.replace('|', chr(92) + '|')} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def renewed(readme: str) -> str:
    """The same text with a current table. Raises ValueError where the markers are not there once each."""
    if readme.count(BEGIN) != 1 or readme.count(END) != 1:
        raise ValueError("the file must hold each of the two marker lines once")
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def main(arguments: list[str]) -> int:
    check = "--check" in arguments
    path = Path(next(a for a in arguments if not a.startswith("--")))
    current = path.read_text()
    wanted = renewed(current)
    if check and current != wanted:
        print(f"{path}: the table of settings is not current; run scripts/settings_table.py {path}", file=sys.stderr)
        return 1
    if not check:
        path.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
