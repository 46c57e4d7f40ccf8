"""Each alert rule fires for its fault, after the time that it states, and not for an instance that works."""

from __future__ import annotations

import importlib.util
import itertools
import math

import pytest

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(importlib.util.find_spec("promql_parser") is None, reason="promql-parser is not installed"),
]

CALM = """
fluxions_up 1
fluxions_engine_ready{slot="recognizer"} 1
fluxions_queue_oldest_seconds 20
fluxions_queue_jobs 4
fluxions_leases 2
fluxions_unprojected_jobs 3
fluxions_job_failures_total{code="damaged"} N
fluxions_jobs_total{origin="api",outcome="completed"} 100*N
fluxions_http_requests_total{route="/submit",status="2xx"} 100*N
fluxions_http_requests_total{route="/submit",status="5xx"} N
fluxions_errors_total{code="storage_full"} 0
fluxions_commits_total{table="job_events",result="failed"} 0
fluxions_commit_seconds_bucket{table="job_events",le="0.5"} 99*N
fluxions_commit_seconds_bucket{table="job_events",le="2.5"} 100*N
fluxions_commit_seconds_bucket{table="job_events",le="+Inf"} 100*N
fluxions_process_restarts_total{process="worker"} 1
fluxions_first_audio_seconds_bucket{streamed="yes",le="0.5"} 99*N
fluxions_first_audio_seconds_bucket{streamed="yes",le="3.0"} 100*N
fluxions_first_audio_seconds_bucket{streamed="yes",le="+Inf"} 100*N
fluxions_turn_latency_seconds_bucket{step="first_sent",le="0.5"} 99*N
fluxions_turn_latency_seconds_bucket{step="first_sent",le="3.0"} 100*N
fluxions_turn_latency_seconds_bucket{step="first_sent",le="+Inf"} 100*N
fluxions_webhook_attempts_total{result="delivered"} 9*N
fluxions_webhook_attempts_total{result="refused"} 3*N
"""
FAULTS = {
    "FluxionsGatewayDown": ("fluxions_up 1", "fluxions_up 0"),
    "FluxionsEngineNotReady": ('ready{slot="recognizer"} 1', 'ready{slot="recognizer"} 0'),
    "FluxionsQueueOld": ("oldest_seconds 20", "oldest_seconds 601"),
    "FluxionsNobodyWorks": ("leases 2", "leases 0"),
    "FluxionsJobsFail": ('code="damaged"} N', 'code="damaged"} 6*N'),
    "FluxionsServerErrors": ('status="5xx"} N', 'status="5xx"} 3*N'),
    "FluxionsStorageFull": ('"storage_full"} 0', '"storage_full"} 1'),
    "FluxionsCommitsFail": ('"failed"} 0', '"failed"} 1'),
    "FluxionsCommitsSlow": ('"job_events",le="0.5"} 99*N', '"job_events",le="0.5"} 90*N'),
    "FluxionsTablesBehind": ("unprojected_jobs 3", "unprojected_jobs 1001"),
    "FluxionsProcessesRestart": ('"worker"} 1', '"worker"} 4'),
    "FluxionsFirstAudioLate": ('"yes",le="0.5"} 99*N', '"yes",le="0.5"} 80*N'),
    "FluxionsAnswersLate": ('"first_sent",le="0.5"} 99*N', '"first_sent",le="0.5"} 80*N'),
    "FluxionsWebhooksFail": ('"refused"} 3*N', '"refused"} 10*N'),
}
CALM_SCRAPES = 80
"""20 minutes, longer than each rule looks back."""


class Target:
    """An instance whose counters grow from scrape to scrape."""

    def __init__(self) -> None:
        self.text: str | None = CALM
        self.grown = {line.rpartition(" ")[0]: 0.0 for line in CALM.split("\n")}

    def scrape(self) -> str | None:
        return None if self.text is None else "\n".join(map(self._line, self.text.strip().split("\n"))) + "\n"

    def _line(self, line: str) -> str:
        name, _, value = line.rpartition(" ")
        if "N" not in value:
            return line
        self.grown[name] += float(value.partition("*")[0] if "*" in value else 1)
        return f"{name} {self.grown[name]}"


def test_each_rule_has_a_fault_here() -> None:
    from tests.support.alert_rules import rules

    assert set(rules()) == {*FAULTS, "FluxionsNotScraped"}


@pytest.mark.parametrize("alert", [*FAULTS, "FluxionsNotScraped"])
def test_an_alert_fires_for_its_fault_alone_and_after_its_time(alert: str) -> None:
    from tests.support.alert_rules import EVERY_SECS, Watch, rules, waits_secs

    target = Target()
    watch = Watch(target.scrape)
    assert watch.look(CALM_SCRAPES) == {}
    if alert in FAULTS:
        assert FAULTS[alert][0] in CALM
        target.text = CALM.replace(*FAULTS[alert])
    else:
        target.text = None
    states = []
    while "firing" not in states:
        found = watch.look()
        assert set(found) <= {alert}
        states.append(found.get(alert, ""))
        assert len(states) < 300
    assert states.count("pending") == waits_secs(rules()[alert]) / EVERY_SECS
    target.text = CALM
    for _ in itertools.takewhile(lambda _: watch.look(), range(300)):
        pass
    assert watch.look() == {}


def test_values_are_those_of_prometheus() -> None:
    from tests.support.promql import Scrapes, evaluate

    scrapes = Scrapes()
    for number, value in enumerate((0, 10, 20, 5, 15)):
        text = f'c_total{{k="a"}} {value}\nb_bucket{{le="1"}} 50\nb_bucket{{le="2"}} 100\nb_bucket{{le="+Inf"}} 100\n'
        scrapes.add(60.0 * (number + 1), text)
    none: frozenset[tuple[str, str]] = frozenset()
    # 10, 10, 5 after a new start, and 10, in 240 s of a window of 300 s: 35 is extrapolated to its end, not below 0.
    assert evaluate("sum(increase(c_total[5m]))", scrapes) == {none: 35.0}
    # From 5 to 15 within 60 s of a window of 120 s: the counter began 30 s before its first value there.
    assert evaluate("sum(rate(c_total[2m]))", scrapes) == {none: pytest.approx(15 / 120)}
    assert evaluate("histogram_quantile(0.95, b_bucket)", scrapes) == {none: pytest.approx(1.9)}
    scrapes.add(360.0, "")
    assert evaluate("c_total", scrapes) == {}, "a series that is absent from a scrape has ended"
    assert math.isnan(evaluate("histogram_quantile(0.5, sum by (le) (rate(b_bucket[5m])))", scrapes)[none])
