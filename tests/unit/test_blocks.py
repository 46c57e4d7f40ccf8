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
from hypothesis import example, given, settings
from hypothesis import strategies as st

from audio.pcm import PcmFile
from audio.speech_windows import Window, speech_windows
from audio.vad import FRAME_SAMPLES, FRAME_SECS
from flows.transcription.block_flow import prune
from flows.transcription.block_transcript import BlockTranscript
from flows.transcription.blocks import (
    Block,
    blocks_of,
    cut_into_spans,
    decrypt,
    encrypt,
    key_in_language,
    language_key,
    recording_content_key,
    voices_from_json,
    voices_to_json,
    words_from_json,
    words_to_json,
)
from flows.transcription.overlap_merge import merge_overlaps
from schemas.domain import AS_SPOKEN, SAMPLE_RATE_HZ, Recognition, RecognizeOptions, Span, Word
from schemas.engines import VoiceWindows

pytestmark = pytest.mark.unit

MINUTE_FRAMES = round(60 / FRAME_SECS)


def pcm_file(path: Path, samples: np.ndarray) -> PcmFile:
    path.write_bytes(samples.astype("<i2").tobytes())
    return PcmFile(path)


@given(st.integers(1, 4000), st.floats(5, 60), st.integers(0, 2**31))
@settings(deadline=None, max_examples=60)
def test_blocks_cover_the_recording_once_and_none_is_too_long(frames: int, longest: float, seed: int) -> None:
    probabilities = np.random.default_rng(seed).random(frames, dtype=np.float32)
    duration = frames * FRAME_SECS - 0.01
    found = cut_into_spans(probabilities, duration, longest)
    assert (found[0].start_secs, found[-1].end_secs) == (0.0, duration)
    assert all(a.end_secs == b.start_secs for a, b in pairwise(found))
    assert all(0 < span.duration_secs <= longest + 1e-9 for span in found)


def test_a_cut_is_in_the_quiet_near_the_bound() -> None:
    probabilities = np.ones(2 * MINUTE_FRAMES, np.float32)
    quiet = slice(round(54.0 / FRAME_SECS), round(54.6 / FRAME_SECS))
    probabilities[quiet] = 0.01
    # One frame that is quieter still, inside speech, is no place to cut.
    probabilities[round(57.0 / FRAME_SECS)] = 0.0
    first = cut_into_spans(probabilities, 120.0, 60.0)[0]
    assert 54.0 < first.end_secs < 54.6


