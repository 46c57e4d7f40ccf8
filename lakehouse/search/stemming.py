"""The lexeme of a word, as PostgreSQL's ``english_stem`` dictionary makes it (Snowball stemmer, PyStemmer 2.2)."""

from __future__ import annotations

import threading
from functools import cache, lru_cache
from importlib import resources

import Stemmer

# Longer words are not stemmed: PostgreSQL does not stem them either, and the time to stem grows with the length.
MAX_STEMMED_BYTES = 1000

_stemmers = threading.local()


@cache
def stop_words() -> frozenset[str]:
    """The 127 words that PostgreSQL ignores in English text (its ``english.stop``)."""
    return frozenset(resources.files("lakehouse").joinpath("english.stop").read_text("utf-8").split())


@lru_cache(maxsize=65_536)
def lexeme(word: str) -> str | None:
    """The lexeme of one lower-case word, None for a stop word. A word with digits is its own lexeme."""
    if word in stop_words():
        return None
    if len(word.encode()) > MAX_STEMMED_BYTES or any(character in "0123456789" for character in word):
        return word
    # A stemmer is not safe to share between threads.
    if not hasattr(_stemmers, "english"):
        _stemmers.english = Stemmer.Stemmer("english")
    return str(_stemmers.english.stemWord(word))
