"""The comparison of window choices: blocks apart, what was asked for counted, a row for each setting."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality.tuning.skipped_windows import SETTINGS, Heard, keep, kept, scored, table
from serve.engines.diarization.overlap_probe import OverlapProbe
from serve.engines.diarization.window_choice import embedded

pytestmark = pytest.mark.unit

EVERY = partial(embedded, plenty=0, stride=1, alike=-1.0)


@pytest.fixture
def heard() -> Heard:
    """Two voices, each 10 s in a block of its own, in two spans each."""
    voices = np.repeat([0, 1], 50)
    embeddings = np.eye(256, dtype=np.float32)[voices]
    turns, speech = np.array([(0, 0.0, 10.0), (1, 10.0, 20.0)]), np.array([(0.0, 20.0)])
    counts = np.array([(0, 20), (0, 30), (1, 25), (1, 25)])
    return Heard("talk", turns, np.array(20.0), speech, np.arange(100) / 5 + 0.1, embeddings, counts)


def test_all_windows_of_a_recording_are_those_that_were_embedded(heard: Heard) -> None:
    windows, asked = heard.chosen(EVERY)
    assert asked == 100
    assert windows.embeddings == pytest.approx(heard.embeddings)


def test_a_choice_sees_one_block_at_a_time_and_its_work_is_counted(heard: Heard) -> None:
    seen: list[list[int]] = []

    def few(counts: list[int], embed: object) -> np.ndarray:
        seen.append(list(counts))
        return embedded(counts, embed, plenty=0, stride=10)  # type: ignore[arg-type]

    windows, asked = heard.chosen(few)  # type: ignore[arg-type]
    assert seen == [[20, 30], [25, 25]]
    assert asked == (3 + 4) + 2 * 4
    assert windows.embeddings == pytest.approx(heard.embeddings)


def test_two_voices_are_scored_and_one_that_is_missed_is_seen(heard: Heard) -> None:
    score = scored(heard, EVERY, OverlapProbe())
    assert (score.embedded, score.windows) == (100, 100)
    assert score.exact
    assert score.errors.confused == 0
    one = replace(heard, embeddings=np.repeat(heard.embeddings[:1], 100, axis=0))
    wrong = scored(one, EVERY, OverlapProbe())
    assert not wrong.exact
    assert wrong.errors.confused == pytest.approx(10.0)


def test_the_table_has_a_row_for_each_setting(heard: Heard) -> None:
    lines = list(table([heard]))
    assert len(lines) == 2 + len(SETTINGS)
    assert {line.count("|") for line in lines} == {lines[0].count("|")}
    assert lines[2].startswith("| 1 | 1.00 | ")


def test_a_recording_that_is_kept_is_read_again(heard: Heard, tmp_path: Path) -> None:
    keep(tmp_path / "one.npz", heard)
    again = kept(tmp_path / "one.npz", heard.kind)
    assert all(np.array_equal(getattr(again, name), getattr(heard, name)) for name in ("turns", "counts", "embeddings"))
