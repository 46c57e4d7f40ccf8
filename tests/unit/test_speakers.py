"""Words go to whoever speaks them, and a change of speaker falls where a pause is."""

from __future__ import annotations

import pytest

from flows.transcription.speaker_assignment import assign_speakers
from schemas.domain import Turn, Word

pytestmark = pytest.mark.unit


def words(*times: tuple[float, float]) -> list[Word]:
    return [Word(f"w{i}", start, end) for i, (start, end) in enumerate(times)]


def test_a_change_moves_to_the_pause_beside_it() -> None:
    said = words((0.0, 0.4), (0.4, 0.9), (1.2, 1.5), (1.5, 1.9), (1.9, 2.3))
    assert assign_speakers(said, [Turn(0, 0.0, 1.5), Turn(1, 1.5, 3.0)]) == [0, 0, 1, 1, 1]
    assert assign_speakers(said, [Turn(0, 0.0, 0.65), Turn(1, 0.65, 3.0)]) == [0, 0, 1, 1, 1]


def test_a_change_stays_where_no_pause_is_near() -> None:
    said = words(*((i * 0.3, i * 0.3 + 0.3) for i in range(8)))
    assert assign_speakers(said, [Turn(0, 0.0, 1.2), Turn(1, 1.2, 3.0)]) == [0] * 4 + [1] * 4


def test_an_interjection_keeps_its_word() -> None:
    said = words((0.0, 0.3), (0.3, 0.6), (0.8, 1.0), (1.2, 1.5), (1.5, 1.8))
    turns = [Turn(0, 0.0, 2.0), Turn(1, 0.75, 1.05)]
    assert assign_speakers(said, turns) == [0, 0, 1, 0, 0]


def test_words_go_by_the_more_prominent_of_those_who_talk_at_once() -> None:
    said = words((0.0, 0.3), (0.3, 0.6), (0.8, 1.0), (1.2, 1.5), (1.5, 1.8))
    turns = [Turn(0, 0.0, 2.0), Turn(1, 0.75, 1.05, overlap=True)]
    assert assign_speakers(said, turns) == [0] * 5


def test_every_change_keeps_a_word_on_both_sides() -> None:
    said = words((0.0, 0.2), (0.4, 0.5), (0.7, 0.8), (1.0, 1.1))
    turns = [Turn(0, 0.0, 0.3), Turn(1, 0.3, 0.6), Turn(0, 0.6, 0.9), Turn(1, 0.9, 1.2)]
    assert assign_speakers(said, turns) == [0, 1, 0, 1]


def test_words_without_turns_have_one_speaker() -> None:
    assert assign_speakers(words((0, 1), (1, 2)), []) == [0, 0]
    assert assign_speakers([], [Turn(0, 0, 1)]) == []
