"""What is said of work under way: never backwards within a stage, an estimate only where the pace is known."""

from __future__ import annotations

from itertools import pairwise

import pytest

from clients.operator import ClaimedJob, OperatorClient
from flows.progress import STAGES, Reporter
from schemas.domain import JobOptions

pytestmark = pytest.mark.unit

JOB = ClaimedJob(1, 1, "lease", 15.0, "a.wav", 10, "0" * 64, JobOptions(), "e")


class Hand:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
async def reporter(hand: Hand) -> Reporter:
    return Reporter(OperatorClient("http://127.0.0.1:9", "key"), JOB, hand)


def test_stages_follow_each_other_without_overlap() -> None:
    bounds = list(STAGES.values())
    assert all(first <= last for first, last in bounds)
    assert all(before[1] <= after[0] for before, after in pairwise(bounds))
    assert (bounds[0][0], bounds[-1][1]) == (0.0, 1.0)


async def test_the_estimate_counts_only_work_that_was_paid_for(reporter: Reporter, hand: Hand) -> None:
    reporter.stage("transcribing")
    assert reporter.progress.eta_secs is None
    reporter.done(0.5, skipped=0.5)
    hand.now += 1
    assert reporter.progress.eta_secs is None
    reporter.done(0.6, skipped=0.5)
    hand.now += 9
    # A tenth took ten seconds, four are left.
    assert reporter.progress.eta_secs == pytest.approx(40.0)
    reporter.stage("finishing")
    assert reporter.progress.eta_secs is None
    assert reporter.progress.fraction == STAGES["finishing"][0]


async def test_a_stage_never_leaves_its_bounds(reporter: Reporter) -> None:
    reporter.stage("transcribing")
    reporter.done(3.0)
    assert reporter.progress.fraction == STAGES["transcribing"][1]
