"""G.711, the coding of telephone lines: 8 bits a sample at 8 kHz, by tables. Source: ITU-T G.711."""

from __future__ import annotations

from functools import cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

RATE_HZ: Final = 8_000
Law = Literal["mu", "a"]


def decode(coded: bytes, law: Law) -> NDArray[np.int16]:
    """``(num_bytes,) int16``, one sample a byte."""
    return _levels(law)[np.frombuffer(coded, np.uint8)]


def encode(samples: NDArray[np.int16], law: Law) -> bytes:
    """One byte for each of ``(num_samples,) int16``: the code of the nearest level."""
    return _codes(law)[samples.view(np.uint16)].tobytes()


@cache
def _levels(law: Law) -> NDArray[np.int16]:
    """The sample value of each of the 256 codes."""
    code = np.arange(256, dtype=np.int32)
    if law == "mu":
        code = ~code & 0xFF
        magnitude = (((code & 0x0F) << 3) + 0x84 << ((code & 0x70) >> 4)) - 0x84
        return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)
    code = code ^ 0x55
    mantissa, exponent = (code & 0x0F) << 4, (code & 0x70) >> 4
    magnitude = np.where(exponent == 0, mantissa + 8, (mantissa + 0x108) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


@cache
def _codes(law: Law) -> NDArray[np.uint8]:
    """The code of each 16-bit sample, indexed by its bits as an unsigned number."""
    levels = _levels(law).astype(np.int32)
    order = np.argsort(levels, kind="stable")
    between = (levels[order][1:] + levels[order][:-1]) / 2
    samples = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32)
    return order[np.searchsorted(between, samples, "left")].astype(np.uint8)
