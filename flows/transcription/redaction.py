"""Removes personal data from the words of a transcript, and mutes it in the audio.

The words are searched as a whole and for each speaker alone, because a number that is read out may be interrupted, and a
word may get the wrong speaker.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from audio.pcm import PcmFile
from flows.transcription import pii_presidio
from flows.transcription.pii_rules import Found, find_by_rules
from schemas.domain import SAMPLE_RATE_HZ, Seconds, Span, Transcript, Word
from schemas.redaction import PLACEHOLDERS, PiiKind, placeholder

_MARGIN_SECS: Final[Seconds] = 0.15
"""Times of words are this exact; so much more is muted on both sides."""
_MARKS: Final = ".,?!;:"
_PRECEDENCE: Final[tuple[PiiKind, ...]] = (
    *("email", "url", "iban", "card", "ip"),
    *("ssn", "birth_date"),
    *("phone", "name"),
    "number",
)
"""The kind of words that are found under several: first those with a form or check digits of their own, then those that
cues tell, then what may be anything of that length. Presidio takes a social security number for a phone number, too."""

Find = Callable[[Sequence[str]], list[Found]]


def redacted(
    words: Sequence[Word], speakers: Sequence[int], kinds: Collection[PiiKind], language: str | None = "en"
) -> tuple[list[Word], list[int]]:
    """``words`` and their ``speakers`` with a placeholder for each stretch of personal data of one speaker.

    The placeholder has the times of the stretch and the marks of its last word. Presidio finds further data in English if
    it is installed.
    """
    find: Find = find_by_rules
    if language == "en" and pii_presidio.is_installed():
        find = lambda texts: [*find_by_rules(texts), *pii_presidio.find(texts)]  # noqa: E731
    marks = _marks([word.text for word in words], speakers, kinds, find)
    kept: list[Word] = []
    whose: list[int] = []
    previous: tuple[int, int] | None = None
    for word, speaker, mark in zip(words, speakers, marks, strict=True):
        if mark is None:
            kept.append(word)
            whose.append(speaker)
            previous = None
        elif previous == (mark[0], speaker):
            kept[-1] = replace(kept[-1], text=_hidden(mark[1], word), end_secs=max(word.end_secs, kept[-1].end_secs))
        else:
            kept.append(replace(word, text=_hidden(mark[1], word)))
            whose.append(speaker)
            previous = (mark[0], speaker)
    return kept, whose


def redacted_spans(transcript: Transcript) -> list[Span]:
    """Where a redacted transcript has placeholders, with a margin."""
    return [
        Span(max(0.0, word.start_secs - _MARGIN_SECS), word.end_secs + _MARGIN_SECS)
        for segment in transcript.segments
        for word in segment.words
        if word.text.rstrip(_MARKS) in PLACEHOLDERS
    ]


def muted(pcm: PcmFile, spans: Sequence[Span], target: Path) -> Path:
    """Write a copy of a recording that is silent in ``spans`` to ``target``."""
    shutil.copyfile(pcm.path, target)
    if pcm.num_samples:
        samples = np.memmap(target, dtype="<i2", mode="r+")
        for span in spans:
            samples[round(span.start_secs * SAMPLE_RATE_HZ) : round(span.end_secs * SAMPLE_RATE_HZ)] = 0
        samples.flush()
    return target


def _marks(
    texts: Sequence[str], speakers: Sequence[int], kinds: Collection[PiiKind], find: Find
) -> list[tuple[int, PiiKind] | None]:
    """For each word None, or the number of the stretch it belongs to and its kind."""
    found: list[tuple[Sequence[int], PiiKind]] = [(range(first, last + 1), kind) for first, last, kind in find(texts)]
    for speaker in sorted(set(speakers)):
        own = [place for place, one in enumerate(speakers) if one == speaker]
        alone = find([texts[place] for place in own])
        found += [(own[first : last + 1], kind) for first, last, kind in alone]
    marks: list[tuple[int, PiiKind] | None] = [None] * len(texts)
    # The longest first; of equal ones the most specific kind.
    wanted = sorted((f for f in found if f[1] in kinds), key=lambda f: (-len(f[0]), _PRECEDENCE.index(f[1])))
    for number, (places, kind) in enumerate(wanted):
        for place in places:
            if marks[place] is None:
                marks[place] = (number, kind)
    return marks


def _hidden(kind: PiiKind, word: Word) -> str:
    return placeholder(kind) + word.text[len(word.text.rstrip(_MARKS)) :]
