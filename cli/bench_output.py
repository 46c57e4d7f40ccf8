"""How `fluxions bench` prints measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.output import print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measure import Measure


def print_measures(title: str, measures: Sequence[Measure], *, as_json: bool) -> None:
    """Print a table with one row a measure, with its unit; ``title`` names the conditions."""
    if as_json:
        print_json({"title": title, "measures": [m.to_json() for m in measures]})
    else:
        print_table(title, ["measure", "value", "unit"], [[m.name, f"{m.value:.4g}", m.unit] for m in measures])
