"""Texts as a column of lexemes: one for each position, with blanks around it, and ``\\x01`` for a stop word.

``"the cat sat"`` becomes ``" \\x01 cat sat "``, so a phrase is a literal substring.
"""

from __future__ import annotations

from lakehouse.search.tokenizer import lexemes_with_spans

STOP_MARK = "\x01"


def tokenize(text: str) -> list[str | None]:
    """Lexemes by position; None is a stop word."""
    return lexemes_with_spans(text)[0]


def lexemes(text: str) -> str:
    """``text`` as the column has it; one blank for a text without words."""
    return " " + "".join(f"{STOP_MARK if item is None else item} " for item in tokenize(text))
