"""Joins the words of blocks to one sequence, the same as if the recording had been recognised in one piece.

Windows that cross a block boundary are recognised whole, so boundaries never change the text. Where speech had to be cut,
the windows on both sides overlap, and `flows.transcription.overlap_merge` merges words that both recognised.
"""

from __future__ import annotations

from collections.abc import Sequence

from audio.speech_windows import to_sample
from flows.transcription import assembly
from flows.transcription.blocks import Block
from flows.transcription.overlap_merge import merge_overlaps
from schemas.domain import Recognition, Segment, Span


class BlockTranscript:
    """Words of a recording, whose blocks may arrive in any order. For one thread."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._firsts = [0]
        """Index of each block's first window in the recording, followed by the number of all windows."""
        self._spans: list[Span] = []
        for block in blocks:
            # To the sample, as they were before they were counted from the block: seams depend on where edges are.
            at = block.span.start_secs
            spans = [window.span for window in block.windows]
            self._spans += [Span(to_sample(at + span.start_secs), to_sample(at + span.end_secs)) for span in spans]
            self._firsts.append(len(self._spans))
        self._recognitions: list[Recognition | None] = [None] * len(self._spans)
        self._settled: list[tuple[Segment, ...]] = []

    def add(self, number: int, recognitions: Sequence[Recognition]) -> None:
        """Add a block: one recognition for each of its windows, words counted from the start of the window's span."""
        first, last = self._firsts[number], self._firsts[number + 1]
        if len(recognitions) != last - first:
            raise ValueError(f"{len(recognitions)} recognitions of block {number}, which has {last - first} windows")
        self._recognitions[first:last] = recognitions

    def add_window(self, number: int, window: int, recognition: Recognition) -> None:
        """Add one window of block ``number``, before the block is complete."""
        self._recognitions[self._firsts[number] + window] = recognition

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
        """Every window's words, counted from the start of the recording, once all blocks are done."""
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
