"""Words as phones, and how far what was heard is from what was expected."""

from __future__ import annotations

import pytest

from serve.engines.tts.verify.pronunciation import (
    ESPEAK_VOICES,
    Phones,
    Pronouncer,
    bare,
    compare,
    espeak_voice,
    swap_cost,
    words_of,
)

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("language", ESPEAK_VOICES)
def test_every_language_has_a_voice_that_reads_its_words(language: str) -> None:
    assert len(Pronouncer(espeak_voice(language) or "").phones("मेरी" if language == "hi" else "la")) >= 2


@pytest.fixture(scope="module")
def english() -> Pronouncer:
    return Pronouncer("en-us")


def phones(pronouncer: Pronouncer, text: str) -> list[Phones]:
    return [pronouncer.phones(bare(word)) for word in text.split()]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Well, that’s it!", ("well", "that's", "it")),
        ("forty-eight — no", ("forty", "eight", "no")),
        ("मेरी बहन।", ("मेरी", "बहन")),
        ("¿Cuánto?", ("cuánto",)),
        ("…", ()),
    ],
)
def test_words_of_a_text(text: str, words: tuple[str, ...]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("expected", "heard"),
    [
        ("their programme", "there program"),
        ("Everyone waited", "every one waited"),
        ("forty-eight", "forty eight"),
        ("Mister Evans", "Mr. Evans"),
    ],
)
def test_spelling_and_word_boundaries_cost_nothing(english: Pronouncer, expected: str, heard: str) -> None:
    found = compare(phones(english, expected), phones(english, heard))
    assert found.total == pytest.approx(0, abs=0.8)
    assert (found.word_costs / found.num_phones).max() < 0.3


def test_a_missing_word_costs_its_phones(english: Pronouncer) -> None:
    found = compare(phones(english, "the last horse ran"), phones(english, "the horse ran"))
    assert found.word_costs.sum() == pytest.approx(4)
    assert found.word_costs[1] > 3  # "last" and "the" may share what is missing: both hold a vowel
    assert found.gap_costs.sum() == 0


def test_an_added_word_is_charged_to_its_gap(english: Pronouncer) -> None:
    found = compare(phones(english, "the horse ran"), phones(english, "the horse never ran"))
    assert found.word_costs.sum() == 0
    assert found.gap_costs[2] > 3
    assert found.gap_costs.sum() == found.gap_costs[2]
    after = compare(phones(english, "the horse"), phones(english, "the horse never"))
    assert after.gap_costs[2] == found.gap_costs[2]


def test_a_replaced_word_is_charged_by_how_unlike_it_sounds(english: Pronouncer) -> None:
    def cost(heard: str) -> float:
        return float(compare(phones(english, "sold his horse"), phones(english, f"sold his {heard}")).word_costs[2])

    assert 0 < cost("house") < cost("window")


def test_any_sound_is_free_at_a_cue(english: Pronouncer) -> None:
    words = [None, *phones(english, "well then")]
    laughing = compare(words, phones(english, "ha ha ha well then"))
    assert laughing.total == 0
    assert compare(words, phones(english, "ha ha ha then")).word_costs[1] > 2.5


def test_no_recognised_words_have_the_full_cost(english: Pronouncer) -> None:
    found = compare(phones(english, "good luck"), [])
    assert found.word_costs.tolist() == found.num_phones.tolist()


@pytest.mark.parametrize(("a", "b", "cost"), [("t", "t", 0.0), ("s", "z", 0.3), ("i", "u", 0.6), ("m", "k", 1.0)])
def test_near_phones_cost_less(a: str, b: str, cost: float) -> None:
    assert swap_cost(a, b) == swap_cost(b, a) == cost
