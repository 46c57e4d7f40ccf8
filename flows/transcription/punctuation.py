"""Adds capitals and punctuation to the words of engines that write neither. Pure functions.

Numbers stay as they were spoken. Words of an engine that writes capitals or punctuation, by its capabilities or as its
words show, are not changed. Punctuation is conservative: full stops where a speaker pauses or stops, a question mark only
after a sentence whose first two words make a question, no commas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from schemas.domain import Seconds, Segment, Word
from schemas.spacing import join_words

SENTENCE_GAP_SECS: Seconds = 0.6
"""A pause of one speaker that ends a sentence."""
LONG_SENTENCE_WORDS: Final = 20
LONG_SENTENCE_GAP_SECS: Seconds = 0.25
"""A sentence of this many words ends at a shorter pause."""
HANGING_GAP_SECS: Seconds = 2.0
"""After a word that needs another one, only a pause this long ends a sentence."""

# fmt: off
_HANGING: Final = frozenset(
    {
        "a", "an", "and", "as", "at", "but", "by", "for", "from", "in", "into", "my", "of", "on", "or", "our",
        "than", "that", "the", "their", "to", "with", "your",
    }
)
_AUXILIARY: Final = frozenset(
    {
        "am", "are", "can", "could", "did", "do", "does", "had", "has", "have", "is", "may", "might", "must",
        "shall", "should", "was", "were", "will", "would", "don't", "didn't", "isn't", "aren't", "can't",
        "couldn't", "won't", "wouldn't",
    }
)
# fmt: on
_SUBJECT: Final = frozenset(("i", "you", "he", "she", "it", "we", "they", "there", "this", "that", "these", "those"))
_ASKING: Final = frozenset(("what", "where", "when", "why", "who", "how", "which"))
_END: Final = (".", "?", "!")


def readable(segments: Sequence[Segment], *, punctuated: bool = False) -> tuple[Segment, ...]:
    """The same segments, words and times, written as sentences; ``segments`` in order of time.

    ``punctuated``: the engine's capabilities say that it writes capitals and punctuation. For other models this is not
    known beforehand, so words with capitals or punctuation count as well.
    """
    words = [word for segment in segments for word in segment.words]
    if punctuated or any(is_written(word.text) for word in words):
        return tuple(segments)
    written = iter([word for run in _runs(segments) for word in _written(run)])
    found = []
    for segment in segments:
        mine = tuple(next(written) for _ in segment.words)
        found.append(replace(segment, words=mine, text=join_words(word.text for word in mine)))
    return tuple(found)


def is_written(text: str) -> bool:
    """Whether a word has a capital, or punctuation at its end, which recognisers without punctuation never write."""
    return text != text.lower() or text.endswith((*_END, ",", ";", ":"))


def _runs(segments: Sequence[Segment]) -> list[list[Word]]:
    """Words of neighbouring segments of one speaker."""
    runs: list[list[Word]] = []
    before: int | None = None
    for segment in segments:
        if not runs or segment.speaker != before:
            runs.append([])
        runs[-1] += segment.words
        before = segment.speaker
    return runs


def _written(run: Sequence[Word]) -> list[Word]:
    written: list[Word] = []
    first = 0
    for place, word in enumerate(run):
        if place + 1 == len(run) or _ends(word, run[place + 1].start_secs - word.end_secs, place - first + 1):
            written += _sentence(run[first : place + 1])
            first = place + 1
    return written


def _ends(word: Word, gap_secs: Seconds, length: int) -> bool:
    if word.text in _HANGING:
        return gap_secs >= HANGING_GAP_SECS
    return gap_secs >= SENTENCE_GAP_SECS or (length >= LONG_SENTENCE_WORDS and gap_secs >= LONG_SENTENCE_GAP_SECS)


def _sentence(words: Sequence[Word]) -> list[Word]:
    texts = ["I" + word.text[1:] if word.text == "i" or word.text.startswith("i'") else word.text for word in words]
    mark = "?" if _asks([word.text for word in words]) else "."
    texts[0] = texts[0][:1].upper() + texts[0][1:]
    texts[-1] += mark
    return [replace(word, text=text) for word, text in zip(words, texts, strict=True)]


def _asks(texts: Sequence[str]) -> bool:
    if len(texts) < 3:
        return False
    if texts[0] in _ASKING:
        return texts[1] in _AUXILIARY and texts[2] in _SUBJECT
    return texts[0] in _AUXILIARY and texts[1] in _SUBJECT
