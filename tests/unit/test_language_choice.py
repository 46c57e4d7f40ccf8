"""The language of a recording: most_votes for by few windows, decided once, and nothing stays heard in another."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from audio.speech_windows import Window
from flows.transcription.language_choice import SAMPLE_WINDOWS, choose_language, fits, most_votes, samples_of
from schemas.domain import Recognition, Span, Word

pytestmark = pytest.mark.unit

WORDS = (Word("hola", 0.0, 0.5),)


def windows(*lengths: float) -> list[Window]:
    return [Window((Span(20.0 * n, 20.0 * n + length),)) for n, length in enumerate(lengths)]


def heard(language: str | None, probability: float = 0.9, words: tuple[Word, ...] = WORDS) -> Recognition:
    return Recognition(words, language, language_probability=probability)


class Hearing:
    """Answers from a list, and remembers which windows were asked for."""

    def __init__(self, *answers: Recognition) -> None:
        self.answers, self.asked = answers, list[int]()

    async def __call__(self, numbers: Sequence[int]) -> list[Recognition]:
        self.asked += numbers
        return [self.answers[number] for number in numbers]


def test_a_sample_is_spread_and_takes_the_first_window_and_the_longest_of_each_part() -> None:
    rounds = samples_of(windows(5, 9, 8, 4, 7, 6, 3, 2, 9))
    assert rounds == [[0, 1, 4, 8], [2, 5, 6], [3, 7]]
    assert sorted(number for sample in rounds for number in sample) == list(range(9))


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_all_of_a_short_recording_are_its_sample(count: int) -> None:
    assert [number for sample in samples_of(windows(*[5.0] * count)) for number in sample] == list(range(count))


async def test_a_long_recording_is_decided_by_three_windows() -> None:
    hearing = Hearing(*[heard("es")] * 30)
    choice = await choose_language(windows(*[10.0] * 30), hearing)
    assert choice.language == "es"
    assert len(hearing.asked) == SAMPLE_WINDOWS
    assert sorted(choice.usable) == sorted(hearing.asked)


async def test_a_window_in_another_language_is_outvoted_and_not_used() -> None:
    hearing = Hearing(heard("es", 0.95), heard("pt", 0.5), heard("es", 0.9))
    choice = await choose_language(windows(10.0, 10.0, 10.0), hearing)
    assert choice.language == "es"
    assert sorted(choice.usable) == [0, 2]


async def test_close_votes_make_more_windows_be_recognised() -> None:
    hearing = Hearing(*[heard("pt", 0.6), heard("es", 0.6)] * 2, *[heard("es", 0.9)] * 20)
    choice = await choose_language(windows(9.0, 9.0, 9.0, 8.0, *[5.0] * 20), hearing)
    assert choice.language == "es"
    assert len(hearing.asked) > SAMPLE_WINDOWS


async def test_windows_without_words_do_not_vote_and_fit_any_language() -> None:
    hearing = Hearing(heard("nn", 0.9, ()), heard("fr", 0.4), heard("nn", 0.9, ()))
    choice = await choose_language(windows(10.0, 3.0, 10.0), hearing)
    assert choice.language == "fr"
    assert sorted(choice.usable) == [0, 1, 2]


async def test_a_recording_without_speech_has_no_language() -> None:
    choice = await choose_language(windows(10.0, 10.0), Hearing(heard("nn", 0.9, ()), heard("en", 0.9, ())))
    assert choice.language is None
    assert (await choose_language([], Hearing())).language is None


def test_votes_weigh_seconds_and_surety() -> None:
    assert most_votes([(10.0, heard("en", 0.5)), (4.0, heard("fr", 1.0))]) == ("en", pytest.approx(5 / 9))
    assert most_votes([(1.0, Recognition(WORDS, "de"))]) == ("de", 1.0)
    assert most_votes([]) == (None, 0.0)


def test_a_usable_recognition_is_in_the_language_or_empty() -> None:
    assert fits(heard("en"), "en")
    assert fits(heard(None), "en")
    assert fits(heard("fr", words=()), "en")
    assert not fits(heard("fr"), "en")
