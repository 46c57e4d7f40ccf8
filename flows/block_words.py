"""The words of a recording that is heard in blocks, made one sequence: an utterance neither knows nor heeds a block's edge.

Where speech runs over an edge, the utterances on its two sides overlap as any two pieces of running speech do, and what
both heard is joined. So the words are the very ones of a recording that is heard in one piece.
"""

from __future__ import annotations

from collections.abc import Sequence

from audio.joining import joined
from flows import assemble
from flows.blocks import Block
from schemas.domain import Recognition, Segment, Span


class BlockWords:
    """What is heard of a recording, whichever of its blocks come first. For one thread."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._firsts = [0]
        """Index of each block's first utterance in the recording, and behind them the number of all."""
        self._spans: list[Span] = []
        for block in blocks:
            at = block.span.start_secs
            self._spans += [Span(at + u.start_secs, at + u.end_secs) for u in block.utterances]
            self._firsts.append(len(self._spans))
        self._heard: list[Recognition | None] = [None] * len(self._spans)
        self._taken: set[int] = set()
        self._settled: list[tuple[Segment, ...]] = []

    def take(self, number: int, recognitions: Sequence[Recognition]) -> None:
        """A block is heard: one recognition for each of its utterances, words counted from the utterance's start."""
        first, last = self._firsts[number], self._firsts[number + 1]
        if len(recognitions) != last - first:
            raise ValueError(f"{len(recognitions)} recognitions of block {number}, which has {last - first} utterances")
        self._heard[first:last] = recognitions
        self._taken.add(number)

    def settled(self) -> list[tuple[Segment, ...]]:
        """Segments of each block from the first on whose words are final; who spoke is known only at the end.

        A block's last words wait for the next utterance where that overlaps them.
        """
        while (number := len(self._settled)) in self._taken and not self._runs_on(number):
            first, last = self._firsts[number], self._firsts[number + 1]
            before, after = max(first - 1, 0), min(last + 1, len(self._spans))
            near = self._joined(before, after)[first - before : last - before]
            words = [word for recognition in near for word in recognition.words]
            self._settled.append(assemble.segments_of(words, [0] * len(words)))
        return self._settled

    def whole(self) -> list[Recognition]:
        """Every utterance's words, counted from the start of the recording, once all blocks are heard."""
        return self._joined(0, len(self._spans))

    def _runs_on(self, number: int) -> bool:
        """Whether a block's last utterance overlaps one that is not heard yet."""
        first, last = self._firsts[number], self._firsts[number + 1]
        if first == last or last == len(self._spans) or self._heard[last] is not None:
            return False
        return self._spans[last].start_secs < self._spans[last - 1].end_secs

    def _joined(self, first: int, last: int) -> list[Recognition]:
        heard = [
            (r, span) for r, span in zip(self._heard[first:last], self._spans[first:last], strict=True) if r is not None
        ]
        return joined([r for r, _ in heard], [span for _, span in heard])
