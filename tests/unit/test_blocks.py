"""Blocks of a long recording: they cover it once, are cut where it is quiet, are known by all the sound they hear and by
nothing else, and their words are those of the uncut recording."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest
from cryptography.fernet import InvalidToken
from hypothesis import given, settings
from hypothesis import strategies as st

from audio.joining import joined
from audio.pcm import PcmFile
from audio.segment import utterances
from audio.vad import FRAME_SAMPLES, FRAME_SECS
from flows.block_words import BlockWords
from flows.blocks import Block, HeardBlock, blocks_of, bounds
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


def cut(folder: Path, samples: np.ndarray, revision: str = "e1", longest: float = 20.0) -> list[Block]:
    folder.mkdir()
    pcm = pcm_file(folder / "a.s16", samples)
    probabilities = np.full(-(-len(samples) // FRAME_SAMPLES), 0.9, np.float32)
    probabilities[:: round(4 / FRAME_SECS)] = 0.0
    asked = utterances(probabilities, pcm.duration_secs, 7.0)
    found = blocks_of(
        pcm,
        probabilities,
        [Span(0.0, pcm.duration_secs)],
        asked,
        longest_secs=longest,
        engine_revision=revision,
        sounds_revision="s1",
    )
    placed = [(b.span.start_secs + u.start_secs, b.span.start_secs + u.end_secs) for b in found for u in b.utterances]
    assert np.allclose(placed, [(u.start_secs, u.end_secs) for u in asked], atol=1e-4)
    for block in found:
        assert block.speech == (Span(0.0, block.span.duration_secs),)
        # An utterance is heard by the block it mostly lies in.
        assert all(0 <= (u.start_secs + u.end_secs) / 2 <= block.span.duration_secs for u in block.utterances)
    assert any(block.utterances[0].start_secs < 0 for block in found[1:])
    return found


def keys_of(blocks: list[Block]) -> list[str]:
    return [block.key for block in blocks]


def test_a_key_changes_with_sound_and_engines_and_with_nothing_else(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).integers(-9000, 9000, 50 * SAMPLE_RATE_HZ + 77)
    keys = keys_of(cut(tmp_path / "one", samples))
    assert len(set(keys)) == len(keys) >= 3
    assert keys_of(cut(tmp_path / "two", samples)) == keys
    assert not set(keys_of(cut(tmp_path / "three", samples, "e2"))) & set(keys)
    changed = samples.copy()
    changed[-5] += 1
    assert keys_of(cut(tmp_path / "four", changed))[:-1] == keys[:-1]
    assert keys_of(cut(tmp_path / "five", changed, longest=20.0))[-1] != keys[-1]


def test_a_key_and_a_seal_cover_what_an_utterance_reaches_over_the_edge(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).integers(-9000, 9000, 50 * SAMPLE_RATE_HZ)
    blocks = cut(tmp_path / "one", samples)
    number = next(n for n, block in enumerate(blocks) if n and block.utterances[0].start_secs < -0.1)
    before, block = blocks[number - 1], blocks[number]
    changed = samples.copy()
    changed[round((block.span.start_secs - 0.05) * SAMPLE_RATE_HZ)] += 1
    others = cut(tmp_path / "two", changed)
    for a, b in ((before, others[number - 1]), (block, others[number])):
        assert a.key != b.key
        assert (a.sounds_key, a.seal) != (b.sounds_key, b.seal)
        assert (a.sounds_key == b.sounds_key) == (a.seal == b.seal)
    assert keys_of(others)[: number - 1] == keys_of(blocks)[: number - 1]
    assert keys_of(others)[number + 1 :] == keys_of(blocks)[number + 1 :]


PLACES = st.tuples(st.floats(1.5, 9.0), st.floats(5.0, 30.0))


@given(st.integers(100, 1500), PLACES, st.integers(0, 2**31), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=40)
def test_words_of_blocks_are_those_of_the_uncut_recording_in_whatever_order_they_come(
    tmp_path_factory: pytest.TempPathFactory, frames: int, lengths: tuple[float, float], seed: int, order: Random
) -> None:
    random = np.random.default_rng(seed)
    probabilities = np.repeat(random.choice([0.0, 0.9], frames, p=[0.15, 0.85]), 5).astype(np.float32)
    max_secs, longest_secs = lengths
    pcm = pcm_file(tmp_path_factory.mktemp("blocks") / "a.s16", np.zeros(len(probabilities) * FRAME_SAMPLES, np.int16))
    asked = utterances(probabilities, pcm.duration_secs, max_secs)
    blocks = blocks_of(pcm, probabilities, [], asked, longest_secs=longest_secs, engine_revision="e")
    heard = [ticks(span) for span in asked]
    uncut = joined(heard, asked)

    words = BlockWords(blocks)
    firsts = np.cumsum([0, *(len(block.utterances) for block in blocks)])
    told: list[int] = []
    for number in order.sample(range(len(blocks)), len(blocks)):
        words.take(number, heard[firsts[number] : firsts[number + 1]])
        told.append(len(words.settled()))
    assert told == sorted(told)
    assert [w.text for r in words.whole() for w in r.words] == [w.text for r in uncut for w in r.words]
    streamed = [w for segments in words.settled() for segment in segments for w in segment.words]
    assert [w.text for w in streamed] == [w.text for r in uncut for w in r.words]
    assert [(w.start_secs, w.end_secs) for w in streamed] == [
        pytest.approx((w.start_secs, w.end_secs), abs=1e-3) for r in uncut for w in r.words
    ]


def ticks(span: Span) -> Recognition:
    """A word each third of a second of the recording, as far as it lies in ``span``; each part of one is another word."""
    found = []
    for tick in range(int(span.start_secs / 0.33), int(span.end_secs / 0.33) + 1):
        start, end = max(tick * 0.33, span.start_secs), min(tick * 0.33 + 0.3, span.end_secs)
        if end > start:
            whole = end - start > 0.3 - 1e-9
            text = f"w{tick}" if whole else f"part{tick}"
            found.append(Word(text, start - span.start_secs, end - span.start_secs))
    return Recognition(tuple(found), "en")


def test_a_block_whose_speech_runs_on_is_told_once_the_next_is_heard(tmp_path: Path) -> None:
    probabilities = np.full(round(40 / FRAME_SECS), 0.9, np.float32)
    pcm = pcm_file(tmp_path / "a.s16", np.zeros(len(probabilities) * FRAME_SAMPLES, np.int16))
    asked = utterances(probabilities, pcm.duration_secs, 5.0)
    blocks = blocks_of(pcm, probabilities, [], asked, longest_secs=15.0, engine_revision="e")
    assert len(blocks) == 4
    words = BlockWords(blocks)
    told = []
    for block in blocks:
        at = block.span.start_secs
        words.take(block.number, [ticks(Span(at + u.start_secs, at + u.end_secs)) for u in block.utterances])
        told.append(len(words.settled()))
    assert told == [0, 1, 2, 4]
    with pytest.raises(ValueError, match="block 0"):
        words.take(0, [])


@pytest.mark.parametrize("silent", [False, True])
def test_what_was_heard_reads_back_with_its_own_sound_only(silent: bool) -> None:
    windows = VoiceWindows(np.array([0.5, 1.5]), np.eye(2, 8, dtype=np.float32))
    words = (Word("good", 0.25, 0.5, 0.75), Word("morning", 0.5, 1.0, 0.5))
    heard = HeardBlock((), None) if silent else HeardBlock((Recognition(words, "en"), Recognition((), None)), windows)
    kept = heard.sealed(b"s" * 32)
    assert "good" not in kept
    with pytest.raises(InvalidToken):
        HeardBlock.opened(kept, b"t" * 32)
    again = HeardBlock.opened(kept, b"s" * 32)
    assert again.recognitions == heard.recognitions
    if silent:
        assert again.windows is None
        return
    assert again.windows is not None
    assert again.windows.centers_secs.tolist() == windows.centers_secs.tolist()
    assert np.array_equal(again.windows.embeddings, windows.embeddings)


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
