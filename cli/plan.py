"""`fluxions plan`: the machines, storage and money that a load needs, from measured costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import JsonOption
from cli.output import note, print_json, print_table


def plan(
    hours_per_day: Annotated[float, typer.Option(min=0.01, help="Hours of audio a day.")],
    p95: Annotated[float, typer.Option(min=0.0, help="Bound of the 95th percentile of the wait for a node, s.")] = 60.0,
    gpu: Annotated[str, typer.Option("--gpu", "--node", help="Kind of machine, by its name in the costs.")] = "cpu-2",
    minutes: Annotated[float, typer.Option(min=0.05, help="Mean length of a recording, min.")] = 5.0,
    peak: Annotated[float, typer.Option(min=1.0, help="The busiest hour, as a multiple of the mean.")] = 3.0,
    upload_kbit: Annotated[float, typer.Option(min=0.0, help="Bit rate of uploads, kbit/s.")] = 64.0,
    keep_originals: Annotated[bool, typer.Option(help="Whether recordings are kept as they were sent.")] = True,
    usd_per_node_hour: Annotated[float | None, typer.Option(min=0.0, help="Price of a machine, USD an hour.")] = None,
    usd_per_gb_month: Annotated[float | None, typer.Option(min=0.0, help="Price of a GB stored for a month, USD.")] = None,
    costs: Annotated[
        Path | None, typer.Option(help="File of measured costs, as JSON [the costs of this package].", show_default=False)
    ] = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="Also simulate the busiest hour, event by event.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Plan nodes, GPUs, storage and USD for a load, by the formulas of docs/capacity.md. Needs no server.

    Example:

      fluxions plan --hours-per-day 1000 --p95 60 --usd-per-node-hour 0.10 --usd-per-gb-month 0.02
    """
    from benchmarks.capacity import model, simulation
    from benchmarks.capacity.costs import SHIPPED, Costs

    known = Costs.read(costs or SHIPPED)
    node = known.node(gpu)
    load = model.Load(hours_per_day, minutes, peak, p95, upload_kbit, keep_originals)
    found = model.plan(load, known, node, model.Prices(usd_per_node_hour, usd_per_gb_month))
    values: dict[str, Any] = {"plan": found.to_json()}
    if simulate:
        values["busiest_hour"] = simulation.simulate(load, known, node, found.nodes).to_json()
        if found.ledgers > 1:
            sharded = simulation.simulate(load, known, node, found.nodes, found.ledgers)
            values["busiest_hour_sharded"] = sharded.to_json()
    if as_json:
        print_json({**values, "measured": {"node": node.measured, "ledger": known.ledger.measured}})
        return
    for title, rows in values.items():
        print_table(title.replace("_", " "), ["", ""], [[name, _shown(value)] for name, value in rows.items()])
    note(f"speed of {node.name}: {node.measured}")
    note(f"ledger: {known.ledger.measured}")


def _shown(value: Any) -> str:
    if value is None:
        return "no price given"
    if isinstance(value, float):
        return f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"
    return str(value)
