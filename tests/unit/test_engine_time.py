"""Engine time is the time in which at least one engine worked, whatever overlapped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.transcription.engine_time import EngineTime

pytestmark = pytest.mark.unit


def total(answers: list[tuple[float, float]]) -> float:
    """Of answers that came at a time, each after so many seconds of work."""
    now = 0.0
    spent = EngineTime(lambda: now)
    for now, engine_secs in sorted(answers):  # noqa: B007 - the clock reads it
        spent.add(engine_secs)
    return spent.total_secs


def test_nothing_asked_took_no_time() -> None:
    assert total([]) == 0.0


@pytest.mark.parametrize(
    ("answers", "secs"),
    [
        ([(10.0, 2.0), (20.0, 3.0)], 5.0),  # One after the other, with a pause between.
        ([(10.0, 4.0), (11.0, 4.0)], 5.0),  # Beside each other.
        ([(10.0, 1.0), (12.0, 1.0), (13.0, 9.0)], 9.0),  # A long one around two short ones.
        ([(10.0, 2.0), (10.0, 2.0), (10.0, 2.0)], 2.0),  # A batch.
        ([(10.0, 2.0), (12.0, 2.0)], 4.0),  # Touching.
    ],
)
def test_what_overlaps_counts_once(answers: list[tuple[float, float]], secs: float) -> None:
    assert total(answers) == pytest.approx(secs)


@given(st.lists(st.tuples(st.integers(50, 90), st.integers(0, 40)), max_size=25))
def test_it_is_the_length_of_the_union(answers: list[tuple[int, int]]) -> None:
    covered = {second for end, length in answers for second in range(end - length, end)}
    assert total([(float(end), float(length)) for end, length in answers]) == pytest.approx(len(covered))
