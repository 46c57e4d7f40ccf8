"""Words as phones, by espeak-ng's rules, and the distance between recognised and expected phones.

Spelling does not matter: "there" and "their" have the same phones, and so have "programme" and "program".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isclose
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serve.engines.tts.espeak import Espeak

Phones = tuple[str, ...]

ESPEAK_VOICES: Final = {"en": "en-us", "es": "es", "fr": "fr", "it": "it", "pt": "pt-br", "hi": "hi", "de": "de"}
"""Languages, by their first subtag, whose words can be compared, and the espeak-ng voice that reads each."""

_FLAG: Final = re.compile(r"\([a-z]{2,3}(?:-[a-z\d-]+)?\)")
_IGNORED: Final = frozenset("ˈˌ_ \u200d|-ː")
_MODIFIERS: Final = frozenset("ʲʰ\u0303\u0329")
_VOWELS: Final = frozenset("aeiouyɑɐɒæɔəɚɛɜɨɪɯøœɤʊʌᵻɵʉ")
_WEAK: Final = frozenset("əɐᵻhʔ")
"""Phones that careful and quick speech differ in."""
_NEAR: Final = frozenset(
    frozenset(pair)
    for pair in (
        *("pb", "td", "kɡ", "sz", "fv", "θð", "ʃʒ", "ɾt", "ɾd", "ɾɹ", "rɹ", "rɾ", "ʔt", "nŋ", "nm", "əɚ", "lɫ"),
        *("əʌ", "əɪ", "ᵻɪ", "ᵻə", "ɑɔ", "ɒɑ", "ɒɔ", "ɐə", "ɐʌ", "ɐa", "iɪ", "uʊ", "ɛæ", "ɛe", "oɔ", "aɑ", "aæ", "ɜɚ"),
    )
)
_NEAR_COST, _VOWEL_COST, _WEAK_COST = 0.3, 0.6, 0.4


def espeak_voice(language: str) -> str | None:
    """The voice whose rules read a BCP 47 tag's words; None for a language that cannot be compared."""
    return ESPEAK_VOICES.get(language.partition("-")[0])


def words_of(text: str) -> tuple[str, ...]:
    """Lower-case words of a normalised text: without punctuation around them, split at hyphens, with apostrophes."""
    found = (bare(part) for part in text.lower().replace("’", "'").replace("-", " ").split())
    return tuple(word for word in found if word)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Differences from the expected phones, in phones: a cost of 1 is one missing, added, or replaced by a dissimilar one.

    ``word_costs``: ``(num_expected,)``, cost within each expected word. ``gap_costs``: ``(num_expected + 1,)``, cost of
    added phones before each of them, and after the last. ``num_phones``: ``(num_expected,)``.
    """

    word_costs: NDArray[np.float64]
    gap_costs: NDArray[np.float64]
    num_phones: NDArray[np.int64]

    @property
    def total(self) -> float:
        return float(self.word_costs.sum() + self.gap_costs.sum())


class Pronouncer:
    """Phones of single words by the rules of one espeak-ng voice, cached by word."""

    def __init__(self, voice: str) -> None:
        """``voice``: its name in espeak-ng, ``en-us``. Raises EngineFailure where espeak-ng does not start."""
        self._espeak, self._voice = Espeak(), voice
        self.phones = lru_cache(maxsize=20_000)(self._phones)

    def _phones(self, word: str) -> Phones:
        """Phones of one word, without stress and length; none for a word that espeak-ng does not pronounce."""
        found: list[str] = []
        for symbol in _FLAG.sub("", self._espeak.phonemes(word, self._voice)):
            if symbol in _MODIFIERS and found:
                found[-1] += symbol
            elif symbol not in _IGNORED:
                found.append(symbol)
        return tuple(found)


def bare(word: str) -> str:
    """``word`` without the punctuation around it; inner apostrophes, hyphens and marks stay."""
    start, end = 0, len(word)
    while start < end and not _is_letter(word[start]):
        start += 1
    while end > start and not _is_letter(word[end - 1]):
        end -= 1
    return word[start:end]


def _is_letter(character: str) -> bool:
    """Hindi vowel signs count; they are marks, for which `str.isalnum` is false."""
    return character.isalnum() or unicodedata.category(character).startswith("M")


def compare(expected: Sequence[Phones | None], heard: Sequence[Phones]) -> Comparison:
    """The alignment of ``heard`` to ``expected`` with the least cost; where None is expected, any sound is free."""
    wanted = [(number, phone) for number, phones in enumerate(expected) for phone in phones or ()]
    free_after = {
        sum(len(phones or ()) for phones in expected[:number]) for number, phones in enumerate(expected) if phones is None
    }
    given = [phone for phones in heard for phone in phones]
    best = [[0.0]]
    for phone in given:
        best[0].append(best[0][-1] + (0.0 if 0 in free_after else _lone_cost(phone)))
    for row, (_, phone) in enumerate(wanted, start=1):
        above, missing = best[-1], _lone_cost(phone)
        costs = [above[0] + missing]
        for column, other in enumerate(given, start=1):
            added = 0.0 if row in free_after else _lone_cost(other)
            swapped = above[column - 1] + swap_cost(phone, other)
            costs.append(min(swapped, above[column] + missing, costs[-1] + added))
        best.append(costs)
    return _attributed(expected, wanted, given, best, free_after)


def _attributed(
    expected: Sequence[Phones | None],
    wanted: Sequence[tuple[int, str]],
    given: Sequence[str],
    best: Sequence[Sequence[float]],
    free_after: set[int],
) -> Comparison:
    """The costs along the cheapest path, by the expected word they fall on."""
    words, gaps = np.zeros(len(expected)), np.zeros(len(expected) + 1)
    i, j = len(wanted), len(given)
    while i or j:
        here = best[i][j]
        if i and j and isclose(here, best[i - 1][j - 1] + swap_cost(wanted[i - 1][1], given[j - 1])):
            i, j = i - 1, j - 1
            words[wanted[i][0]] += here - best[i][j]
        elif i and isclose(here, best[i - 1][j] + _lone_cost(wanted[i - 1][1])):
            i -= 1
            words[wanted[i][0]] += here - best[i][j]
        else:
            j -= 1
            cost = here - best[i][j]
            if 0 < i < len(wanted) and wanted[i - 1][0] == wanted[i][0]:
                words[wanted[i][0]] += cost
            else:
                gaps[wanted[i][0] if i < len(wanted) else len(expected)] += cost
    return Comparison(words, gaps, np.asarray([len(phones or ()) for phones in expected], np.int64))


@lru_cache(maxsize=10_000)
def swap_cost(a: str, b: str) -> float:
    """Cost of one phone in place of another: 0 for the same, 1 for dissimilar phones."""
    if a == b:
        return 0.0
    if frozenset((a[0], b[0])) in _NEAR or a[0] == b[0]:
        return _NEAR_COST
    return _VOWEL_COST if a[0] in _VOWELS and b[0] in _VOWELS else 1.0


def _lone_cost(phone: str) -> float:
    """Cost of one missing or added phone."""
    return _WEAK_COST if phone[0] in _WEAK else 1.0
