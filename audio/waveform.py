"""The waveform of a recording for display: the loudest sample of each twentieth of a second."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Peaks = NDArray[np.uint8]
"""``(num_points,)`` over the whole recording; 255 is full scale."""

POINTS_PER_SEC: Final = 20
BLOCK_SECS: Final = 60
"""Seconds of audio that callers read at once, so that hours of it need little memory."""
_FULL_SCALE: Final = 32_768


def peaks_of(blocks: Iterable[NDArray[np.int16]], rate_hz: int) -> Peaks:
    """The peaks of a recording.

    ``blocks``: all its samples, ``(num_samples,) int16`` at ``rate_hz``, in pieces of whole seconds; the last piece may
    be shorter, and samples after its last whole point are left out. ``rate_hz`` is a multiple of `POINTS_PER_SEC`.
    """
    points = [_points(block, rate_hz // POINTS_PER_SEC) for block in blocks]
    return np.concatenate(points) if points else np.zeros(0, np.uint8)


def reduced(peaks: Peaks, most: int) -> Peaks:
    """``peaks`` reduced to at most ``most`` points of equal width, each the maximum of its range."""
    if peaks.size <= most:
        return peaks
    starts = np.linspace(0, peaks.size, most, endpoint=False).astype(np.int64)
    return np.asarray(np.maximum.reduceat(peaks, starts), np.uint8)


def _points(block: NDArray[np.int16], samples: int) -> Peaks:
    """One point for each ``samples`` samples."""
    parts = block[: block.size // samples * samples].reshape(-1, samples)
    loudest = np.maximum(parts.max(axis=1).astype(np.int32), -parts.min(axis=1).astype(np.int32))
    return np.asarray(loudest * 255 // _FULL_SCALE, np.uint8)
