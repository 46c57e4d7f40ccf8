"""One word to its lexeme, as PostgreSQL's ``english_stem`` and ``simple`` dictionaries make it."""

from __future__ import annotations

import threading
from functools import cache, lru_cache
from importlib import resources

import Stemmer

# Longer ones are kept as they are: "surely not a word" to PostgreSQL, and the stemmer's time grows with length.
MAX_STEMMED_BYTES = 1000

_stemmers = threading.local()


@cache
def stop_words() -> frozenset[str]:
    """The 127 words PostgreSQL ignores in English text."""
    return frozenset(resources.files("lakehouse").joinpath("english.stop").read_text("utf-8").split())


@lru_cache(maxsize=65_536)
def lexeme(word: str) -> str | None:
    """The lexeme of one lower-case word, None for a stop word. A word with digits is its own lexeme."""
    if word in stop_words():
        return None
    if len(word.encode()) > MAX_STEMMED_BYTES or any(character in "0123456789" for character in word):
        return word
    # A stemmer keeps state while it works, so each thread has its own.
    if not hasattr(_stemmers, "english"):
        _stemmers.english = Stemmer.Stemmer("english")
    return str(_stemmers.english.stemWord(word))
