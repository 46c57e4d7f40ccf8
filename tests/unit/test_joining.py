"""Pieces of one speech, heard apart and made one sequence again: every word once, in order, inside its piece."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio.speech_windows import Window, speech_windows
from audio.vad import FRAME_SECS, Probabilities
from flows.transcription.overlap_merge import merge_overlaps
from schemas.domain import Recognition, Span, Word

pytestmark = pytest.mark.unit

PIECE_SECS = st.floats(4.0, 20.0)
JITTER_SECS = 0.015
"""How far two hearings of one word differ in its edges."""


@st.composite
def speeches(draw: st.DrawFn) -> list[Word]:
    """Up to half a minute of words as running speech has them; nothing in it says where a cut would be harmless."""
    words: list[Word] = []
    at = draw(st.floats(0.0, 0.2))
    for number in range(draw(st.integers(1, 70))):
        end = at + draw(st.floats(0.12, 0.45))
        words.append(Word(f"w{number}", at, end))
        at = end + draw(st.sampled_from([0.0, 0.0, 0.0, 0.04, 0.15, 0.25]))
    return words


@st.composite
def dips(draw: st.DrawFn) -> list[int]:
    return draw(st.lists(st.integers(0, 1500), max_size=30))


def probabilities_of(words: list[Word], dips: list[int]) -> Probabilities:
    found = np.full(round(words[-1].end_secs / FRAME_SECS) + 2, 0.95, np.float32)
    found[[dip for dip in dips if dip < len(found)]] = 0.5
    return found


def hearing(words: list[Word], window: Window, seed: int) -> Recognition:
    """What a recogniser makes of ``window``: whole words whole, and something else of a word whose part it gets."""
    random = np.random.default_rng(seed)
    found, until, offset = [], 0.0, 0.0
    for piece in window.pieces:
        for word in words:
            start, end = max(word.start_secs, piece.start_secs), min(word.end_secs, piece.end_secs)
            if end - start < 0.05:
                continue
            is_whole = end - start > word.end_secs - word.start_secs - 1e-9
            begins, ends = np.array((start, end)) - piece.start_secs + offset + random.uniform(-JITTER_SECS, JITTER_SECS, 2)
            begins = max(until, begins)
            until = max(begins, ends)
            found.append(Word(word.text if is_whole else f"part-of-{word.text}", float(begins), float(until)))
        offset += piece.duration_secs
    return Recognition(tuple(found), "en")


@settings(max_examples=150, deadline=None)
@given(speeches(), PIECE_SECS, dips(), st.integers(0, 2**32 - 1))
def test_no_cut_loses_or_doubles_a_word(words: list[Word], max_secs: float, dips: list[int], seed: int) -> None:
    found = probabilities_of(words, dips)
    windows = speech_windows(found, len(found) * FRAME_SECS, max_secs)
    heard = merge_overlaps(
        [window.restore_silences(hearing(words, window, seed + i)) for i, window in enumerate(windows)],
        [window.span for window in windows],
    )
    assert [w.text for r in heard for w in r.words] == [w.text for w in words]


WORD = st.builds(
    lambda text, start, length: Word(text, start, start + length),
    st.sampled_from(["so", "we", "went"]), st.floats(-1.0, 12.0), st.floats(-0.5, 3.0),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(WORD, max_size=12), min_size=1, max_size=6), st.floats(0.0, 1.0), st.floats(1.5, 12.0))
def test_whatever_an_engine_says_words_are_in_order_and_inside(
    heard: list[list[Word]], overlap_secs: float, length_secs: float
) -> None:
    spans = [
        Span(i * (length_secs - overlap_secs), i * (length_secs - overlap_secs) + length_secs) for i in range(len(heard))
    ]
    found = merge_overlaps([Recognition(tuple(words)) for words in heard], spans)
    for recognition, span in zip(found, spans, strict=True):
        assert all(span.start_secs <= w.start_secs <= w.end_secs <= span.end_secs for w in recognition.words)
    everything = [word for recognition in found for word in recognition.words]
    assert all(a.end_secs <= b.start_secs for a, b in pairwise(everything))


def test_a_word_that_only_one_piece_has_is_kept() -> None:
    spans = [Span(0.0, 5.0), Span(4.0, 9.0)]
    first = Recognition((Word("one", 3.0, 3.5), Word("two", 4.2, 4.4)))
    assert [w.text for r in merge_overlaps([first, Recognition(())], spans) for w in r.words] == ["one", "two"]
    second = Recognition((Word("two", 0.5, 0.8), Word("three", 2.0, 2.5)))
    assert [w.text for r in merge_overlaps([Recognition(()), second], spans) for w in r.words] == ["two", "three"]


def test_pieces_that_do_not_overlap_stay_as_they_are() -> None:
    spans = [Span(0.0, 2.0), Span(2.5, 4.0)]
    found = merge_overlaps(
        [Recognition((Word("one", 0.1, 0.5),), "en"), Recognition((Word("two", 0.1, 0.5),), "en")], spans
    )
    assert found == [Recognition((Word("one", 0.1, 0.5),), "en"), Recognition((Word("two", 2.6, 3.0),), "en")]


def texts(*pieces: tuple[Span, Recognition]) -> list[str]:
    found = merge_overlaps([recognition for _, recognition in pieces], [span for span, _ in pieces])
    return [word.text for recognition in found for word in recognition.words]


def said(*words: tuple[str, float, float], at: float) -> Recognition:
    """Words with their times in the recording, of a piece that begins ``at``."""
    return Recognition(tuple(Word(text, start - at, end - at) for text, start, end in words))


def test_a_first_word_that_seems_to_begin_in_the_silence_before_it_is_kept() -> None:
    before = said(("smooth", 25.54, 25.78), ("planks.", 25.78, 26.2), at=17.74)
    after = said(("The", 27.24, 27.9), ("birch", 27.9, 28.24), ("canoe", 28.24, 28.46), at=27.18)
    assert texts((Span(17.74, 28.18), before), (Span(27.18, 38.84), after)) == [
        "smooth",
        "planks.",
        "The",
        "birch",
        "canoe",
    ]


def test_a_word_beside_one_that_seems_to_begin_too_early_is_not_taken_for_it() -> None:
    before = said(
        ("the", 88.41, 88.49), ("morning", 88.49, 88.79), ("and", 88.79, 89.23), ("charges", 89.23, 89.47), at=80.44
    )
    after = said(("and", 88.58, 89.2), ("charges", 89.2, 89.64), ("nothing", 89.64, 89.98), at=88.52)
    assert texts((Span(80.44, 89.52), before), (Span(88.52, 102.27), after)) == [
        "the", "morning", "and", "charges", "nothing",
    ]  # fmt: skip


def test_one_word_that_both_recognise_differently_is_kept_once() -> None:
    before = said(("put", 8.0, 8.3), ("the", 8.3, 8.5), ("redder", 8.5, 8.9), ("on", 8.9, 9.0), at=0.0)
    after = said(("the", 8.3, 8.52), ("letter", 8.52, 8.86), ("on", 8.88, 9.0), ("the", 9.0, 9.1), at=8.0)
    found = texts((Span(0.0, 9.0), before), (Span(8.0, 15.0), after))
    assert len(found) == 5
    assert (found[0], found[-2:]) == ("put", ["on", "the"])
