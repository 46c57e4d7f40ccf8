"""A stretch of text as a reader says it: only words and the punctuation that shapes them are left.

Rules run in order, the more specific before the more general: addresses hold numbers, dates hold slashes, and so on.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from serve.tts.text import dates, names, numbers, quantities

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
_ADDRESS_RULES: Final = names.RULES[:3]
_RULES: Final = (*_ADDRESS_RULES, *numbers.EARLY_RULES, *dates.RULES, *quantities.RULES, *names.RULES[3:], *numbers.RULES)

_TIDY: Final = (
    (re.compile(r"_+"), " "),
    (re.compile(r"\s*(?:—|–|\s--?\s)\s*"), ", "),
    (re.compile(r"\(\s*"), ", "),
    (re.compile(r"\s*\)(?=[.,;:!?])"), ""),
    (re.compile(r"\s*\)"), ", "),
    (re.compile(r'"'), " "),
    (re.compile(r"\s+"), " "),
    (re.compile(r"\s+(?=[,.;:!?])"), ""),
    (re.compile(r"[,;:](?=[,;:.!?])"), ""),
    (re.compile(r"([!?.])(?:[!?]+|\1{3,})"), r"\1"),
    (re.compile(r"^[\s,;:.!?]+|[\s]+$"), ""),
)


def read_aloud(text: str) -> str:
    """``text`` in words, with its punctuation. Control characters go: the synthesiser would obey them."""
    said = unicodedata.normalize("NFKC", text.translate(_PLAIN)) if not _has_signs(text) else text.translate(_PLAIN)
    said = "".join(c if c.isprintable() else " " for c in said)
    for pattern, words_of in _RULES:
        said = pattern.sub(words_of, said)
    for pattern, replacement in _TIDY:
        said = pattern.sub(replacement, said)
    return said


def _has_signs(text: str) -> bool:
    """Whether ``text`` holds signs the rules know, which compatibility normalisation would take apart."""
    return bool(re.search("[½⅓⅔¼¾⅛°º²³…′″]", text))
