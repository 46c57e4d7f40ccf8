"""Normalises text for speech: the result has only words and punctuation.

Rules run in order, specific ones before general ones: addresses contain numbers, dates contain slashes, and so on.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from typing import Final

from serve.engines.tts.text import dates, formulas, notations, numbers, quantities, symbols, telephones
from serve.engines.tts.text.languages.french import FRENCH
from serve.engines.tts.text.languages.hindi import HINDI, latin_digits
from serve.engines.tts.text.languages.italian import ITALIAN
from serve.engines.tts.text.languages.portuguese import PORTUGUESE
from serve.engines.tts.text.languages.reading_rules import rules_of
from serve.engines.tts.text.languages.spanish import SPANISH
from serve.engines.tts.text.languages.vocabulary import Vocabulary

_PLAIN: Final = str.maketrans(
    {
        "‘": "'",
        "’": "'",
        "“": '"',
        "”": '"',
        "\u00a0": " ",
        "\u202f": " ",
        "\u00ad": "",
        "…": "...",
        "•": " ",
        "|": " ",
        "*": " ",
        "`": " ",
        "[": " ",
        "]": " ",
        "{": " ",
        "}": " ",
        "<": " ",
        ">": " ",
        "\\": " ",
        "^": " ",
    }
)
_ADDRESS_RULES: Final = symbols.RULES[:3]
_ENGLISH_RULES: Final = (
    *_ADDRESS_RULES,
    *telephones.RULES,
    *numbers.EARLY_RULES,
    *dates.RULES,
    *quantities.RULES,
    *symbols.RULES[3:],
    *numbers.RULES,
)
_VOCABULARIES: Final[Mapping[str, Vocabulary]] = {
    "es": SPANISH,
    "fr": FRENCH,
    "hi": HINDI,
    "it": ITALIAN,
    "pt": PORTUGUESE,
}

_TIDY: Final = (
    (re.compile(r"_+"), " "),
    (re.compile(r"\s*(?:—|–|\s--?\s)\s*"), ", "),
    (re.compile(r"\(\s*"), ", "),
    (re.compile(r"\s*\)(?=[.,;:!?])"), ""),
    (re.compile(r"\s*\)\s*$"), ""),
    (re.compile(r"\s*\)"), ", "),
    (re.compile(r'"'), " "),
    (re.compile(r"\s+"), " "),
    (re.compile(r"\s+(?=[,.;:!?])"), ""),
    (re.compile(r"[,;:](?=[,;:.!?])"), ""),
    (re.compile(r"([!?.])(?:[!?]+|\1{3,})"), r"\1"),
    (re.compile(r"^[\s,;:.!?]+|\s+$"), ""),
)


def read_aloud(text: str, language: str = "en-us") -> str:
    """``text`` in words of ``language``, a BCP 47 tag, with its punctuation. Languages without rules use the English ones.

    Control characters are removed, because the synthesiser would interpret them as commands.
    """
    if language[:2] not in _VOCABULARIES:
        for pattern, words_of in (*notations.RULES, *formulas.RULES):
            text = pattern.sub(words_of, text)
    said = unicodedata.normalize("NFKC", text.translate(_PLAIN)) if not _has_signs(text) else text.translate(_PLAIN)
    said = "".join(c if c.isprintable() else " " for c in said)
    if language[:2] == "hi":
        said = latin_digits(said)
    for pattern, words_of in _rules(language[:2]):
        said = pattern.sub(words_of, said)
    for pattern, replacement in _TIDY:
        said = pattern.sub(replacement, said)
    return said


@cache
def _rules(language: str) -> tuple[numbers.Rule, ...]:
    vocabulary = _VOCABULARIES.get(language)
    return _ENGLISH_RULES if vocabulary is None else rules_of(vocabulary)


def _has_signs(text: str) -> bool:
    """Whether ``text`` has signs of the rules, which Unicode compatibility normalisation would decompose."""
    return bool(re.search("[½⅓⅔¼¾⅛°ºª²³…′″μ]", text))
