"""The words of a spoken response that the user heard, estimated from how long it was played."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from schemas.domain import Seconds, Word

_WORD: Final = re.compile(r"\S+\s*")


@dataclass(frozen=True, slots=True)
class SpokenPassage:
    """A part of a response: characters ``[start, end)`` of the transcript, and the times of their audio.

    ``words`` are the times of its words within the response, if known.
    """

    start: int
    end: int
    start_secs: Seconds
    end_secs: Seconds
    words: tuple[Word, ...] = ()


def heard_text(transcript: str, passages: Sequence[SpokenPassage], heard_secs: Seconds) -> str:
    """The words of ``transcript`` that were played at least by half within ``heard_secs``.

    If a passage has no word times, its words are assumed to last in proportion to their letters.
    """
    heard = 0
    for passage in passages:
        if passage.end_secs <= heard_secs:
            heard = max(heard, passage.end)
            continue
        if passage.start_secs < heard_secs:
            heard = max(heard, passage.start + _heard_chars(transcript[passage.start : passage.end], passage, heard_secs))
        break
    return transcript[:heard].rstrip()


def _heard_chars(text: str, passage: SpokenPassage, heard_secs: Seconds) -> int:
    words = list(_WORD.finditer(text))
    if passage.words and len(passage.words) == len(words):
        middles = [(word.start_secs + word.end_secs) / 2 for word in passage.words]
    else:
        middles = _shares([len(word.group().strip()) for word in words], passage)
    said = [word.end() for word, middle in zip(words, middles, strict=True) if middle <= heard_secs]
    return said[-1] if said else 0


def _shares(lengths: Sequence[int], passage: SpokenPassage) -> list[Seconds]:
    """The middle of each word, s."""
    total = sum(lengths) or 1
    span = passage.end_secs - passage.start_secs
    middles, before = [], 0
    for length in lengths:
        middles.append(passage.start_secs + span * (before + length / 2) / total)
        before += length
    return middles
