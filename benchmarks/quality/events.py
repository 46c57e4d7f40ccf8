"""Scores pauses and hesitations against a reference: numbers of found, of expected and of right events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.quality.corpus import Spoken
from benchmarks.quality.scores import normalized, words_right
from schemas.domain import Seconds, SoundEvent, Span, Word
from serve.engines.events.rules import is_filler, pauses

_LEAST_OVERLAP: Final = 0.5
"""Least overlap of two pauses that count as one, as a share of their union."""
_FILLER: Final = "um"


@dataclass(frozen=True, slots=True)
class EventCounts:
    """Of one recording or many: events ``found``, those of the ``reference``, and how many of the found are ``right``."""

    right: int
    found: int
    reference: int

    def __add__(self, other: EventCounts) -> EventCounts:
        return EventCounts(self.right + other.right, self.found + other.found, self.reference + other.reference)

    @property
    def precision(self) -> float | None:
        return self.right / self.found if self.found else None

    @property
    def recall(self) -> float | None:
        return self.right / self.reference if self.reference else None


def pause_counts(turns: Sequence[Spoken], found: Sequence[SoundEvent], duration_secs: Seconds) -> EventCounts:
    """Pauses between ``turns``, in which nobody speaks, against those ``found``; each counts once."""
    left = list(found)
    reference = pauses([Span(t.start_secs, t.end_secs) for t in turns], duration_secs)
    for pause in reference:
        nearest = max(left, key=lambda event: _overlap(pause, event), default=None)
        if nearest is not None and _overlap(pause, nearest) >= _LEAST_OVERLAP:
            left.remove(nearest)
    return EventCounts(len(found) - len(left), len(found), len(reference))


def hesitation_counts(reference: str, heard: Sequence[Word]) -> EventCounts:
    """Fillers of the ``reference`` against those ``heard``, by the alignment of all words; any filler matches another."""
    said = [_FILLER if is_filler(word) else word for word in normalized(reference).split()]
    fillers = [is_filler(word.text) for word in heard]
    alike = [replace(word, text=_FILLER) if filler else word for word, filler in zip(heard, fillers, strict=True)]
    right = [ok and filler for ok, filler in zip(words_right(" ".join(said), alike), fillers, strict=True)]
    return EventCounts(sum(right), sum(fillers), said.count(_FILLER))


def _overlap(one: SoundEvent, other: SoundEvent) -> float:
    """Intersection over union of two events."""
    both = min(one.end_secs, other.end_secs) - max(one.start_secs, other.start_secs)
    return max(0.0, both) / (max(one.end_secs, other.end_secs) - min(one.start_secs, other.start_secs))
