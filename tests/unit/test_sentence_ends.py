"""Segments end with sentences: not at abbreviations, initials, numbers or ellipses that go on."""

from __future__ import annotations

import pytest

from flows.transcription.assembly import renumber, segments_of
from flows.transcription.sentence_ends import ends_sentence
from schemas.domain import Turn, Word

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "following"),
    [
        ("home.", "She"), ("home?", "She"), ("home!", "She"), ("home...", "She"), ("home…", "She"), ("home.”", "She"),
        ('home."', "She"), ("home.)", "She"), ("home?!", "She"), ("you.", None), ("1984.", "Then"), ("I.", "You"),
        ("Dr.", None), ("ました。", "次"), ("है।", "वह"), ("¿Qué?", "No"), ("no.", "No"),
    ],
)  # fmt: skip
def test_a_mark_ends_a_sentence(text: str, following: str | None) -> None:
    assert ends_sentence(text, following)


@pytest.mark.parametrize(
    ("text", "following"),
    [
        ("home", "She"), ("home,", "She"), ("home;", "She"), ("Dr.", "Smith"), ("Mrs.", "Smith"), ("Sra.", "Ruiz"),
        ("J.", "Smith"), ("U.S.", "Army"), ("e.g.", "Ray"), ("3.", "5"), ("well...", "maybe"), ("so…", "then"),
        ("home?", "she"), ("No. 5", "is"), ("", "She"), ("home", None),
    ],
)  # fmt: skip
def test_other_marks_do_not(text: str, following: str | None) -> None:
    assert not ends_sentence(text, following)


def spoken(text: str) -> list[Word]:
    return [Word(token, 0.4 * n, 0.4 * n + 0.35) for n, token in enumerate(text.split())]


def test_segments_end_with_sentences_and_where_the_speaker_changes() -> None:
    words = spoken("I saw Dr. Smith. He paid 3.5 dollars... maybe four. Did he? Yes. He did.")
    speakers = [0] * 12 + [1] * 3
    segments = segments_of(words, speakers)
    assert [(s.speaker, s.segment_idx, s.text) for s in segments] == [
        (0, 0, "I saw Dr. Smith."),
        (0, 1, "He paid 3.5 dollars... maybe four."),
        (0, 2, "Did he?"),
        (1, 0, "Yes."),
        (1, 1, "He did."),
    ]


def test_turns_have_the_numbers_of_segments_and_silent_speakers_come_after() -> None:
    turns = [Turn(7, 0.0, 1.0), Turn(4, 1.0, 2.0, overlap=True), Turn(2, 1.5, 3.0)]
    speakers, numbered = renumber([2, 2, 7], turns)
    assert speakers == [0, 0, 1]
    assert numbered == (Turn(1, 0.0, 1.0), Turn(2, 1.0, 2.0, overlap=True), Turn(0, 1.5, 3.0))
