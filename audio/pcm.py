"""A decoded recording on disk: raw s16le, 16 kHz, mono. The file is memory-mapped, and only parts of it are read."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.domain import SAMPLE_RATE_HZ, Seconds, Span
from schemas.engines import Samples

FULL_SCALE = 32_768.0
"""The s16 value of a sample of 1.0."""


def to_float(samples: NDArray[np.int16]) -> Samples:
    """``(num_samples,) int16`` to ``(num_samples,) float32`` in [-1, 1)."""
    return samples.astype(np.float32) / np.float32(FULL_SCALE)


def to_int16(samples: Samples) -> NDArray[np.int16]:
    """``(num_samples,) float32`` to ``(num_samples,) int16``, rounded and clipped."""
    scaled = np.rint(samples * np.float32(FULL_SCALE))
    whole: NDArray[np.int16] = np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1).astype("<i2")
    return whole


class PcmFile:
    """A mapped s16le 16 kHz mono file. Reads are safe from several threads; raises OSError if the file is absent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Pages read through a mapping count as this process's memory until the system reclaims them.
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._file)
        # An empty file cannot be mapped.
        size = path.stat().st_size // 2
        self._samples: NDArray[np.int16] = (
            np.memmap(path, dtype="<i2", mode="r", shape=(size,)) if size else np.zeros(0, dtype="<i2")
        )

    @property
    def num_samples(self) -> int:
        """Samples in the file."""
        return len(self._samples)

    @property
    def duration_secs(self) -> Seconds:
        """Length of the recording."""
        return self.num_samples / SAMPLE_RATE_HZ

    def as_int16(self) -> NDArray[np.int16]:
        """The whole recording, ``(num_samples,) int16`` at 16 kHz: a read-only view of the mapping, no copy."""
        return self._samples

    def read(self, span: Span) -> Samples:
        """A copy of ``span``, ``(num_samples,) float32`` at 16 kHz; parts outside the file are left out."""
        return to_float(np.frombuffer(self.read_bytes(span), "<i2"))

    def read_bytes(self, span: Span) -> bytes:
        """A copy of ``span`` as s16le bytes, for requests to engines."""
        start = max(round(span.start_secs * SAMPLE_RATE_HZ), 0)
        end = max(round(span.end_secs * SAMPLE_RATE_HZ), 0)
        end = min(end, self.num_samples)
        return os.pread(self._file, 2 * max(end - start, 0), 2 * start)

    def blocks(self, num_samples: int) -> Iterator[NDArray[np.int16]]:
        """The whole recording in consecutive copies of at most ``num_samples`` samples each."""
        for start in range(0, self.num_samples, num_samples):
            count = min(num_samples, self.num_samples - start)
            yield np.frombuffer(os.pread(self._file, 2 * count, 2 * start), "<i2")
