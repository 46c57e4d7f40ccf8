"""Windows for the recogniser: all speech lies in one, none is too long, and words get their true times back."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio.pcm import PcmFile
from audio.speech_windows import EDGE_SECS, MAX_SILENCE_SECS, OVERLAP_SECS, PAD_SECS, THRESHOLD, Window, speech_windows
from audio.vad import FRAME_SECS, Probabilities
from schemas.domain import SAMPLE_RATE_HZ, Recognition, Span, Word

pytestmark = pytest.mark.unit

FRAME = st.sampled_from([0.0, 0.04, 0.06, 0.19, 0.2, 0.21, 0.9, 1.0])


@st.composite
def stretches(draw: st.DrawFn) -> Probabilities:
    """Runs of equal probability, as speech has, up to a minute."""
    runs = draw(st.lists(st.tuples(FRAME, st.integers(1, 120)), max_size=20))
    return np.repeat(np.array([p for p, _ in runs], np.float32), [n for _, n in runs])


def frames(*probabilities: tuple[float, int]) -> Probabilities:
    return np.repeat(np.array([p for p, _ in probabilities], np.float32), [n for _, n in probabilities])


def frames_of(secs: float) -> int:
    return round(secs / FRAME_SECS)


@settings(max_examples=300, deadline=None)
@given(stretches(), st.floats(1.0, 25.0), st.floats(0.0, 1.0))
def test_every_speech_frame_is_in_a_window_and_only_neighbours_overlap(
    found: Probabilities, max_secs: float, last: float
) -> None:
    # The last frame of a recording is rarely a whole one.
    duration = max((len(found) - last) * FRAME_SECS, 0.0)
    windows = speech_windows(found, duration, max_secs)
    for window in windows:
        assert window.duration_secs <= max_secs + 1e-4
        assert all(0 <= piece.start_secs < piece.end_secs <= duration + 1e-4 for piece in window.pieces)
        for before, after in pairwise(window.pieces):
            assert 0 <= after.start_secs - before.end_secs <= MAX_SILENCE_SECS
    for before, after in pairwise(window.span for window in windows):
        assert before.start_secs < after.start_secs
        assert before.end_secs < after.end_secs
        assert before.end_secs - after.start_secs <= OVERLAP_SECS + 1e-4
    for before, later in zip(windows, windows[2:], strict=False):
        assert before.span.end_secs <= later.span.start_secs + 1e-4
    pieces = [piece for window in windows for piece in window.pieces]
    for frame in np.flatnonzero(found >= THRESHOLD):
        start, end = frame * FRAME_SECS, min((frame + 1) * FRAME_SECS, duration)
        if end - start < 1e-4:
            continue
        assert any(p.start_secs <= start + 1e-4 and p.end_secs >= end - 1e-4 for p in pieces)


def test_long_speech_is_cut_where_it_is_quietest() -> None:
    found = np.full(1000, 0.95, np.float32)
    found[279:282] = 0.6
    found[250] = 0.55  # Quieter still, but one frame is no pause.
    found[100:103] = 0.55  # Nor is this in the last third of ten seconds.
    first, second, *_ = speech_windows(found, 32.0, 10.0)
    assert first.pieces == (Span(0.0, 280 * FRAME_SECS + OVERLAP_SECS / 2),)
    assert second.span.start_secs == pytest.approx(280 * FRAME_SECS - OVERLAP_SECS / 2)


def test_neighbours_share_a_window_with_little_of_the_silence_between_them() -> None:
    found = frames((0.0, 40), (1.0, 60), (0.0, 80), (1.0, 60), (0.0, 40))
    (window,) = speech_windows(found, len(found) * FRAME_SECS, 13.0)
    first, second = window.pieces
    assert first.end_secs == pytest.approx(100 * FRAME_SECS + PAD_SECS)
    assert second.start_secs == pytest.approx(180 * FRAME_SECS - PAD_SECS)
    # There is more room at the ends of a window.
    assert first.start_secs == pytest.approx(40 * FRAME_SECS - PAD_SECS - EDGE_SECS)
    assert second.end_secs == pytest.approx(240 * FRAME_SECS + PAD_SECS + EDGE_SECS)


def test_a_short_silence_stays_whole() -> None:
    found = frames((1.0, 60), (0.0, 8), (1.0, 60))
    (window,) = speech_windows(found, len(found) * FRAME_SECS, 13.0)
    assert window.duration_secs == pytest.approx(128 * FRAME_SECS, abs=1e-3)


def test_a_long_silence_ends_a_window() -> None:
    silence = frames_of(MAX_SILENCE_SECS + 1.0)
    found = frames((1.0, 60), (0.0, silence), (1.0, 60))
    assert len(speech_windows(found, len(found) * FRAME_SECS, 13.0)) == 2


@pytest.mark.parametrize("longer", [(2, 5), (2, 4), (1, 4)])
def test_windows_are_filled_and_end_in_the_longer_silences(longer: tuple[int, int]) -> None:
    """Eight sentences of three seconds fill three windows; which of them holds two only, the silences decide."""
    parts = [(part, n) for number in range(8) for part, n in ((0.9, 94), (0.0, 64 if number in longer else 16))]
    found = frames(*parts)
    windows = speech_windows(found, len(found) * FRAME_SECS, 12.0)
    assert np.cumsum([len(window.pieces) for window in windows]).tolist() == [longer[0] + 1, longer[1] + 1, 8]


def test_silence_and_nothing_have_no_windows() -> None:
    assert speech_windows(np.zeros(100, np.float32), 3.2, 20.0) == []
    assert speech_windows(np.zeros(0, np.float32), 0.0, 20.0) == []


def test_a_bound_no_recogniser_has_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 s"):
        speech_windows(np.zeros(1, np.float32), 0.032, 0.5)


def test_a_window_sounds_like_its_pieces_laid_end_to_end(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-9000, 9000, 10 * SAMPLE_RATE_HZ).astype("<i2")
    (path := tmp_path / "a.s16").write_bytes(samples.tobytes())
    window = Window((Span(1.0, 2.0), Span(5.0, 5.5)))
    expected = np.concatenate([samples[16_000:32_000], samples[80_000:88_000]]).tobytes()
    assert window.read(PcmFile(path)) == expected
    assert window.counted_from(1.0).read(PcmFile(path), 1.0) == expected


def placed(window: Window, *words: tuple[float, float]) -> list[tuple[float, float]]:
    found = window.restore_silences(Recognition(tuple(Word("w", start, end) for start, end in words)))
    return [(word.start_secs, word.end_secs) for word in found.words]


def test_words_get_back_the_silences_that_were_cut_out() -> None:
    window = Window((Span(10.0, 12.0), Span(15.0, 16.0), Span(20.0, 21.0)))
    assert placed(window, (0.5, 1.0), (2.25, 2.75), (3.0, 4.0)) == [(0.5, 1.0), (5.25, 5.75), (10.0, 11.0)]


def test_a_word_that_seems_to_run_over_a_cut_stays_on_the_side_where_most_of_it_is() -> None:
    window = Window((Span(10.0, 12.0), Span(15.0, 16.0)))
    assert placed(window, (1.5, 2.25)) == [(1.5, 2.0)]
    assert placed(window, (1.75, 2.5)) == [(5.0, 5.5)]
    # Nor does one that ends after the window leave it.
    assert placed(window, (2.75, 3.5)) == [(5.75, 6.0)]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.1, 4.0), st.floats(0.0, 5.0)), min_size=1, max_size=6),
    st.lists(st.tuples(st.floats(-1.0, 30.0), st.floats(0.0, 2.0)), max_size=20),
)
def test_restored_words_are_in_a_piece_and_in_order(
    lengths: list[tuple[float, float]], said: list[tuple[float, float]]
) -> None:
    pieces, at = [], 3.0
    for length, silence in lengths:
        pieces.append(Span(at, at + length))
        at += length + silence
    window = Window(tuple(pieces))
    words, until = [], 0.0
    for start, length in sorted(said):
        words.append((max(start, until), max(start, until) + length))
        until = words[-1][1]
    found = placed(window, *words)
    for start, end in found:
        assert any(p.start_secs - 3.0 - 1e-9 <= start <= end <= p.end_secs - 3.0 + 1e-9 for p in pieces)
    assert all(a[0] <= b[0] + 1e-9 and a[1] <= b[1] + 1e-9 for a, b in pairwise(found))
