"""Pronunciations of words in the phones of the acoustic model, by espeak-ng's rules, American and British.

Every word has a pronunciation, also names, because the rules are those of the synthesiser itself. So a word that it
pronounces wrongly is no error to this check.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from serve.engines.tts.verify.pronunciation import Pronouncer

Pronunciation = tuple[int, ...]
"""Indices into `PHONES`."""

PHONES: Final = (
    "SIL", "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY", "JH",
    "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH",
)  # fmt: skip
"""Silence, then the 39 phones of ARPAbet without stress."""

SILENCE: Final = 0
_INDEX: Final = {phone: index for index, phone in enumerate(PHONES)}
_ACCENTS: Final = ("en-us", "en-gb-x-rp")
_ARPABET: Final = {
    "aɪə": "AY AH", "aɪɚ": "AY ER", "aʊ": "AW", "aɪ": "AY", "eɪ": "EY", "oʊ": "OW", "əʊ": "OW", "ɔɪ": "OY",
    "tʃ": "CH", "dʒ": "JH", "eə": "EH R", "iə": "IY AH", "ɪə": "IH R", "ʊə": "UH R", "əl": "AH L",
    "ɑ": "AA", "ɒ": "AA", "æ": "AE", "a": "AE", "ʌ": "AH", "ə": "AH", "ɐ": "AH", "ᵻ": "IH", "ɔ": "AO", "o": "AO",
    "ɛ": "EH", "e": "EH", "ɚ": "ER", "ɜ": "ER", "ɝ": "ER", "ɪ": "IH", "i": "IY", "ʊ": "UH", "u": "UW",
    "b": "B", "d": "D", "ð": "DH", "f": "F", "ɡ": "G", "h": "HH", "k": "K", "l": "L", "ɫ": "L", "m": "M", "n": "N",
    "ŋ": "NG", "p": "P", "ɹ": "R", "r": "R", "s": "S", "ʃ": "SH", "t": "T", "ɾ": "T", "ʔ": "T", "θ": "TH", "v": "V",
    "w": "W", "ʍ": "W", "j": "Y", "z": "Z", "ʒ": "ZH", "x": "K", "n̩": "AH N", "l̩": "AH L", "ɬ": "L", "ɲ": "N Y",
}  # fmt: skip
"""ARPAbet of espeak-ng's IPA without stress and length; longer symbols win."""

_SYMBOL: Final = re.compile("|".join(sorted(map(re.escape, _ARPABET), key=len, reverse=True)))


_BEFORE: Final = ("", "tomorrow", "apple", "the")
"""Contexts of a word: many short words are pronounced differently alone, before a consonant, a vowel and an article."""


class Lexicon:
    """Pronunciations by lower-case word: alone and before others, in American and British."""

    def __init__(self) -> None:
        """Raises EngineFailure where espeak-ng does not start."""
        self._accents = [Pronouncer(voice) for voice in _ACCENTS]
        self.pronunciations = lru_cache(maxsize=20_000)(self._pronunciations)

    def _pronunciations(self, word: str) -> tuple[Pronunciation, ...]:
        """All different pronunciations; none for a word that espeak-ng does not pronounce."""
        found: dict[Pronunciation, None] = {}
        for accent in self._accents:
            for following in _BEFORE:
                whole, rest = accent.phones(f"{word} {following}"), accent.phones(following)
                if whole[len(whole) - len(rest) :] == rest:
                    found[_arpabet("".join(whole[: len(whole) - len(rest)]))] = None
        return tuple(phones for phones in found if phones)


def _arpabet(ipa: str) -> Pronunciation:
    return tuple(_INDEX[phone] for match in _SYMBOL.finditer(ipa) for phone in _ARPABET[match.group()].split())
