"""Kokoro's input for a part of a passage: its symbols, and the speed of each where words are marked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.speech import Part
from serve.engines.tts.espeak import Espeak
from serve.engines.tts.kokoro_phonemes import VOWELS, has_speech, phonemes, pieces_of
from serve.engines.tts.text.letter_names import letter_names

_EMPHASIS_PACE: Final = 0.7
_ELONGATED_VOWEL_PACE: Final = 0.4
_ELONGATED_PACE: Final = 0.75
_SUSTAINED: Final = VOWELS | set("ːˈˌ\u0303mnlɹrŋ")
"""Symbols that are lengthened in a drawn-out word: vowels, and consonants that can be held."""


@dataclass(frozen=True, slots=True)
class Script:
    """``symbols``: those of `kokoro_phonemes.vocabulary`, one a token. ``pace``: ``(num_symbols,) float32``, speed of each
    token relative to the voice's own. ``emphasis``: ``(num_symbols,) bool``."""

    symbols: str
    pace: NDArray[np.float32]
    emphasis: NDArray[np.bool_]

    def pieces(self) -> Iterator[Script]:
        """The script in pieces short enough for one call of the model, those without a sound left out."""
        for start, end in pieces_of(self.symbols):
            if has_speech(self.symbols[start:end]):
                yield Script(self.symbols[start:end], self.pace[start:end], self.emphasis[start:end])


def script_of(espeak: Espeak, parts: Sequence[Part], language: str) -> Script:
    """The script of parts that are words. Raises InvalidParameter for a language that the model lacks."""
    symbols = ""
    pace: list[NDArray[np.float32]] = []
    emphasis: list[NDArray[np.bool_]] = []
    for part in parts:
        text = letter_names(part.text) if language.startswith("en") else part.text
        said = phonemes(espeak, text, language)
        if not said:
            continue
        gap = " " if symbols and (said[0].isalnum() or said[0] in "ˈˌ") else ""
        symbols += gap + said
        pace.append(np.concatenate((np.ones(len(gap), np.float32), _pace(said, part))))
        emphasis.append(np.concatenate((np.zeros(len(gap), np.bool_), np.full(len(said), part.emphasis))))
    return Script(
        symbols,
        np.concatenate(pace) if pace else np.zeros(0, np.float32),
        np.concatenate(emphasis) if emphasis else np.zeros(0, np.bool_),
    )


def _pace(symbols: str, part: Part) -> NDArray[np.float32]:
    pace = np.full(len(symbols), part.pace, np.float32)
    if part.emphasis:
        pace *= np.float32(_EMPHASIS_PACE)
    if part.elongated:
        held = np.array([symbol in _SUSTAINED for symbol in symbols])
        pace *= np.where(held, np.float32(_ELONGATED_VOWEL_PACE), np.float32(_ELONGATED_PACE))
    return pace
