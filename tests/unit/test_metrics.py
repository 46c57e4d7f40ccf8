"""Metrics: one answer for several processes, and dashboards, rules and documents that name only what exists."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from schemas.errors import Conflict, InvalidParameter
from schemas.settings import ServerSettings, Settings
from scripts.metrics_table import with_table
from serve.supervisor.instance import create
from serve.supervisor.metrics_endpoint import TARGETS, GatewayGauges, start, targets
from telemetry.metrics import INSTRUMENTS, PREFIX, as_label, series
from telemetry.scrape import InstanceMetrics, serve_metrics
from tests.support.processes import ROOT, RUN_SECS, free_port

pytestmark = pytest.mark.unit

FOLDER = ROOT / "deploy" / "observability"
COUNTING = """
import os, signal, sys
from telemetry.metrics import COMMIT_SECONDS, REQUESTS, count_engine
REQUESTS.labels("/health", "2xx").inc(int(sys.argv[1]))
COMMIT_SECONDS.labels("job_events").observe(0.02)
count_engine("recognizer", 1.5)
os.kill(os.getpid(), signal.SIGKILL)
"""


def expressions() -> Iterator[tuple[str, str]]:
    for panel in json.loads((FOLDER / "dashboard.json").read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def values(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def count_in_process(folder: Path, requests: int) -> None:
    env = {"PROMETHEUS_MULTIPROC_DIR": str(folder), "PYTHONPATH": str(ROOT), "PATH": ""}
    argv = [sys.executable, "-c", COUNTING, str(requests)]
    assert subprocess.run(argv, env=env, check=False, timeout=RUN_SECS).returncode == -9


def test_a_scrape_sums_what_processes_counted_before_they_were_killed(tmp_path: Path) -> None:
    for requests in (2, 3):
        count_in_process(tmp_path, requests)
    server = serve_metrics("127.0.0.1", 0, InstanceMetrics(tmp_path, lambda: {"fluxions_up": {(): 1.0}}))
    try:
        answer = httpx.get(f"http://127.0.0.1:{server.server_port}/metrics", trust_env=False)
    finally:
        server.shutdown()
        server.server_close()
    found = values(answer.raise_for_status().text)
    assert found["fluxions_http_requests_total", (("route", "/health"), ("status", "2xx"))] == 5
    assert found["fluxions_engine_seconds_total", (("slot", "recognizer"),)] == 3.0
    assert found["fluxions_commit_seconds_bucket", (("le", "0.025"), ("table", "job_events"))] == 2
    assert found["fluxions_commit_seconds_bucket", (("le", "0.01"), ("table", "job_events"))] == 0
    assert found["fluxions_up", ()] == 1
    assert all(name in {*series(), "python_info"} or name.endswith("_created") for name, _ in found)


def test_a_gateway_that_is_away_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "operator").write_text("fx_key")
    assert GatewayGauges(f"http://127.0.0.1:{free_port()}", tmp_path / "operator")() == {"fluxions_up": {(): 0.0}}
    assert GatewayGauges("http://127.0.0.1:1", tmp_path / "absent")() == {"fluxions_up": {(): 0.0}}


def test_an_instance_begins_to_count_anew_and_names_its_endpoints(tmp_path: Path) -> None:
    settings = Settings(server=ServerSettings(home=tmp_path, port=free_port(), metrics_port=free_port()))
    instance = create(settings)
    folder = tmp_path / "metrics"
    folder.mkdir()
    count_in_process(folder, 7)
    server = start(settings, instance)
    try:
        answer = httpx.get(f"http://127.0.0.1:{settings.server.metrics_port}/metrics", trust_env=False)
        with pytest.raises(Conflict, match="FLUXIONS_METRICS_PORT"):
            create(settings)
    finally:
        server.shutdown()
        server.server_close()
    assert values(answer.text) == {("fluxions_up", ()): 0.0}
    named = {one["labels"]["part"]: one["targets"] for one in json.loads((tmp_path / TARGETS).read_text())}
    assert set(named) == {"fluxions", "ray", "haproxy"}
    assert named["fluxions"] == [f"127.0.0.1:{settings.server.metrics_port}"]


def test_metrics_for_other_machines_must_be_meant(tmp_path: Path) -> None:
    server = ServerSettings(home=tmp_path, port=free_port(), metrics_host="0.0.0.0")
    with pytest.raises(InvalidParameter, match="FLUXIONS_ALLOW_PUBLIC"):
        create(Settings(server=server))


def test_codes_of_errors_are_bounded() -> None:
    assert as_label("lease_lost") == "lease_lost"
    assert as_label("somebody said: hello") == "other"
    assert as_label("x" * 65) == "other"


def test_names_follow_the_conventions_of_prometheus() -> None:
    for name, labels in series().items():
        assert name.startswith(PREFIX)
        assert re.fullmatch(r"[a-z_]+", name)
        assert not {"account", "id", "path", "address"} & set(labels)
    assert len({one._name for one in INSTRUMENTS}) == len(INSTRUMENTS)


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_dashboards_and_alerts_name_what_exists(where: str, expression: str) -> None:
    named = set(re.findall(rf"\b{PREFIX}\w+", expression))
    assert named <= set(series()), where
    assert named or expression.startswith("up{"), where


@pytest.mark.skipif(importlib.util.find_spec("promql_parser") is None, reason="promql-parser is not installed")
@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_each_expression_is_promql_over_labels_that_exist(where: str, expression: str) -> None:
    import promql_parser

    known = series()
    selectors = list(selectors_of(promql_parser.parse(expression)))
    assert selectors
    for selector in selectors:
        used = {matcher.name for matcher in selector.matchers.matchers}
        has = {"part", "instance", *known.get(selector.name, ())}
        has |= {"le"} if selector.name.endswith("_bucket") else set()
        assert used <= has, f"{where}: {selector.name}"
    for label in re.findall(r"\b(?:by|without) \(([^)]*)\)", expression):
        all_labels = {one for selector in selectors for one in known.get(selector.name, ())} | {"le"}
        assert set(re.findall(r"\w+", label)) <= all_labels, where


def selectors_of(node: Any) -> Iterator[Any]:
    if type(node).__name__ == "VectorSelector":
        yield node
    for name in ("expr", "lhs", "rhs", "vector_selector"):
        if (child := getattr(node, name, None)) is not None:
            yield from selectors_of(child)
    for child in getattr(node, "args", ()):
        yield from selectors_of(child)


def test_alerts_have_what_prometheus_and_their_readers_need() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text()
    rules = [rule for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]
        assert f"`{rule['alert']}`" in page
    assert len({rule["alert"] for rule in rules}) == len(rules)


def test_panels_of_the_dashboard_lie_beside_each_other() -> None:
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_prometheus_reads_the_targets_that_an_instance_writes() -> None:
    config = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
    (job,) = config["scrape_configs"]
    assert [path.endswith(f"/{Path(TARGETS).name}") for path in job["file_sd_configs"][0]["files"]] == [True]
    assert config["rule_files"] == ["alerts.yaml"]
    (keep,) = job["metric_relabel_configs"]
    kept = re.compile(keep["regex"])
    parts = [one["labels"]["part"] for one in targets("127.0.0.1", {"metrics": 1, "ray_metrics": 2, "haproxy_metrics": 3})]
    assert [bool(kept.fullmatch(f"{part};ray_node_cpu_utilization")) for part in parts] == [True, True, True]
    assert not kept.fullmatch("ray;ray_grpc_server_req_new_total")


def test_the_page_lists_every_metric() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text()
    assert with_table(page) == page, "run: python -m scripts.metrics_table docs/monitoring.md"
