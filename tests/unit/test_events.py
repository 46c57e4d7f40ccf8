"""Pauses and hesitations are found where they are, and nothing else is claimed."""

from __future__ import annotations

import pytest

from schemas.domain import SoundEvent, Span, Word
from serve.engines.events.rules import FILLERS, RuleEventDetector

pytestmark = pytest.mark.unit

DETECTOR = RuleEventDetector()


def test_a_second_without_speech_is_a_pause_and_less_is_not() -> None:
    speech = [Span(1.0, 2.0), Span(3.0, 4.0), Span(4.99, 6.0), Span(9.5, 10.0)]
    assert DETECTOR.detect(speech, [], 30.0) == [SoundEvent("pause", 2.0, 3.0), SoundEvent("pause", 6.0, 9.5)]


def test_silence_before_and_after_the_conversation_is_no_pause() -> None:
    assert DETECTOR.detect([Span(10.0, 11.0)], [], 60.0) == []
    assert DETECTOR.detect([], [], 60.0) == []


def test_speech_that_overlaps_or_comes_unsorted_is_taken_as_one() -> None:
    speech = [Span(5.0, 6.0), Span(0.0, 4.5), Span(1.0, 2.0)]
    assert DETECTOR.detect(speech, [], 10.0) == []


def test_fillers_are_hesitations_with_the_recognisers_confidence() -> None:
    words = [Word("so", 0.0, 0.2), Word("Um,", 0.3, 0.6, 0.7), Word("yes", 0.7, 1.0), Word("uh", 1.1, 1.4, 0.4)]
    assert DETECTOR.detect([], words, 10.0) == [
        SoundEvent("hesitation", 0.3, 0.6, 0.7),
        SoundEvent("hesitation", 1.1, 1.4, 0.4),
    ]


def test_words_that_only_hold_a_filler_are_words() -> None:
    words = [Word(text, i, i + 0.5) for i, text in enumerate(["umbrella", "her", "uh-huh", "mhm", "oh", "ahead"])]
    assert DETECTOR.detect([], words, 60.0) == []


def test_events_are_sorted_by_start() -> None:
    events = DETECTOR.detect([Span(0, 1), Span(3, 5)], [Word("um", 0.2, 0.4), Word("er", 3.5, 3.8)], 10.0)
    assert [(e.tag, e.start_secs) for e in events] == [("hesitation", 0.2), ("pause", 1), ("hesitation", 3.5)]


def test_the_capabilities_name_exactly_what_is_found() -> None:
    assert DETECTOR.info.capabilities == {"tags": ("pause", "hesitation"), "acoustic": False}
    assert all(filler == filler.lower() for filler in FILLERS)
