"""What a check of rendered speech finds, and what any checker must be able to do."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas.engines import Passage, Samples

Expected = Sequence[str | None]
"""Words in order, lower-case; None where a sound that is no word may stand."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``score``: how likely the words were not spoken as written, 0 to 1; ``ok`` is whether it is low enough.

    ``word_error_rate`` is words missing, replaced or added by the words expected; None where nothing could be judged.
    ``reasons`` are for people, name words by their place and never quote them; empty when ``ok``.
    """

    ok: bool
    word_error_rate: float | None
    score: float
    reasons: tuple[str, ...] = ()


class Verifier(Protocol):
    """Safe to call from several threads."""

    def check(self, samples: Samples, words: Expected) -> Verdict:
        """Whether ``(num_samples,) float32`` at 16 kHz mono says ``words``. Raises EngineFailure."""
        ...

    def close(self) -> None:
        """Ends what it has started."""
        ...


def expected_of(passage: Passage) -> tuple[str | None, ...]:
    """A passage's words, with None for each cue."""
    found: list[str | None] = []
    for part in passage.parts:
        found += [None] if part.cue else Passage((part,), 0, 0.0).words
    return tuple(found)


def edits(expected: Sequence[Hashable], heard: Sequence[Hashable]) -> int:
    """Items to insert, delete or replace to get from one to the other (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for i, wanted in enumerate(expected, start=1):
        diagonal, row[0] = row[0], i
        for j, word in enumerate(heard, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (wanted != word))
    return row[-1]