def cut(
    folder: Path,
    samples: np.ndarray,
    revision: str = "e1",
    longest: float = 20.0,
    options: RecognizeOptions = AS_SPOKEN,
    account: str = "ada",
) -> list[Block]:
    folder.mkdir()
    pcm = pcm_file(folder / "a.s16", samples)
    probabilities = np.full(-(-len(samples) // FRAME_SAMPLES), 0.9, np.float32)
    probabilities[:: round(4 / FRAME_SECS)] = 0.0
    asked = speech_windows(probabilities, pcm.duration_secs, 7.0)
    found = blocks_of(
        pcm,
        probabilities,
        [Span(0.0, pcm.duration_secs)],
        asked,
        longest_secs=longest,
        options=options,
        engine_revision=revision,
        sounds_revision="s1",
        account=account,
    )
    placed = [
        (b.span.start_secs + p.start_secs, b.span.start_secs + p.end_secs)
        for b in found
        for w in b.windows
        for p in w.pieces
    ]
    assert np.allclose(placed, [(p.start_secs, p.end_secs) for w in asked for p in w.pieces], atol=1e-4)
    for block in found:
        assert block.speech == (Span(0.0, block.span.duration_secs),)
        # A window is recognised by the block it mostly lies in.
        middles = [(w.span.start_secs + w.span.end_secs) / 2 for w in block.windows]
        assert all(0 <= middle <= block.span.duration_secs for middle in middles)
    assert any(block.windows[0].span.start_secs < 0 for block in found[1:])
    return found


def keys_of(blocks: list[Block]) -> list[tuple[str, str, str | None]]:
    return [(block.words_key, block.voices_key, block.sounds_key) for block in blocks]


def test_keys_change_with_sound_and_engines_and_with_nothing_else(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).integers(-9000, 9000, 50 * SAMPLE_RATE_HZ + 77)
    blocks = cut(tmp_path / "one", samples)
    keys = keys_of(blocks)
    assert len({key for of_block in keys for key in of_block}) == 3 * len(keys) >= 9
    assert keys_of(cut(tmp_path / "two", samples)) == keys
    others = keys_of(cut(tmp_path / "three", samples, "e2"))
    assert not {(w, v) for w, v, _ in others} & {(w, v) for w, v, _ in keys}
    # Another account cannot find out by the time it takes that somebody had this sound.
    theirs = cut(tmp_path / "theirs", samples, account="eve")
    assert not {key for of in keys_of(theirs) for key in of} & {key for of in keys for key in of}
    assert language_key(theirs) != language_key(blocks)
    changed = samples.copy()
    changed[-5] += 1
    assert keys_of(cut(tmp_path / "four", changed))[:-1] == keys[:-1]
    for one, other in zip(keys_of(cut(tmp_path / "five", changed))[-1], keys[-1], strict=True):
        assert one != other
    assert language_key(cut(tmp_path / "six", changed)) != language_key(blocks)
    assert recording_content_key(cut(tmp_path / "seven", changed)) != recording_content_key(blocks)


@pytest.mark.parametrize(
    "options",
    [
        RecognizeOptions("fr"),
        RecognizeOptions(prompt="Dr."),
        RecognizeOptions(keyterms=("a",)),
        RecognizeOptions(task="translate"),
    ],
)
def test_what_is_asked_of_the_recogniser_is_part_of_the_words_key_alone(options: RecognizeOptions, tmp_path: Path) -> None:
    samples = np.random.default_rng(1).integers(-9000, 9000, 30 * SAMPLE_RATE_HZ)
    for one, other in zip(cut(tmp_path / "one", samples), cut(tmp_path / "two", samples, options=options), strict=True):
        assert one.words_key != other.words_key
        assert (one.voices_key, one.sounds_key, one.content_key) == (other.voices_key, other.sounds_key, other.content_key)


def test_words_in_another_language_are_stored_under_another_key() -> None:
    assert len({key_in_language("k", language) for language in ("en", "fr", None)}) == 3
    assert key_in_language("k", "en") == key_in_language("k", "en")


def test_keys_cover_what_a_window_reaches_over_the_edge(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).integers(-9000, 9000, 50 * SAMPLE_RATE_HZ)
    blocks = cut(tmp_path / "one", samples)
    number = next(n for n, block in enumerate(blocks) if n and block.windows[0].span.start_secs < -0.1)
    before, block = blocks[number - 1], blocks[number]
    changed = samples.copy()
    changed[round((block.span.start_secs - 0.05) * SAMPLE_RATE_HZ)] += 1
    others = cut(tmp_path / "two", changed)
    for a, b in ((before, others[number - 1]), (block, others[number])):
        assert a.words_key != b.words_key
        assert a.voices_key != b.voices_key
        assert (a.sounds_key, a.content_key) != (b.sounds_key, b.content_key)
        assert (a.sounds_key == b.sounds_key) == (a.content_key == b.content_key)
    assert keys_of(others)[: number - 1] == keys_of(blocks)[: number - 1]
    assert keys_of(others)[number + 1 :] == keys_of(blocks)[number + 1 :]


PLACES = st.tuples(st.floats(1.5, 9.0), st.floats(5.0, 30.0))


@example(762, (8.628477722444515, 8.603990317990844), 1099128569, Random(1))
@example(1440, (4.215120434702671, 12.224402631261082), 1590462713, Random(1))
@given(st.integers(100, 1500), PLACES, st.integers(0, 2**31), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=40)
def test_words_of_blocks_are_those_of_the_uncut_recording_in_whatever_order_they_come(
    tmp_path_factory: pytest.TempPathFactory, frames: int, lengths: tuple[float, float], seed: int, order: Random
) -> None:
    random = np.random.default_rng(seed)
    probabilities = np.repeat(random.choice([0.0, 0.9], frames, p=[0.15, 0.85]), 5).astype(np.float32)
    max_secs, longest_secs = lengths
    pcm = pcm_file(tmp_path_factory.mktemp("blocks") / "a.s16", np.zeros(len(probabilities) * FRAME_SAMPLES, np.int16))
    asked = speech_windows(probabilities, pcm.duration_secs, max_secs)
    blocks = blocks_of(
        pcm, probabilities, [], asked, longest_secs=longest_secs, options=AS_SPOKEN, engine_revision="e", account="a"
    )
    heard = [ticks(window) for window in asked]
    uncut = merge_overlaps(heard, [window.span for window in asked])

    words = BlockTranscript(blocks)
    firsts = np.cumsum([0, *(len(block.windows) for block in blocks)])
    told: list[int] = []
    for number in order.sample(range(len(blocks)), len(blocks)):
        words.add(number, heard[firsts[number] : firsts[number + 1]])
        told.append(len(words.settled()))
    assert told == sorted(told)
    assert [w.text for r in words.whole() for w in r.words] == [w.text for r in uncut for w in r.words]
    streamed = [w for segments in words.settled() for segment in segments for w in segment.words]
    assert [w.text for w in streamed] == [w.text for r in uncut for w in r.words]
    assert [(w.start_secs, w.end_secs) for w in streamed] == [
        pytest.approx((w.start_secs, w.end_secs), abs=1e-3) for r in uncut for w in r.words
    ]


def ticks(window: Window) -> Recognition:
    """A word each third of a second of the recording, as far as it lies in ``window``; each part of one is another word.
    Times count from the start of the window's span."""
    found = []
    at = window.span.start_secs
    for piece in window.pieces:
        for tick in range(int(piece.start_secs / 0.33), int(piece.end_secs / 0.33) + 1):
            start, end = max(tick * 0.33, piece.start_secs), min(tick * 0.33 + 0.3, piece.end_secs)
            if end > start:
                whole = end - start > 0.3 - 1e-9
                found.append(Word(f"w{tick}" if whole else f"part{tick}", start - at, end - at))
    return Recognition(tuple(found), "en")


def test_a_window_whose_speech_continues_is_reported_after_the_next_one(tmp_path: Path) -> None:
    probabilities = np.full(round(40 / FRAME_SECS), 0.9, np.float32)
    pcm = pcm_file(tmp_path / "a.s16", np.zeros(len(probabilities) * FRAME_SAMPLES, np.int16))
    asked = speech_windows(probabilities, pcm.duration_secs, 5.0)
    blocks = blocks_of(
        pcm, probabilities, [], asked, longest_secs=15.0, options=AS_SPOKEN, engine_revision="e", account="a"
    )
    assert len(blocks) == 4
    words = BlockTranscript(blocks)
    told = []
    for block in blocks:
        for number, window in enumerate(block.windows):
            words.add_window(block.number, number, ticks(window.counted_from(-block.span.start_secs)))
            told.append(len(words.settled()))
    # Continuous speech is cut with an overlap, so each window but the last waits for the one after it.
    assert told == [*range(len(asked) - 1), len(asked)]
    with pytest.raises(ValueError, match="block 0"):
        words.add(0, [])


def test_what_is_stored_reads_back_with_its_own_sound_only() -> None:
    words = (Word("good", 0.25, 0.5, 0.75), Word("morning", 0.5, 1.0, 0.5))
    recognitions = [Recognition(words, "en", punctuated=True, language_probability=0.5, engine_secs=0.25), Recognition(())]
    stored = encrypt(words_to_json(recognitions), b"s" * 32)
    assert "good" not in stored
    with pytest.raises(InvalidToken):
        decrypt(stored, b"t" * 32)
    assert words_from_json(decrypt(stored, b"s" * 32)) == recognitions

    windows = VoiceWindows(np.array([0.5, 1.5]), np.eye(2, 8, dtype=np.float32))
    again = voices_from_json(decrypt(encrypt(voices_to_json(windows), b"s" * 32), b"s" * 32))
    assert again.centers_secs.tolist() == windows.centers_secs.tolist()
    assert np.array_equal(again.embeddings, windows.embeddings)


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
