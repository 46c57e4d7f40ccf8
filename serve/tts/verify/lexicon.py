"""How words are pronounced: the dictionary of 134,860 American English entries in the pocketsphinx wheel (CMUdict)."""

from __future__ import annotations

import importlib.metadata
import re
from functools import cache
from pathlib import Path
from typing import Final

Pronunciation = tuple[int, ...]
"""Indices into `PHONES`."""

PHONES: Final = (
    "SIL", "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY", "JH",
    "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH",
)  # fmt: skip
"""Silence, then the ARPAbet phones of CMUdict without stress."""

SILENCE: Final = 0
_INDEX: Final = {phone: index for index, phone in enumerate(PHONES)}
_DICTIONARY: Final = "pocketsphinx/model/en-us/cmudict-en-us.dict"
_VARIANT: Final = re.compile(r"\(\d+\)$")
_WORD: Final = re.compile(r"[a-z]+(?:'[a-z]+)*'?|[0-9]+")


class Lexicon:
    """Pronunciations by lower-case word; several where the dictionary has variants, none for a word it does not hold."""

    def __init__(self, entries: dict[str, list[str]]) -> None:
        """``entries``: word to its pronunciations, each phones with spaces between."""
        self._entries = entries

    def __contains__(self, word: str) -> bool:
        return word in self._entries

    def pronunciations(self, word: str) -> tuple[Pronunciation, ...]:
        found = self._entries.get(word) or self._entries.get(word.rstrip("'")) or ()
        return tuple(tuple(_INDEX[phone] for phone in phones.split()) for phones in found)

    def words(self) -> list[str]:
        return sorted(self._entries)


@cache
def load_lexicon() -> Lexicon:
    """The dictionary, read once a process (0.2 s, 30 MB)."""
    path = Path(str(importlib.metadata.distribution("pocketsphinx").locate_file(_DICTIONARY)))
    entries: dict[str, list[str]] = {}
    for line in path.read_text("utf-8").splitlines():
        word, _, phones = line.partition(" ")
        entries.setdefault(_VARIANT.sub("", word), []).append(phones.strip())
    return Lexicon(entries)


def words_of(text: str) -> tuple[str, ...]:
    """Lower-case words of text as it is spoken: no punctuation, hyphens part words, apostrophes stay."""
    return tuple(_WORD.findall(text.lower().replace("’", "'")))
