"""Decodes and buffers a client's audio at 16 kHz, with the speech probability of each frame."""

from __future__ import annotations

import base64
import binascii
from collections import deque
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from audio.pcm import to_int16
from audio.resample import Resampler
from audio.vad import FRAME_SAMPLES, VoiceActivity
from audio.vad_stream import VoiceActivityStream
from audio.wire_formats import WireFormat, bytes_per_sample, decode, rate_of
from schemas.domain import SAMPLE_RATE_HZ, Seconds
from schemas.errors import InvalidRequest

APPEND_MAX_CHARS: Final = 15 * 1024 * 1024
_SLICE_SECS: Final[Seconds] = 0.5
"""Audio that is processed before other sessions may run."""


def decoded_sound(audio: str, param: str) -> bytes:
    """The bytes of a base64 string. Raises InvalidRequest if it is too long or invalid."""
    if len(audio) > APPEND_MAX_CHARS:
        raise InvalidRequest(
            f"{param}: {len(audio)} characters are more than 15 MiB; send shorter pieces", code="invalid_value", param=param
        )
    try:
        return base64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(f"{param}: this is not base64", code="invalid_value", param=param) from None


class InputAudio:
    """Samples are counted from the session's first one; ``start`` is the oldest one in the buffer."""

    def __init__(self, activity: VoiceActivity, form: WireFormat) -> None:
        self._activity = VoiceActivityStream(activity)
        self._form: WireFormat = form
        self._resampler = Resampler(SAMPLE_RATE_HZ)
        self._odd = b""
        self._frames: deque[NDArray[np.int16]] = deque()
        """Frames with a known probability, from ``start`` on."""
        self.probabilities: deque[float] = deque()
        """Speech probabilities of the frames in the buffer."""
        self._rest: NDArray[np.int16] = np.zeros(0, np.int16)
        """The samples of the last, incomplete frame."""
        self.start = 0

    @property
    def end(self) -> int:
        """The number of samples received."""
        return self.start + len(self._frames) * FRAME_SAMPLES + len(self._rest)

    @property
    def num_frames(self) -> int:
        """The number of whole frames received."""
        return self.start // FRAME_SAMPLES + len(self._frames)

    @property
    def duration_secs(self) -> Seconds:
        """Duration of the buffer."""
        return (self.end - self.start) / SAMPLE_RATE_HZ

    def set_format(self, form: WireFormat) -> None:
        """Change the format of further audio."""
        if form != self._form:
            self._form, self._odd = form, b""
            self._resampler = Resampler(SAMPLE_RATE_HZ)

    def feed(self, sound: bytes) -> Iterator[list[float]]:
        """Append audio, half a second at a time, and yield the speech probabilities of completed frames."""
        sound = self._odd + sound
        width = bytes_per_sample(self._form)
        whole = len(sound) - len(sound) % width
        sound, self._odd = sound[:whole], sound[whole:]
        step = round(_SLICE_SECS * rate_of(self._form)) * width
        for at in range(0, len(sound), step):
            samples = self._resampler.feed(decode(sound[at : at + step], self._form), rate_of(self._form))
            found = self._activity.feed(samples).tolist()
            self._keep(to_int16(samples), found)
            yield found

    def _keep(self, samples: NDArray[np.int16], found: list[float]) -> None:
        self._rest = np.concatenate((self._rest, samples))
        for probability in found:
            self._frames.append(self._rest[:FRAME_SAMPLES])
            self.probabilities.append(probability)
            self._rest = self._rest[FRAME_SAMPLES:]

    def frames(self, first: int, last: int) -> tuple[NDArray[np.int16], list[float]]:
        """Samples and probabilities of the frames ``[first, last)``, as far as they are in the buffer."""
        origin = self.start // FRAME_SAMPLES
        chosen = range(max(0, first - origin), min(last - origin, len(self._frames)))
        pieces = [self._frames[place] for place in chosen]
        return (
            np.concatenate(pieces) if pieces else np.zeros(0, np.int16),
            [self.probabilities[place] for place in chosen],
        )

    def rest(self) -> NDArray[np.int16]:
        """The samples of the incomplete frame."""
        return self._rest

    def forget(self, before_frame: int) -> None:
        """Drop the frames before ``before_frame``."""
        while self._frames and self.start // FRAME_SAMPLES < before_frame:
            self._frames.popleft()
            self.probabilities.popleft()
            self.start += FRAME_SAMPLES
