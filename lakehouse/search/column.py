"""The column form of a text: one lexeme for each position, blanks around each, ``\\x01`` for a stop word.

``"the cat sat"`` becomes ``" \\x01 cat sat "``, so that a phrase is a literal substring.
"""

from __future__ import annotations

from lakehouse.search.tokens import placed

STOP_MARK = "\x01"


def tokenize(text: str) -> list[str | None]:
    """Lexemes by position; None is a stop word."""
    return placed(text)[0]


def lexemes(text: str) -> str:
    """The column form of ``text``; a text without words is one blank."""
    return " " + "".join(f"{STOP_MARK if item is None else item} " for item in tokenize(text))
