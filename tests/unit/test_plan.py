"""Capacity: formulas against the simulation and known values, and a command that refuses what nobody measured."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from benchmarks.capacity.costs import SHIPPED, Costs
from benchmarks.capacity.model import Load, Prices, erlang_c, least_nodes, plan, wait_p95_secs
from benchmarks.capacity.simulation import simulate
from benchmarks.storage import ledger_jobs
from cli.main import main
from schemas.errors import InvalidParameter

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def costs() -> Costs:
    return Costs.read()


def load(hours_per_day: float, p95_secs: float = 60.0) -> Load:
    return Load(hours_per_day, 5.0, 3.0, p95_secs, 64.0, True)


@pytest.mark.parametrize(
    ("offered", "nodes", "expected"),
    [
        (0.5, 1, 0.5),  # M/M/1: the load itself
        (1.0, 2, 1 / 3),  # M/M/2: a² / (2 + a)
        (8.0, 10, 0.4092),  # a table of Erlang C
    ],
)
def test_erlang_c_has_known_values(offered: float, nodes: int, expected: float) -> None:
    assert erlang_c(offered, nodes) == pytest.approx(expected, abs=1e-4)


def test_the_least_number_of_nodes_is_the_least() -> None:
    for rate in (0.01, 1.0, 40.0):
        nodes = least_nodes(rate, 8.4, 10.0)
        assert wait_p95_secs(rate, 8.4, nodes) <= 10.0
        assert nodes == 1 or wait_p95_secs(rate, 8.4, nodes - 1) > 10.0
    assert wait_p95_secs(1.0, 10.0, 10) == math.inf
    with pytest.raises(InvalidParameter, match="p95"):
        least_nodes(1e9, 1.0, 1.0)


def test_the_simulation_keeps_the_wait_that_the_plan_promises(costs: Costs) -> None:
    node = costs.node("cpu-2")
    asked = load(6000.0, 30.0)
    found = plan(asked, costs, node)
    hour = simulate(asked, costs, node, found.nodes)
    assert hour.recordings > 5000
    assert hour.nodes_busy_share == pytest.approx(found.busy_share, abs=0.05)
    # Lengths vary less than those of the formula, and the hour begins with idle nodes.
    assert hour.wait_p95_secs <= 30.0
    too_few = simulate(asked, costs, node, found.nodes * 9 // 10)
    assert too_few.wait_p95_secs > 60.0


def test_one_ledger_is_the_first_limit_and_more_of_them_lift_it(costs: Costs) -> None:
    node = costs.node("cpu-2")
    asked = load(400_000.0)
    found = plan(asked, costs, node)
    assert found.first_bottleneck == "one ledger"
    one = simulate(asked, costs, node, found.nodes, secs=240.0)
    more = simulate(asked, costs, node, found.nodes, found.ledgers, secs=240.0)
    assert one.ledger_wait_p95_secs > 30.0
    assert more.ledger_wait_p95_secs < 1.0
    assert plan(load(1000.0), costs, node).first_bottleneck.startswith("none")


def test_money_and_storage_follow_the_prices_and_the_hours(costs: Costs) -> None:
    node = costs.node("cpu-2")
    free = plan(load(100.0), costs, node)
    paid = plan(load(100.0), costs, node, Prices(0.5, 0.02))
    assert free.usd_nodes is None
    assert free.usd_storage is None
    assert paid.usd_nodes == pytest.approx(paid.nodes * 0.5 * 730.5)
    assert paid.usd_storage == pytest.approx(paid.storage_gb_per_month * 0.02)
    twice = plan(load(200.0), costs, node)
    assert twice.storage_gb_per_month == pytest.approx(2 * free.storage_gb_per_month)


def test_every_cost_names_its_measurement() -> None:
    found = json.loads(SHIPPED.read_text())
    for part in (found["core_secs_per_audio_hour"], found["secs_per_recording"], found["ledger"], *found["nodes"]):
        assert "docs/" in part["measured"] or "fluxions bench" in part["measured"]


def test_the_command_plans_and_refuses_what_nobody_measured(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["plan", "--hours-per-day", "100", "--usd-per-node-hour", "0.5", "--simulate", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["plan"]["nodes"] >= 1
    assert answer["plan"]["usd_nodes"] > 0
    assert answer["busiest_hour"]["recordings"] > 0
    assert main(["plan", "--hours-per-day", "100", "--gpu", "h100"]) == 1
    assert "no measured costs of 'h100'" in capsys.readouterr().err
    (tmp_path / "costs.json").write_text("{}")
    assert main(["plan", "--hours-per-day", "100", "--costs", str(tmp_path / "costs.json")]) == 1
    assert "Field required" in capsys.readouterr().err


def test_a_ledger_is_measured_by_whole_jobs(tmp_path: Path) -> None:
    found = {one.name: one.value for one in ledger_jobs.measure(tmp_path, jobs=6, at_once=3, duration_secs=30.0, reports=2)}
    assert found["jobs"] > 0
    assert 0 < found["event loop, for a job"] <= found["whole process, for a job"]
