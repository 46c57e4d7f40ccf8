"""Detects beginnings and ends of turns, by times in the audio and not by a clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from audio.vad import FRAME_SAMPLES, HYSTERESIS
from schemas.api.realtime.session_config import ServerVad

_SURE_FRAMES = 2
"""Consecutive frames of speech that begin a turn: 64 ms. A click is shorter."""
_FRAME_MS = FRAME_SAMPLES / 16


@dataclass(frozen=True, slots=True)
class TurnBegan:
    """Speech began at ``frame``, counted from the stream's first."""

    frame: int


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The turn ended; its speech ended before ``frame``."""

    frame: int


class TurnDetector(Protocol):
    """Processes frames of 32 ms."""

    @property
    def silent_frames(self) -> int:
        """Frames of silence so far in the current turn; 0 if there is none."""
        ...

    async def feed(self, probability: float) -> TurnBegan | TurnEnded | None:
        """Process the speech probability of the next frame."""
        ...

    def reset(self) -> None:
        """Drop the current turn."""
        ...


class Speaking:
    """Tracks speech and silence and their duration, with hysteresis."""

    def __init__(self, threshold: float, first_frame: int) -> None:
        self._threshold = threshold
        self._frame = first_frame - 1
        self._voiced = 0
        self.is_turn = False
        self.silent_frames = 0
        self.first_silent = 0
        """The first frame of the silence."""

    def reset(self) -> None:
        """Reset to silence."""
        self._voiced = self.silent_frames = 0
        self.is_turn = False

    def feed(self, probability: float) -> TurnBegan | None:
        """Process the next frame; returns whether a turn begins."""
        self._frame += 1
        if not self.is_turn:
            self._voiced = self._voiced + 1 if probability >= self._threshold else 0
            if self._voiced < _SURE_FRAMES:
                return None
            self.is_turn = True
            self.silent_frames = 0
            return TurnBegan(self._frame - _SURE_FRAMES + 1)
        # Frames between the thresholds do not end a silence.
        if probability < max(self._threshold - HYSTERESIS, 0.01) or (self.silent_frames and probability < self._threshold):
            self.first_silent = self.first_silent if self.silent_frames else self._frame
            self.silent_frames += 1
        else:
            self.silent_frames = 0
        return None


class ServerVadDetector:
    """A turn ends after a silence of ``silence_duration_ms``."""

    def __init__(self, settings: ServerVad, first_frame: int) -> None:
        self._speaking = Speaking(settings.threshold, first_frame)
        self._enough = max(1, round(settings.silence_duration_ms / _FRAME_MS))

    @property
    def silent_frames(self) -> int:
        """See `TurnDetector.silent_frames`."""
        return self._speaking.silent_frames

    async def feed(self, probability: float) -> TurnBegan | TurnEnded | None:
        """See `TurnDetector.feed`."""
        if began := self._speaking.feed(probability):
            return began
        if self._speaking.is_turn and self._speaking.silent_frames >= self._enough:
            ended = TurnEnded(self._speaking.first_silent)
            self._speaking.reset()
            return ended
        return None

    def reset(self) -> None:
        """See `TurnDetector.reset`."""
        self._speaking.reset()
