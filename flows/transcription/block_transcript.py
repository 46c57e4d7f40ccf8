"""Joins the words of blocks to one sequence, the same as if the recording had been recognised in one piece.

Windows that cross a block boundary are recognised whole, so boundaries never change the text. Where speech had to be cut,
the windows on both sides overlap, and `flows.transcription.overlap_merge` merges words that both recognised.
"""

from __future__ import annotations

from collections.abc import Sequence

from audio.speech_windows import to_sample
from flows.transcription.blocks import Block
from flows.transcription.window_transcript import WindowTranscript
from schemas.domain import Recognition, Segment, Span


class BlockTranscript:
    """Words of a recording, whose blocks may arrive in any order. For one thread."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._firsts = [0]
        """Index of each block's first window in the recording, followed by the number of all windows."""
        all_spans: list[Span] = []
        for block in blocks:
            # To the sample, as they were before they were counted from the block: seams depend on where edges are.
            at = block.span.start_secs
            spans = [window.span for window in block.windows]
            all_spans += [Span(to_sample(at + span.start_secs), to_sample(at + span.end_secs)) for span in spans]
            self._firsts.append(len(all_spans))
        self._windows = WindowTranscript(all_spans)

    def add(self, number: int, recognitions: Sequence[Recognition]) -> None:
        """Add a block: one recognition for each of its windows, words counted from the start of the window's span."""
        first, last = self._firsts[number], self._firsts[number + 1]
        if len(recognitions) != last - first:
            raise ValueError(f"{len(recognitions)} recognitions of block {number}, which has {last - first} windows")
        for window, recognition in enumerate(recognitions, first):
            self._windows.add(window, recognition)

    def add_window(self, number: int, window: int, recognition: Recognition) -> None:
        """Add one window of block ``number``, before the block is complete."""
        self._windows.add(self._firsts[number] + window, recognition)

    def settled(self) -> list[tuple[Segment, ...]]:
        """See `WindowTranscript.settled`."""
        return self._windows.settled()

    def whole(self) -> list[Recognition]:
        """See `WindowTranscript.whole`."""
        return self._windows.whole()
