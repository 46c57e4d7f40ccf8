"""Which windows of a long block are embedded: few where one voice goes on, more where the voice may change.

The encoder takes most of the diariser's time. Windows that lie close together share most of their audio, so a window
between two alike ones is nearly their mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serve.engines.diarization.speaker_counting import Embeddings

Indices = NDArray[np.int64]

Embed = Callable[[Indices], Embeddings]
"""The embeddings of the windows with these indices."""
Choose = Callable[[Sequence[int], Embed], Embeddings]
"""The embeddings of all windows of spans with so many windows each; which of them are embedded is its choice."""

PLENTY: Final = 300
"""Windows in a block, a minute of speech, up to which every one is embedded."""
STRIDE: Final = 4
"""Of many windows every fourth of a span is embedded, and its last."""
ALIKE: Final = 0.7
"""Cosine of two such neighbours below which the window in their middle is embedded, too."""


def embedded(
    counts: Sequence[int], embed: Embed, *, plenty: int = PLENTY, stride: int = STRIDE, alike: float = ALIKE
) -> Embeddings:
    """``(num_windows, dim) float32``, L2-normalised, for spans with ``counts`` windows each.

    Windows that are not embedded are interpolated between their neighbours.
    """
    total = sum(counts)
    if total <= plenty:
        return embed(np.arange(total))
    ends = np.cumsum(counts)
    spans = zip(counts, ends.tolist(), strict=True)
    few = np.concatenate([np.unique(np.append(np.arange(end - count, end, stride), end - 1)) for count, end in spans])
    found = embed(few)
    span_of = np.searchsorted(ends, few, "right")
    changes = (np.diff(few) >= 2) & (np.diff(span_of) == 0) & (np.sum(found[1:] * found[:-1], axis=1) < alike)
    middles = (few[:-1][changes] + few[1:][changes]) // 2
    if len(middles):
        few, found = np.concatenate((few, middles)), np.concatenate((found, embed(middles)))
        order = np.argsort(few)
        few, found = few[order], found[order]
    return _with_those_between(few, found, total)


def _with_those_between(few: Indices, found: Embeddings, total: int) -> Embeddings:
    """Each of ``total`` windows: ``found`` where it is one of ``few``, else on the line between its neighbours among them.

    The first and the last window of each span are among ``few``.
    """
    wanted = np.arange(total)
    after = np.searchsorted(few, wanted)
    before = np.maximum(after - (few[after] != wanted), 0)
    share = (wanted - few[before]) / np.maximum(few[after] - few[before], 1)
    whole = found[before] * (1 - share)[:, None] + found[after] * share[:, None]
    return np.asarray(whole / np.maximum(np.linalg.norm(whole, axis=1, keepdims=True), 1e-9), np.float32)
