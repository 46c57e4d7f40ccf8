"""Aligning two readings: exact where an oracle can tell, and linear in length where none would finish."""

from __future__ import annotations

import random
import time

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.archives.revision_diff import difference
from lakehouse.archives.word_alignment import STRETCH_WORDS, align
from schemas.domain import Word

pytestmark = pytest.mark.unit

WORDS = st.lists(st.sampled_from("abcde"), max_size=12)


def spoken(texts: list[str], pace: float = 0.5) -> list[Word]:
    return [Word(text, pace * n, pace * n + 0.4 * pace) for n, text in enumerate(texts)]


@settings(max_examples=150, deadline=None)
@given(WORDS, WORDS)
def test_errors_are_those_of_jiwer_and_every_word_has_its_place(old: list[str], new: list[str]) -> None:
    steps = align(spoken(old), spoken(new))
    assert [step.old for step in steps if step.old is not None] == list(range(len(old)))
    assert [step.new for step in steps if step.new is not None] == list(range(len(new)))
    errors = sum(step.is_error for step in steps)
    if old:
        told = jiwer.process_words(" ".join(old), " ".join(new))
        assert errors == told.substitutions + told.deletions + told.insertions
    else:
        assert errors == len(new)


def test_a_long_reading_is_cut_at_pauses_and_costs_what_its_length_does() -> None:
    words = random.Random(7)
    texts = [words.choice(("one", "two", "three", "four", "five")) for _ in range(20 * STRETCH_WORDS)]
    old = [Word(w.text, w.start_secs + n // 100, w.end_secs + n // 100) for n, w in enumerate(spoken(texts))]
    dropped = set(words.sample(range(len(old)), 500))
    began = time.process_time()
    errors, found = difference(old, [word for n, word in enumerate(old) if n not in dropped])
    assert errors == len(dropped)
    assert found[0].errors >= found[-1].errors >= 1
    assert time.process_time() - began < 20


def test_case_and_punctuation_are_no_difference_and_passages_have_times() -> None:
    old = spoken(["Well,", "the", "dentist", "came", "at", "noon", "and", "left", "again"])
    new = spoken(["well", "the", "DENTIST", "came", "at", "nine", "o'clock", "and", "left"])
    errors, found = difference(old, new)
    assert errors == 3
    assert [(d.old, d.new) for d in found] == [("noon and left again", "nine o'clock and left")]
    assert found[0].span.start_secs == pytest.approx(2.5)
    assert found[0].span.end_secs == pytest.approx(4.2)


def test_both_transcripts_may_be_empty() -> None:
    assert difference([], []) == (0, [])
    errors, (only,) = difference([], spoken(["hello", "there"]))
    assert (errors, only.old, only.new) == (2, "", "hello there")
