"""Words of a recording's windows, which may be recognised in any order, and the text that is final so far."""

from __future__ import annotations

from collections.abc import Sequence

from flows.transcription import assembly
from flows.transcription.overlap_merge import merge_overlaps
from schemas.domain import Recognition, Segment, Span


class WindowTranscript:
    """Joins the words of neighbouring windows: where two overlap, words that both recognised are merged. For one thread."""

    def __init__(self, spans: Sequence[Span]) -> None:
        """``spans``: those of all windows, in order, in seconds from the start of the recording."""
        self._spans = spans
        self._recognitions: list[Recognition | None] = [None] * len(spans)
        self._settled: list[tuple[Segment, ...]] = []

    def add(self, window: int, recognition: Recognition) -> None:
        """Add the words of a window, counted from the start of its span."""
        self._recognitions[window] = recognition

    def settled(self) -> list[tuple[Segment, ...]]:
        """Segments of each window from the first on whose words are final, without speakers, which are known at the end.

        A window that overlaps the next one waits for that.
        """
        while self._is_final(number := len(self._settled)):
            first, last = max(number - 1, 0), min(number + 2, len(self._spans))
            words = self._merged(first, last)[number - first].words
            self._settled.append(assembly.segments_of(words, [0] * len(words)))
        return self._settled

    def whole(self) -> list[Recognition]:
        """Every window's words, counted from the start of the recording, once all windows are recognised."""
        return self._merged(0, len(self._spans))

    def _is_final(self, window: int) -> bool:
        """Whether a window is recognised, and the next one too if they overlap."""
        if window == len(self._spans) or self._recognitions[window] is None:
            return False
        following = window + 1
        if following == len(self._spans) or self._recognitions[following] is not None:
            return True
        return self._spans[following].start_secs >= self._spans[window].end_secs

    def _merged(self, first: int, last: int) -> list[Recognition]:
        found = zip(self._recognitions[first:last], self._spans[first:last], strict=True)
        done = [(r, span) for r, span in found if r is not None]
        return merge_overlaps([r for r, _ in done], [span for _, span in done])
