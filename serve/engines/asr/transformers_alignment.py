"""Time of each token of an attention decoder, by dynamic time warping over its cross-attention.

Alec Radford and others, "Robust Speech Recognition via Large-Scale Weak Supervision", 2022 (arXiv:2212.04356), and the
word timing of its implementation: heads known to follow the sound are normalised over the tokens, smoothed over time,
averaged, and the cheapest monotonic path through them is taken.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_SMOOTHING_FRAMES: Final = 7
_DIAGONAL, _UP, _LEFT = range(3)


def token_starts(attention: NDArray[np.float32]) -> NDArray[np.int64]:
    """``(num_tokens,)``: the frame in which each token begins, never falling.

    ``attention``: ``(num_heads, num_tokens, num_frames)``, the attention of each token's prediction to the frames
    without padding.
    """
    from scipy.ndimage import median_filter

    spread = attention.std(axis=1, keepdims=True)
    normal = (attention - attention.mean(axis=1, keepdims=True)) / np.maximum(spread, 1e-10)
    smooth = median_filter(normal, size=(1, 1, _SMOOTHING_FRAMES), mode="reflect")
    return path_starts(smooth.mean(axis=0))


def path_starts(gains: NDArray[np.float32]) -> NDArray[np.int64]:
    """First frame of each row on the path of greatest gain from the first cell to the last, by steps right, down or both.

    Cells of a diagonal depend on the two before it only, so a diagonal is computed at once.
    """
    rows, frames = gains.shape
    best = np.full((rows + frames - 1, rows), -np.inf)
    steps = np.zeros((rows + frames - 1, rows), np.int8)
    best[0, 0] = gains[0, 0]
    for diagonal in range(1, rows + frames - 1):
        row = np.arange(max(0, diagonal - frames + 1), min(rows, diagonal + 1))
        before, earlier = best[diagonal - 1], best[diagonal - 2] if diagonal > 1 else np.full(rows, -np.inf)
        ways = np.stack(
            [np.where(row > 0, earlier[row - 1], -np.inf), np.where(row > 0, before[row - 1], -np.inf), before[row]]
        )
        steps[diagonal, row] = ways.argmax(axis=0)
        best[diagonal, row] = gains[row, diagonal - row] + ways.max(axis=0)
    starts = np.zeros(rows, np.int64)
    row, frame = rows - 1, frames - 1
    while row >= 0:
        starts[row] = frame
        step = steps[row + frame, row]
        row, frame = row - (step != _LEFT), frame - (step != _UP)
    return starts
