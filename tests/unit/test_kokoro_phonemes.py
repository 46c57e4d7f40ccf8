"""Phonemes of Kokoro against the package that its export belongs to, and how long texts are cut."""

from __future__ import annotations

import warnings

import pytest

from schemas.errors import InvalidParameter
from serve.engines.tts.espeak import Espeak
from serve.engines.tts.kokoro_phonemes import (
    ESPEAK_VOICES,
    MAX_TOKENS,
    has_speech,
    phonemes,
    pieces_of,
    tokens,
    vocabulary,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from kokoro_onnx.config import DEFAULT_VOCAB
    from kokoro_onnx.tokenizer import Tokenizer

pytestmark = pytest.mark.unit

ORACLE_LANGUAGES = {"fr": "fr-fr"}
TEXTS = {
    "en-us": [
        "Hello, my friend! It's 3.5 of the best — isn't it?",
        'She said "no" (twice); then: yes...',
        "The old man walked slowly along the river in the morning",
        "well well, nothing was left of it",
    ],
    "en-gb": ["Hello, my friend! The car was parked in the grass.", "I can't dance, no."],
    "es": ["¡Hola! ¿Cómo estás, amigo mío? Todo va bien; gracias.", "El perro corre por la calle."],
    "fr": ["Bonjour, comment allez-vous ? L'homme est là.", "Je m'appelle Siwis : enchantée !"],
    "it": ["Ciao, come stai? Perché no!", "L'uomo e la città."],
    "pt-br": ["Olá, tudo bem? Não sei; talvez amanhã.", "O coração não mente."],
    "hi": ["नमस्ते, आप कैसे हैं? मैं ठीक हूँ", "यह एक किताब है"],
}


@pytest.fixture(scope="module")
def espeak() -> Espeak:
    return Espeak()


@pytest.fixture(scope="module")
def oracle() -> Tokenizer:
    return Tokenizer()


@pytest.mark.parametrize("language", TEXTS)
def test_phonemes_and_tokens_are_those_of_the_package(espeak: Espeak, oracle: Tokenizer, language: str) -> None:
    for text in TEXTS[language]:
        expected = oracle.phonemize(text, ORACLE_LANGUAGES.get(language, language))
        assert phonemes(espeak, text, language) == expected
        assert tokens(expected) == oracle.tokenize(expected)


def test_the_vocabulary_is_the_packages_and_every_language_is_tried() -> None:
    assert vocabulary() == DEFAULT_VOCAB
    assert set(TEXTS) == set(ESPEAK_VOICES)


def test_flags_of_another_language_are_not_spoken(espeak: Espeak, oracle: Tokenizer) -> None:
    text = "Le weekend, il fait du jogging"
    assert "(en)" in oracle.phonemize(text, "fr-fr")
    assert "(" not in phonemes(espeak, text, "fr")


@pytest.mark.parametrize("text", ["", "  ", "...", "¿?", "—"])
def test_punctuation_alone_is_no_speech(espeak: Espeak, text: str) -> None:
    assert not has_speech(phonemes(espeak, text, "es"))


def test_another_language_is_refused_by_name(espeak: Espeak) -> None:
    with pytest.raises(InvalidParameter, match=r"'ja'.*en-us.*hi") as refused:
        phonemes(espeak, "hello", "ja")
    assert (refused.value.code, refused.value.param) == ("unknown_language", "voice")


def test_long_passages_are_cut_where_a_reader_pauses(espeak: Espeak) -> None:
    said = phonemes(espeak, "The garden was wet, and the house was dry. " * 20, "en-us")
    bounds = list(pieces_of(said))
    assert len(bounds) > 1
    assert [start for start, _ in bounds] == [0, *(end for _, end in bounds[:-1])]
    assert bounds[-1][1] == len(said)
    sizes = [end - start for start, end in bounds]
    assert max(sizes) <= MAX_TOKENS
    assert min(sizes) > max(sizes) / 2
    assert all(said[start:end].rstrip().endswith(".") for start, end in bounds)
    clauses = said.replace(".", ",")
    assert all(clauses[start:end].rstrip().endswith(",") for start, end in pieces_of(clauses))
    words = said.replace(".", "").replace(",", "")
    assert all(words[start:end].endswith(" ") for start, end in list(pieces_of(words))[:-1])
    assert [end - start for start, end in pieces_of("a" * 1200)] == [510, 510, 180]


def test_a_short_passage_stays_whole() -> None:
    assert list(pieces_of("həlˈoʊ")) == [(0, 6)]
    assert list(pieces_of("a" * MAX_TOKENS)) == [(0, MAX_TOKENS)]
