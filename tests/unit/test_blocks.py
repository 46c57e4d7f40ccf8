"""Blocks of a long recording: they cover it once, are cut where it is quiet, and are known by their sound alone."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from cryptography.fernet import InvalidToken
from hypothesis import given, settings
from hypothesis import strategies as st

from audio.pcm import PcmFile
from audio.vad import FRAME_SAMPLES, FRAME_SECS
from flows.blocks import HeardBlock, blocks_of, bounds
from flows.transcribe import prune
from schemas.domain import SAMPLE_RATE_HZ, Recognition, Span, Word
from schemas.engines import VoiceWindows

MINUTE_FRAMES = round(60 / FRAME_SECS)


def pcm_file(path: Path, samples: np.ndarray) -> PcmFile:
    path.write_bytes(samples.astype("<i2").tobytes())
    return PcmFile(path)


@given(st.integers(1, 4000), st.floats(5, 60), st.integers(0, 2**31))
@settings(deadline=None, max_examples=60)
def test_blocks_cover_the_recording_once_and_none_is_too_long(frames: int, longest: float, seed: int) -> None:
    probabilities = np.random.default_rng(seed).random(frames, dtype=np.float32)
    duration = frames * FRAME_SECS - 0.01
    found = bounds(probabilities, duration, longest)
    assert (found[0].start_secs, found[-1].end_secs) == (0.0, duration)
    assert all(a.end_secs == b.start_secs for a, b in pairwise(found))
    assert all(0 < span.duration_secs <= longest + 1e-9 for span in found)


def test_a_cut_lies_in_the_quiet_near_the_bound() -> None:
    probabilities = np.ones(2 * MINUTE_FRAMES, np.float32)
    quiet = slice(round(54.0 / FRAME_SECS), round(54.6 / FRAME_SECS))
    probabilities[quiet] = 0.01
    # One frame that is quieter still, inside speech, is no place to cut.
    probabilities[round(57.0 / FRAME_SECS)] = 0.0
    first = bounds(probabilities, 120.0, 60.0)[0]
    assert 54.0 < first.end_secs < 54.6


def cut(folder: Path, samples: np.ndarray, revision: str = "e1", longest: float = 20.0) -> list[str]:
    folder.mkdir()
    pcm = pcm_file(folder / "a.s16", samples)
    probabilities = np.full(-(-len(samples) // FRAME_SAMPLES), 0.9, np.float32)
    probabilities[:: round(4 / FRAME_SECS)] = 0.0
    found = blocks_of(
        pcm,
        probabilities,
        [Span(0.0, pcm.duration_secs)],
        longest_secs=longest,
        utterance_max_secs=20.0,
        engine_revision=revision,
    )
    for block in found:
        assert all(0 <= s.start_secs < s.end_secs <= block.span.duration_secs + 1e-6 for s in block.utterances)
        assert block.speech == (Span(0.0, block.span.duration_secs),)
    return [block.key for block in found]


def test_a_key_changes_with_sound_and_engines_and_with_nothing_else(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).integers(-9000, 9000, 50 * SAMPLE_RATE_HZ + 77)
    keys = cut(tmp_path / "one", samples)
    assert len(set(keys)) == len(keys) >= 3
    assert cut(tmp_path / "two", samples) == keys
    assert not set(cut(tmp_path / "three", samples, "e2")) & set(keys)
    changed = samples.copy()
    changed[-5] += 1
    assert cut(tmp_path / "four", changed)[:-1] == keys[:-1]
    assert cut(tmp_path / "five", changed, longest=20.0)[-1] != keys[-1]


@pytest.mark.parametrize("silent", [False, True])
def test_what_was_heard_reads_back_and_moves_to_its_place(silent: bool) -> None:
    windows = VoiceWindows(np.array([0.5, 1.5]), np.eye(2, 8, dtype=np.float32))
    words = (Word("good", 0.25, 0.5, 0.75), Word("morning", 0.5, 1.0, 0.5))
    heard = HeardBlock((), None) if silent else HeardBlock((Recognition(words, "en"), Recognition((), None)), windows)
    kept = heard.sealed(b"s" * 32)
    assert "good" not in kept
    with pytest.raises(InvalidToken):
        HeardBlock.opened(kept, b"t" * 32)
    again = HeardBlock.opened(kept, b"s" * 32).placed(60.0)
    assert len(again.recognitions) == len(heard.recognitions)
    if silent:
        assert (again.windows, again.segments()) == (None, ())
        return
    assert again.recognitions[0].words[0] == Word("good", 60.25, 60.5, 0.75)
    assert again.windows is not None
    assert again.windows.centers_secs.tolist() == [60.5, 61.5]
    assert np.array_equal(again.windows.embeddings, windows.embeddings)
    assert [s.text for s in again.segments()] == ["good morning"]


def test_old_results_are_removed_and_young_ones_stay(tmp_path: Path) -> None:
    for folder in ("keys", "results"):
        (tmp_path / folder).mkdir()
        for name in ("old", "young"):
            (tmp_path / folder / name).write_text("x")
        os.utime(tmp_path / folder / "old", (1, 1))
    prune(tmp_path, 3600)
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()) == [
        "keys/young",
        "results/young",
    ]
    prune(tmp_path / "absent", 3600)
