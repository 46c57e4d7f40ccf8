"""Joins words to text: with spaces between them, except in scripts without spaces."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final

_UNSPACED: Final = (
    ("\u0e00", "\u0eff"),  # Thai, Lao
    ("\u1000", "\u109f"),  # Burmese
    ("\u1780", "\u17ff"),  # Khmer
    ("\u3000", "\u30ff"),  # marks of Chinese and Japanese, Hiragana, Katakana
    ("\u3400", "\u9fff"),  # Han
    ("\uf900", "\ufaff"),
    ("\uff00", "\uffef"),  # full-width marks
    ("\U00020000", "\U0003ffff"),
)
"""Ranges of Unicode, first and last character."""


def is_unspaced(char: str) -> bool:
    """Whether the character belongs to a script without spaces between words, or to such a script's marks."""
    return any(first <= char <= last for first, last in _UNSPACED)


def join_words(words: Iterable[str]) -> str:
    """``words`` as one text: without a space between two words of a script without spaces, or between such a word and a
    figure.
    """
    text = ""
    for word in words:
        text += space_between(text, word) + word
    return text


def space_between(text: str, word: str) -> str:
    """The separator of `join_words` between a text and the next word: a space, or nothing."""
    if not text or not word:
        return ""
    last, first = text[-1], word[0]
    without = is_unspaced(last), is_unspaced(first)
    if all(without) or unicodedata.combining(first):
        return ""
    return "" if any(without) and (last.isdigit() or first.isdigit()) else " "
