"""Converts text to Kokoro's phoneme tokens: IPA by espeak-ng, with punctuation, in the model's vocabulary.

The mapping is that of the package ``kokoro-onnx`` 0.6, which phonemizes with ``phonemizer`` 3.4: the text between
punctuation marks is phonemized, and symbols without a token are left out. One point differs: espeak-ng's flags around
words of another language, ``(en)``, are removed; the package passes them to the model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from schemas.errors import InvalidParameter
from serve.engines.tts.espeak import Espeak

MAX_TOKENS: Final = 510
"""Most tokens of one call of the model, without the padding token at either end."""

ESPEAK_VOICES: Final = {
    "en-us": "gmw/en-US",
    "en-gb": "gmw/en",
    "es": "roa/es",
    "fr": "roa/fr",
    "it": "roa/it",
    "pt-br": "roa/pt-BR",
    "hi": "inc/hi",
}
"""Languages the model was trained on, and the identifier of the espeak-ng voice that phonemizes each."""

_VOCABULARY_PATH: Final = Path(__file__).with_name("kokoro_vocabulary.json")
_MARKS: Final = re.compile(r"((?:\s*(?:[;:!?¡¿—…\"«»“”(){}\[\]]|(?<!\d)[,.]|[,.](?!\d))+\s*)+)")
_LANGUAGE_FLAG: Final = re.compile(r"\([a-z]{2,3}(?:-[a-z\d-]+)?\)")
_SPACES: Final = re.compile(r"\s+")
_BOUNDARIES: Final = (re.compile(r"(?<=[.!?…]) "), re.compile(r"(?<=[,;:—]) "), re.compile(" "))
"""Where tokens may be cut, from the least to the most disruptive."""
VOWELS: Final = frozenset("AIOQWYᵊaeiouyɑɐɒæɔəɚɛɜɨɪɯøœɤʊʌᵻ")


@cache
def vocabulary() -> dict[str, int]:
    """Token of each symbol the model knows. It is the ``vocab`` of Kokoro-82M's ``config.json``, Apache-2.0."""
    found: dict[str, int] = json.loads(_VOCABULARY_PATH.read_text("utf-8"))
    return found


def phonemes(espeak: Espeak, text: str, language: str) -> str:
    """``text`` as symbols of `vocabulary`, one a token; empty where it has nothing that the model can speak.

    Raises InvalidParameter for a language that is not in `ESPEAK_VOICES`.
    """
    voice = ESPEAK_VOICES.get(language)
    if voice is None:
        raise InvalidParameter(
            f"the voice speaks {language!r}, and this synthesiser only {', '.join(ESPEAK_VOICES)}; choose another voice",
            code="unknown_language",
            param="voice",
        )
    known = vocabulary()
    # With a capturing group, `split` gives text and punctuation in turn.
    pieces = _MARKS.split(_SPACES.sub(" ", text).strip())
    said = "".join(
        piece if index % 2 else _LANGUAGE_FLAG.sub("", espeak.phonemes(piece, voice)) if piece.strip() else ""
        for index, piece in enumerate(pieces)
    )
    return _SPACES.sub(" ", "".join(symbol for symbol in said if symbol in known)).strip()


def has_speech(symbols: str) -> bool:
    """Whether the symbols contain a sound, and not only punctuation and stress marks."""
    return any(symbol.isalpha() and symbol not in "ˈˌːʰʲ" for symbol in symbols)


def tokens(symbols: str) -> list[int]:
    """Token of each symbol, in order. Raises KeyError for one outside the vocabulary."""
    known = vocabulary()
    return [known[symbol] for symbol in symbols]


def pieces_of(symbols: str, max_tokens: int = MAX_TOKENS) -> Iterator[tuple[int, int]]:
    """Bounds of pieces of at most ``max_tokens`` symbols: cut at ends of sentences, else of clauses, else at spaces.

    Pieces are as even as the cuts allow, because the model's speed depends on the length of a piece.
    """
    start = 0
    while len(symbols) - start > max_tokens:
        num_left = -(-(len(symbols) - start) // max_tokens)
        end = _cut(symbols, start, start + -(-(len(symbols) - start) // num_left), start + max_tokens)
        yield start, end
        start = end
    yield start, len(symbols)


def _cut(symbols: str, start: int, wanted: int, limit: int) -> int:
    for boundary in _BOUNDARIES:
        ends: Sequence[int] = [match.end() for match in boundary.finditer(symbols, start + 1, limit)]
        near = [end for end in ends if end > start + (wanted - start) // 2]
        if near:
            return min(near, key=lambda end: abs(end - wanted))
    return limit
