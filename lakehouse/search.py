"""Words to lexemes, as PostgreSQL's ``english`` configuration makes them.

The column form keeps one lexeme for each position, blanks around each, ``\\x01`` for a stop word:
``"the cat sat"`` becomes ``" \\x01 cat sat "``, so that a phrase is a literal substring.
"""

from __future__ import annotations

import re
import threading
from functools import cache, lru_cache
from importlib import resources

import Stemmer

STOP_MARK = "\x01"

_stemmers = threading.local()

# A compound with letters, a decimal number or version, or a run of letters and digits.
_TOKEN = re.compile(r"(?P<compound>[^\W\d_]+(?:-[^\W\d_]+)+)|\d+(?:\.\d+)+|[^\W_]+")


@cache
def stop_words() -> frozenset[str]:
    """The 127 words PostgreSQL ignores in English text."""
    return frozenset(resources.files("lakehouse").joinpath("english.stop").read_text("utf-8").split())


@lru_cache(maxsize=65_536)
def lexeme(word: str) -> str | None:
    """The lexeme of one lower-case word, None for a stop word."""
    if word in stop_words():
        return None
    if any(character.isdigit() for character in word):
        return word
    # A stemmer keeps state while it works, so each thread has its own.
    if not hasattr(_stemmers, "english"):
        _stemmers.english = Stemmer.Stemmer("english")
    return str(_stemmers.english.stemWord(word))


def tokenize(text: str) -> list[str | None]:
    """Lexemes by position. A compound counts as itself and then as each of its parts."""
    found: list[str | None] = []
    for match in _TOKEN.finditer(text.lower()):
        found.append(lexeme(match.group()))
        if match["compound"]:
            found.extend(lexeme(part) for part in match["compound"].split("-"))
    return found


def lexemes(text: str) -> str:
    """The column form of ``text``; a text without words is one blank."""
    found = tokenize(text)
    return " " + "".join(f"{STOP_MARK if item is None else item} " for item in found)
