"""Recognises a turn while it is in progress: parts of it as soon as they are long enough, the rest when the turn seems to
have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from audio.speech_windows import THRESHOLD
from audio.vad import FRAME_SAMPLES, FRAME_SECS
from schemas.domain import Seconds
from schemas.spacing import join_words

Recognize = Callable[[bytes], Awaitable[str]]
"""Returns the text of an utterance, s16le at 16 kHz mono."""
_EDGE_FRAMES: Final = 6
"""Frames kept around speech: .19 s."""


class TurnTranscript:
    """The transcript of one turn. Frames are added in order; `text` waits for the recognition of all of them."""

    def __init__(self, recognize: Recognize, max_secs: Seconds) -> None:
        self._recognize = recognize
        self._max_frames = max(2 * _EDGE_FRAMES, int(max_secs / FRAME_SECS))
        self._frames: list[NDArray[np.int16]] = []
        self._probabilities: list[float] = []
        """Frames that are not recognised yet."""
        self._ready: list[asyncio.Task[str]] = []
        self._guess: tuple[int, asyncio.Task[str]] | None = None
        """Number of frames, up to the last one with speech, that the latest recognition of the rest covers."""

    def add(self, samples: NDArray[np.int16], probability: float) -> None:
        """One frame of 512 samples."""
        self._frames.append(samples)
        self._probabilities.append(probability)
        if len(self._frames) > self._max_frames:
            self._cut()

    def settle(self) -> None:
        """Start to recognise the rest, as the turn may have ended."""
        spoken = self._spoken_frames()
        if spoken and (self._guess is None or self._guess[0] != spoken):
            self._drop_guess()
            self._guess = spoken, self._start(spoken + _EDGE_FRAMES)

    def resume(self) -> None:
        """Stop the recognition of the rest if the speaker has continued."""
        if self._guess is not None and self._guess[0] != self._spoken_frames():
            self._drop_guess()

    @property
    def is_settled(self) -> bool:
        """Whether all speech so far has been recognised or is being recognised."""
        spoken = self._spoken_frames()
        return spoken == (self._guess[0] if self._guess is not None else 0)

    async def guess(self) -> str:
        """The text, if the turn has ended. Cancelled if the turn continues."""
        parts = [*self._ready, *([self._guess[1]] if self._guess else [])]
        return join_words([text for part in parts if (text := await asyncio.shield(part))])

    async def text(self, rest: NDArray[np.int16] | None = None) -> str:
        """The text of the turn; ``rest`` is the audio after the last frame. Raises EngineFailure, Unavailable."""
        if rest is not None and len(rest) and self._probabilities:
            self._frames.append(np.pad(rest, (0, FRAME_SAMPLES - len(rest))))
            self._probabilities.append(self._probabilities[-1])
        self.settle()
        parts = [*self._ready, *([self._guess[1]] if self._guess else [])]
        try:
            return join_words(text for text in await asyncio.gather(*parts) if text)
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Cancel all recognition."""
        self._drop_guess()
        for task in self._ready:
            task.cancel()

    def _spoken_frames(self) -> int:
        """Frames of the rest up to the last one with speech; 0 if there is none."""
        voiced = [place for place, probability in enumerate(self._probabilities) if probability >= THRESHOLD]
        return voiced[-1] + 1 if voiced else 0

    def _start(self, frames: int) -> asyncio.Task[str]:
        sound = np.concatenate(self._frames[self._first_spoken() : frames])
        task = asyncio.ensure_future(self._recognize(sound.tobytes()))
        # Errors of dropped recognitions are ignored.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    def _first_spoken(self) -> int:
        first = next((place for place, p in enumerate(self._probabilities) if p >= THRESHOLD), 0)
        return max(0, first - 2 * _EDGE_FRAMES)

    def _cut(self) -> None:
        """Start to recognise the rest up to the quietest place in its last third."""
        first = 2 * len(self._frames) // 3
        around = np.convolve(np.asarray(self._probabilities), np.full(3, 1 / 3), "same")[first:-1]
        place = first + int(np.argmin(around))
        self._drop_guess()
        if max(self._probabilities[:place]) >= THRESHOLD:
            self._ready.append(self._start(place))
        self._frames, self._probabilities = self._frames[place:], self._probabilities[place:]

    def _drop_guess(self) -> None:
        if self._guess is not None:
            self._guess[1].cancel()
        self._guess = None
