"""Bare words become sentences; words that an engine has already written stay as they are."""

from __future__ import annotations

import pytest

from flows.transcription.assembly import attribute, segments_of, text_of
from flows.transcription.overlap_merge import merge_overlaps
from flows.transcription.punctuation import readable
from schemas.domain import Recognition, SoundEvent, Span, Word
from schemas.wire import recognition_from_json, recognition_to_json

pytestmark = pytest.mark.unit


def spoken(text: str, start_secs: float = 0.0, pauses: dict[str, float] | None = None) -> list[Word]:
    """Words of 0.3 s with 0.05 s between, and the pause given after a word."""
    words = []
    for token in text.split():
        words.append(Word(token, start_secs, start_secs + 0.3, 0.9))
        start_secs += 0.35 + (pauses or {}).get(token, 0.0)
    return words


def written(words: list[Word], speakers: list[int] | None = None) -> list[str]:
    return [s.text for s in readable(segments_of(words, speakers or [0] * len(words)))]


def test_a_pause_ends_a_sentence_and_the_next_begins_with_a_capital() -> None:
    assert written(spoken("we met him there it was late", pauses={"there": 0.8})) == ["We met him there.", "It was late."]


def test_a_sentence_continues_after_a_word_that_needs_another() -> None:
    assert written(spoken("he came to the house", pauses={"the": 0.9})) == ["He came to the", "house."]


def test_the_speakers_change_ends_a_sentence() -> None:
    words = spoken("are you there yes i'm here and i think so")
    assert written(words, [0] * 3 + [1] * 7) == ["Are you there?", "Yes I'm here and I think so."]


def test_a_long_sentence_ends_at_a_short_pause() -> None:
    text = " ".join(f"w{i}" for i in range(30))
    (found,) = written(spoken(text, pauses={"w10": 0.25, "w24": 0.25}))
    assert found.count(".") == 2
    assert "w24. W25" in found


@pytest.mark.parametrize("text", ["what he said was true", "is that", "how many came", "do come in", "will smith left"])
def test_what_only_begins_like_a_question_is_none(text: str) -> None:
    assert written(spoken(text))[0].endswith(".")


@pytest.mark.parametrize("text", ["what do you want", "have they left already", "why is it so cold"])
def test_a_question_is_marked(text: str) -> None:
    assert written(spoken(text))[0].endswith("?")


def test_numbers_stay_as_they_were_spoken_and_times_are_untouched() -> None:
    words = spoken("twenty five people in nineteen eighty four")
    (segment,) = readable(segments_of(words, [0] * len(words)))
    assert segment.text == "Twenty five people in nineteen eighty four."
    assert [(w.start_secs, w.end_secs, w.confidence) for w in segment.words] == [
        (w.start_secs, w.end_secs, w.confidence) for w in words
    ]
    assert segment.text == " ".join(w.text for w in segment.words)


def test_an_engine_that_punctuates_is_left_alone() -> None:
    segments = segments_of(spoken("i said 5 things. And left"), [0] * 6)
    assert readable(segments) == segments


def test_what_a_punctuating_engine_left_bare_stays_bare() -> None:
    said = Recognition((Word("yes", 0.1, 0.4), Word("7", 0.5, 0.8)), "en", punctuated=True)
    (arrived,) = merge_overlaps([recognition_from_json(recognition_to_json(said))], [Span(2.0, 3.0)])
    assert arrived.words[0].start_secs == 2.1
    segments = segments_of(arrived.words, [0, 0])
    assert readable(segments, punctuated=arrived.punctuated) == segments
    assert [s.text for s in readable(segments)] == ["Yes 7."]


def test_events_stand_where_they_happened_in_the_line_of_who_makes_them() -> None:
    words = spoken("well um i am not sure yes", pauses={"sure": 2.0})
    segments = segments_of(words, [0] * 6 + [1])
    um, sure, yes = words[1], words[5], words[6]
    events = attribute(
        [
            SoundEvent("hesitation", um.start_secs, um.end_secs),
            SoundEvent("pause", sure.end_secs, yes.start_secs),
            SoundEvent("laugh", yes.start_secs - 0.2, yes.start_secs + 0.1),
        ],
        segments,
    )
    assert text_of(segments, events) == ("SPEAKER_0: well [hesitation] um i am not sure [pause]\nSPEAKER_1: [laugh] yes")
    assert text_of(segments) == "SPEAKER_0: well um i am not sure\nSPEAKER_1: yes"


def test_pauses_and_environmental_sounds_have_no_speaker() -> None:
    segments = segments_of(spoken("well yes"), [0, 0])
    events = [SoundEvent(tag, 0.1, 0.2) for tag in ("pause", "env", "sigh")]
    assert [event.speaker for event in attribute(events, segments)] == [None, None, 0]


def test_no_words_give_no_text() -> None:
    assert readable(()) == ()
