"""Pieces of one speech, heard apart and made one sequence again: every word once, in order, inside its piece."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from audio.joining import joined
from audio.segment import utterances
from audio.vad import FRAME_SECS, Probabilities
from schemas.domain import Recognition, Span, Word

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


def hearing(words: list[Word], piece: Span, seed: int) -> Recognition:
    """What a recogniser makes of ``piece``: whole words whole, and something else of a word whose part it gets."""
    random = np.random.default_rng(seed)
    found, until = [], 0.0
    for word in words:
        start, end = max(word.start_secs, piece.start_secs), min(word.end_secs, piece.end_secs)
        if end - start < 0.05:
            continue
        is_whole = end - start > word.end_secs - word.start_secs - 1e-9
        begins, ends = np.array((start, end)) - piece.start_secs + random.uniform(-JITTER_SECS, JITTER_SECS, 2)
        begins = max(until, begins)
        until = max(begins, ends)
        found.append(Word(word.text if is_whole else f"part-of-{word.text}", float(begins), float(until)))
    return Recognition(tuple(found), "en")


@settings(max_examples=150, deadline=None)
@given(speeches(), PIECE_SECS, dips(), st.integers(0, 2**32 - 1))
def test_no_cut_loses_or_doubles_a_word(words: list[Word], max_secs: float, dips: list[int], seed: int) -> None:
    found = probabilities_of(words, dips)
    spans = utterances(found, len(found) * FRAME_SECS, max_secs)
    heard = joined([hearing(words, span, seed + i) for i, span in enumerate(spans)], spans)
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
    found = joined([Recognition(tuple(words)) for words in heard], spans)
    for recognition, span in zip(found, spans, strict=True):
        assert all(span.start_secs <= w.start_secs <= w.end_secs <= span.end_secs for w in recognition.words)
    everything = [word for recognition in found for word in recognition.words]
    assert all(a.end_secs <= b.start_secs for a, b in pairwise(everything))


def test_a_word_that_only_one_piece_heard_is_kept() -> None:
    spans = [Span(0.0, 5.0), Span(4.0, 9.0)]
    first = Recognition((Word("one", 3.0, 3.5), Word("two", 4.2, 4.4)))
    assert [w.text for r in joined([first, Recognition(())], spans) for w in r.words] == ["one", "two"]
    second = Recognition((Word("two", 0.5, 0.8), Word("three", 2.0, 2.5)))
    assert [w.text for r in joined([Recognition(()), second], spans) for w in r.words] == ["two", "three"]


def test_pieces_that_do_not_overlap_stay_as_they_are() -> None:
    spans = [Span(0.0, 2.0), Span(2.5, 4.0)]
    found = joined([Recognition((Word("one", 0.1, 0.5),), "en"), Recognition((Word("two", 0.1, 0.5),), "en")], spans)
    assert found == [Recognition((Word("one", 0.1, 0.5),), "en"), Recognition((Word("two", 2.6, 3.0),), "en")]
