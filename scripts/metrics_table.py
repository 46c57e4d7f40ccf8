"""Writes the table of metrics in docs/monitoring.md from `telemetry.metrics`: ``python -m scripts.metrics_table PAGE``."""

from __future__ import annotations

import sys
from pathlib import Path

from telemetry.metrics import INSTRUMENTS, SCRAPED, series

_BEGIN, _END = "<!-- metrics -->\n", "<!-- /metrics -->"


def table() -> str:
    """The table in Markdown."""
    labels = series()
    rows = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for one in INSTRUMENTS:
        (family,) = one.describe()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found = labels.get(name, labels.get(f"{name}_count", ()))
        rows.append(f"| `{name}` | {family.type} | {_listed(found)} | {family.documentation} |")
    rows += [f"| `{name}` | gauge | {_listed(labels[name])} | {text} |" for name, text in SCRAPED.items()]
    return "\n".join(rows) + "\n"


def with_table(text: str) -> str:
    """``text`` of the page with the present table. Raises ValueError for a page without its place."""
    before, _, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise ValueError("the page has no place for the table")
    return f"{before}{_BEGIN}{table()}{end}{after}"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(with_table(page.read_text()))
