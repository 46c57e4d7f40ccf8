"""The stable words of an utterance in progress: those on which two consecutive hypotheses agree.

Local agreement (Liu, Spanakis and Niehues, 2020, "Low-Latency Sequence-to-Sequence Speech Recognition and Translation by
Partial Hypothesis Selection").
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas.domain import Word


class StableWords:
    """The hypotheses of one utterance. Stable words stay at their places in all later hypotheses."""

    def __init__(self) -> None:
        self._previous: list[Word] = []
        self._stable: list[Word] = []

    def feed(self, hypothesis: Sequence[Word]) -> tuple[list[Word], int]:
        """The words to show for the next hypothesis, and how many of the first ones are stable."""
        shown = [*self._stable, *hypothesis[len(self._stable) :]]
        agreed = len(self._stable)
        while agreed < min(len(shown), len(self._previous)) and _same(shown[agreed], self._previous[agreed]):
            agreed += 1
        self._stable = shown[:agreed]
        self._previous = shown
        return shown, agreed


def _same(one: Word, other: Word) -> bool:
    return _plain(one.text) == _plain(other.text)


def _plain(text: str) -> str:
    return "".join(char for char in text.lower() if char.isalnum()) or text
