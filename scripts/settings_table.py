"""Writes `docs/settings.md` from the settings in `schemas.settings`; `--check` only says whether the page is current.

.venv/bin/python -m scripts.settings_table [--check] docs/settings.md
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

from schemas.settings import documented

HEAD = """# Settings

All are environment variables. Sizes are bytes and times are seconds unless a unit is named. `fluxions doctor` points out
misspelt ones.
Clients also read `FLUXIONS_URL`, the address of the server.

This page is written by `scripts/settings_table.py`; change a sentence in `schemas/settings.py`.
"""


def page() -> str:
    """Markdown: one section with a table for each concern."""
    parts = [HEAD]
    for concern, rows in groupby(documented(), key=lambda row: row[0]):
        lines = [f"## {concern.rstrip('.')}", "", "| variable | default | meaning |", "|---|---|---|"]
        for _, name, default, sentence in rows:
            shown = f"`{default}`" if default else ""
            lines.append(f"| `{name}` | {shown} | {sentence.replace('|', chr(92) + '|')} |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def main(arguments: list[str]) -> int:
    check = "--check" in arguments
    path = Path(next(a for a in arguments if not a.startswith("--")))
    wanted = page()
    if check and path.read_text() != wanted:
        print(f"{path} is not current; run: .venv/bin/python -m scripts.settings_table {path}", file=sys.stderr)
        return 1
    if not check:
        path.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
