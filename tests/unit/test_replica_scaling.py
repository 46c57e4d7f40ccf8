"""How many replicas an engine has, by what its replicas report; the delays and bounds are Ray Serve's own."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import pytest

from serve.engines.replica_load import IDLE_SECS, QUEUE_SECS, ReplicaLoad
from serve.engines.replica_scaling import ByQueueAge

with warnings.catch_warnings():
    # Ray Serve 2.60 declares its models in a way pydantic deprecates, at import.
    warnings.simplefilter("ignore", DeprecationWarning)
    from ray.serve.config import AutoscalingContext

pytestmark = pytest.mark.unit


@dataclass(frozen=True)
class Sample:
    value: float


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def wanted(
    rule: ByQueueAge,
    queue_secs: list[float],
    aim: int | None = None,
    *,
    requests: float = 0.0,
    idle_secs: list[float] | None = None,
) -> int:
    """What the rule answers; the lists have an entry for each running replica."""
    reports = {QUEUE_SECS: queue_secs, IDLE_SECS: [0.0] * len(queue_secs) if idle_secs is None else idle_secs}
    context = AutoscalingContext(
        deployment_id=None,
        deployment_name="engine",
        app_name="fluxions",
        current_num_replicas=len(queue_secs),
        target_num_replicas=len(queue_secs) if aim is None else aim,
        running_replicas=[],
        total_num_requests=requests,
        total_queued_requests=0.0,
        aggregated_metrics={},
        raw_metrics={name: {n: [Sample(9e9), Sample(v)] for n, v in enumerate(all_)} for name, all_ in reports.items()},
        capacity_adjusted_min_replicas=0,
        capacity_adjusted_max_replicas=100,
        policy_state={},
        last_scale_up_time=None,
        last_scale_down_time=None,
        current_time=None,
        config=None,
    )
    return rule(context)[0]


def test_an_old_queue_brings_replicas_and_a_young_one_does_not() -> None:
    rule = ByQueueAge(fewest=1, queue_secs=2.0, busy=4, idle_secs=0.0)
    assert wanted(rule, [1.9], requests=100) == 1
    assert wanted(rule, [2.1]) == 2
    assert wanted(rule, [0.0, 0.0, 3.0, 0.0]) == 6, "1.5 times as old as it may be"
    assert wanted(rule, [60.0] * 4) == 8, "no more than twice as many at once"
    assert wanted(rule, [60.0], aim=2) == 2, "one is starting"


def test_replicas_go_when_fewer_keep_up() -> None:
    rule = ByQueueAge(fewest=2, queue_secs=2.0, busy=4, idle_secs=0.0)
    assert wanted(rule, [0.0] * 8, requests=17.0) == 5
    assert wanted(rule, [0.0] * 8, requests=0.0) == 2
    assert wanted(rule, [1.5] * 8, requests=0.0) == 8, "the queue is nearly too old as it is"
    assert wanted(rule, [0.0], requests=0.0) == 2, "one was started for the first request after a pause"


def test_an_engine_that_nobody_uses_needs_no_replica() -> None:
    rule = ByQueueAge(fewest=1, queue_secs=2.0, busy=4, idle_secs=600.0)
    assert wanted(rule, [0.0, 0.0], idle_secs=[601.0, 599.0]) == 1
    assert wanted(rule, [0.0, 0.0], idle_secs=[601.0]) == 1, "one has not reported yet"
    assert wanted(rule, [0.0, 0.0], idle_secs=[601.0, 602.0]) == 0
    assert wanted(rule, [], aim=0) == 0
    assert wanted(rule, [], aim=1) == 1, "it is starting"
    assert wanted(ByQueueAge(1, 2.0, 4, 0.0), [0.0], idle_secs=[1e6]) == 1


def test_a_replica_reports_its_oldest_waiting_request_and_since_when_it_is_unused() -> None:
    clock = Clock()
    load = ReplicaLoad(clock)
    clock.now += 5
    assert load.report() == {QUEUE_SECS: 0.0, IDLE_SECS: 5.0}
    with load.request() as begun:
        clock.now += 3
        with load.request():
            clock.now += 1
            assert load.report() == {QUEUE_SECS: 4.0, IDLE_SECS: 0.0}
            begun()
            assert load.report() == {QUEUE_SECS: 1.0, IDLE_SECS: 0.0}
        assert load.report() == {QUEUE_SECS: 0.0, IDLE_SECS: 0.0}
    with load.use():
        clock.now += 2
        assert load.report() == {QUEUE_SECS: 0.0, IDLE_SECS: 0.0}
    clock.now += 7
    assert load.report() == {QUEUE_SECS: 0.0, IDLE_SECS: 7.0}
    with pytest.raises(ZeroDivisionError), load.request():
        1 / 0  # noqa: B018
    assert load.report() == {QUEUE_SECS: 0.0, IDLE_SECS: 0.0}
