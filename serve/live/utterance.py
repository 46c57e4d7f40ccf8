"""One utterance of a live stream: its audio so far, and the latest recognition."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from audio.pcm import to_float
from audio.vad import FRAME_SAMPLES
from schemas.domain import SAMPLE_RATE_HZ, Seconds, Word
from schemas.engines import Samples
from schemas.turn_taking import END_OF_TURN_SECS
from serve.live.stable_words import StableWords

FRAME_SECS: Final[Seconds] = FRAME_SAMPLES / SAMPLE_RATE_HZ


@dataclass
class LiveUtterance:
    """``frames``: ``(FRAME_SAMPLES,) int16`` each, at 16 kHz.

    The utterance begins with sample ``first_sample`` of the stream.
    """

    first_sample: int
    frames: list[NDArray[np.int16]] = field(default_factory=list)
    stable: StableWords = field(default_factory=StableWords)
    spoken_frames: int = 0
    """Frames up to the last one with speech."""
    recognized: tuple[int, list[Word]] | None = None
    """The latest hypothesis, and the number of frames that were recognised for it."""
    language: str | None = None
    """Language code of the latest hypothesis."""
    ended: bool = False
    speech_final: bool = False
    by_client: bool = False
    end_confidence: float = 1.0

    @property
    def start_secs(self) -> Seconds:
        return self.first_sample / SAMPLE_RATE_HZ

    @property
    def secs(self) -> Seconds:
        return len(self.frames) * FRAME_SECS

    @property
    def silent_frames(self) -> int:
        """Frames since the last one with speech."""
        return len(self.frames) - self.spoken_frames

    def samples(self) -> Samples:
        """The latest audio that an end-of-turn detector uses, ``(num_samples,) float32``."""
        latest = self.frames[-math.ceil(END_OF_TURN_SECS / FRAME_SECS) :]
        return to_float(np.concatenate(latest))

    def pcm(self) -> bytes:
        return np.concatenate(self.frames).tobytes() if self.frames else b""
