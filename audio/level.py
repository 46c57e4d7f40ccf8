"""Prepares a recording for voice activity detection and recognition: removes a constant offset, and amplifies quiet
recordings.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt, sosfilt_zi

from audio.pcm import FULL_SCALE, PcmFile
from schemas.domain import SAMPLE_RATE_HZ

OFFSET: Final = 0.01
"""Share of full scale from which a constant offset is removed; working converters stay below a tenth of this."""
HIGH_PASS_HZ: Final = 40.0
"""The filter that removes an offset, also one that drifts; speech is above it."""
QUIET_DBFS: Final = -45.0
"""Level of the loud parts below which a recording counts as quiet; usual levels are -35 to -15 dBFS."""
TARGET_DBFS: Final = -26.0
MAX_GAIN_DB: Final = 40.0
"""More gain would mostly raise the rounding noise of 16-bit samples."""
PEAK: Final = 0.9
"""Peak after the gain, as a share of full scale."""
_PEAK_PERCENTILE: Final = 99.5
"""Frames with a higher peak may be clipped. Otherwise a click would prevent the amplification of quiet speech."""
_FRAME_SAMPLES: Final = 512
_LOUD_PERCENTILE: Final = 95.0
_BLOCK_SAMPLES: Final = 60 * SAMPLE_RATE_HZ // _FRAME_SAMPLES * _FRAME_SAMPLES
_Values = NDArray[np.float32]


def offset_of(pcm: PcmFile) -> float:
    """The mean absolute offset of the seconds of a recording, as a share of full scale."""
    means = [
        np.abs(block[: block.size // SAMPLE_RATE_HZ * SAMPLE_RATE_HZ].reshape(-1, SAMPLE_RATE_HZ).mean(axis=1))
        for block in pcm.blocks(60 * SAMPLE_RATE_HZ)
    ]
    seconds = np.concatenate(means) if means else np.zeros(0)
    return float(seconds.mean() / FULL_SCALE) if seconds.size else 0.0


def leveled(pcm: PcmFile, target: Path) -> PcmFile:
    """The recording itself. If it is quiet or has an offset, a corrected copy in the file ``target``."""
    has_offset = offset_of(pcm) >= OFFSET
    gain = gain_of(_blocks(pcm, has_offset=has_offset))
    if gain == 1.0 and not has_offset:
        return pcm
    with target.open("wb") as file:
        for block in _blocks(pcm, has_offset=has_offset):
            louder = np.rint(block * np.float32(gain))
            file.write(np.clip(louder, -FULL_SCALE, FULL_SCALE - 1).astype("<i2").tobytes())
    return PcmFile(target)


def gain_of(blocks: Iterator[_Values]) -> float:
    """The factor that brings a quiet recording to `TARGET_DBFS`; 1.0 for any other, and for digital silence.

    ``blocks``: all its samples, ``(num_samples,) float32`` in int16's range at 16 kHz, in blocks. The level is the 95th
    percentile of the power of 32 ms frames, which is the level of speech if the recording has speech. Needs four bytes a
    frame.
    """
    powers: list[_Values] = []
    peaks: list[_Values] = []
    for block in blocks:
        whole = block[: block.size // _FRAME_SAMPLES * _FRAME_SAMPLES].reshape(-1, _FRAME_SAMPLES)
        powers.append(np.mean(np.square(whole), axis=1))
        peaks.append(np.abs(whole).max(axis=1))
    power = np.concatenate(powers) if powers else np.zeros(0, np.float32)
    peak = float(np.percentile(np.concatenate(peaks), _PEAK_PERCENTILE)) if power.size else 0.0
    if not peak:
        return 1.0
    loud = float(np.percentile(power, _LOUD_PERCENTILE))
    if loud <= 0.0 or (level := 10 * np.log10(loud / FULL_SCALE**2)) >= QUIET_DBFS:
        return 1.0
    gain = 10 ** (min(TARGET_DBFS - level, MAX_GAIN_DB) / 20)
    return float(max(1.0, min(gain, PEAK * FULL_SCALE / peak)))


def _blocks(pcm: PcmFile, *, has_offset: bool) -> Iterator[_Values]:
    """The recording in consecutive blocks, without its offset if it has one."""
    sections = butter(2, HIGH_PASS_HZ, "highpass", fs=SAMPLE_RATE_HZ, output="sos")
    state: NDArray[np.float64] | None = None
    for block in pcm.blocks(_BLOCK_SAMPLES):
        values = block.astype(np.float32)
        if has_offset:
            if state is None:
                # The filter's initial state assumes the offset of the first second.
                state = sosfilt_zi(sections) * float(values[:SAMPLE_RATE_HZ].mean())
            filtered, state = sosfilt(sections, values, zi=state)
            values = filtered.astype(np.float32)
        yield values
