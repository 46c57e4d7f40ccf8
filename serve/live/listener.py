"""Transcribes one live stream: detects utterances by voice activity, and recognises them during and after their speech.

One task recognises, so results are in order. A final result has priority over the interim results of all streams, and
cancels this stream's pending interim request. Only the newest audio is recognised for an interim result: if the
recogniser is slow, there are fewer interim results instead of late ones.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

from audio.pcm import to_int16
from audio.vad import FRAME_SAMPLES, HYSTERESIS, VoiceActivity
from audio.vad_stream import VoiceActivityStream
from schemas.domain import SAMPLE_RATE_HZ, Lane, Seconds, Span, Word
from schemas.engines import Samples
from schemas.errors import FluxionsError
from schemas.speech_engines import ListeningEngines
from schemas.turn_taking import EndOfTurnDetector
from serve.live.endpointing import Endpointing
from serve.live.live_events import FinalResult, InterimResult, LiveEvent, LiveOptions, SpeechStarted
from serve.live.live_speakers import LiveSpeakers
from serve.live.utterance import FRAME_SECS, LiveUtterance

_THRESHOLD: Final = 0.5
_SURE_FRAMES: Final = 3
"""Consecutive frames of speech that begin an utterance: 96 ms. A click is shorter."""
_BEFORE_FRAMES: Final = 10
"""Frames before the detected speech that belong to the utterance, because speech may begin softly."""
_SETTLED_FRAMES: Final = 3
"""Frames of silence after which an utterance is recognised in advance. If the utterance ends, its result is ready."""


class Listener:
    """Takes audio by `feed`; ``events`` ends with None after `finish`."""

    def __init__(
        self,
        engines: ListeningEngines,
        activity: VoiceActivity,
        options: LiveOptions,
        end_of_turn: EndOfTurnDetector | None = None,
    ) -> None:
        """``end_of_turn`` is used while the options have `unfinished_secs`."""
        self.events: asyncio.Queue[LiveEvent | None] = asyncio.Queue()
        self.audio_secs: Seconds = 0.0
        """Duration of the audio so far."""
        self._engines = engines
        self._options = options
        self._vad = VoiceActivityStream(activity)
        self._speakers = LiveSpeakers()
        self._waiting: Samples = np.zeros(0, np.float32)
        self._frames = 0
        self._before: deque[NDArray[np.int16]] = deque(maxlen=_BEFORE_FRAMES)
        self._voiced = 0
        self._endpointing = Endpointing(end_of_turn)
        self._current: LiveUtterance | None = None
        self._since_interim_secs: Seconds = 0.0
        self._ended: deque[LiveUtterance] = deque()
        self._wants_interim = False
        self._wants_settled = False
        self._interim_request: asyncio.Task[list[Word]] | None = None
        """The pending request of an interim result, which a final result may cancel."""
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._working = asyncio.create_task(self._work(), name="live recognition")

    def configure(self, options: LiveOptions) -> None:
        """Change the options for further audio."""
        self._options = options

    def feed(self, samples: Samples) -> None:
        """Append ``(num_samples,) float32`` at 16 kHz."""
        self.audio_secs += len(samples) / SAMPLE_RATE_HZ
        probabilities = self._vad.feed(samples)
        self._waiting = np.concatenate((self._waiting, samples))
        for probability in probabilities.tolist():
            frame = to_int16(self._waiting[:FRAME_SAMPLES])
            self._waiting = self._waiting[FRAME_SAMPLES:]
            self._frame(frame, probability)

    async def finalize(self) -> bool:
        """End the current utterance, and wait until all utterances are recognised. False if there was none."""
        spoken = self._current is not None
        if spoken:
            self._end(speech_final=True, by_client=True)
        await self._idle.wait()
        return spoken

    async def finish(self) -> None:
        """Do as `finalize`, then end the events."""
        await self.finalize()
        self._working.cancel()
        self.events.put_nowait(None)

    async def abort(self) -> None:
        """Stop at once."""
        self._working.cancel()
        await asyncio.wait([self._working])

    def _frame(self, frame: NDArray[np.int16], probability: float) -> None:
        self._frames += 1
        if self._current is None:
            self._before.append(frame)
            self._voiced = self._voiced + 1 if probability >= _THRESHOLD else 0
            if self._voiced >= _SURE_FRAMES:
                self._begin(list(self._before))
            return
        self._current.frames.append(frame)
        self._since_interim_secs += FRAME_SECS
        silent = probability < _THRESHOLD - HYSTERESIS
        if not silent:
            self._current.spoken_frames = len(self._current.frames)
        confidence = self._endpointing.add_frame(
            silent=silent,
            endpoint_secs=self._options.endpoint_secs,
            unfinished_secs=self._options.unfinished_secs,
            audio=self._current.samples,
        )
        if confidence is not None:
            self._end(speech_final=True, confidence=confidence)
        elif self._current.secs >= self._options.longest_secs:
            self._end(speech_final=False)
            self._begin([], announced=False)
        elif self._current.silent_frames == _SETTLED_FRAMES:
            self._wants_settled = True
            self._since_interim_secs = 0.0
            self._give_way()
            self._notify()
        elif self._is_interim_due(self._current):
            self._wants_interim = True
            self._since_interim_secs = 0.0
            self._notify()

    def _is_interim_due(self, utterance: LiveUtterance) -> bool:
        is_new = utterance.silent_frames < _SETTLED_FRAMES
        return is_new and self._options.interim and self._since_interim_secs >= self._options.interim_secs

    def _give_way(self) -> None:
        """Cancel a pending interim request."""
        if self._interim_request is not None:
            self._interim_request.cancel()

    def _begin(self, frames: list[NDArray[np.int16]], *, announced: bool = True) -> None:
        self._current = LiveUtterance((self._frames - len(frames)) * FRAME_SAMPLES, frames, spoken_frames=len(frames))
        self._endpointing.begin()
        self._since_interim_secs = self._current.secs
        if announced:
            self.events.put_nowait(SpeechStarted(self._current.start_secs))

    def _end(self, *, speech_final: bool, by_client: bool = False, confidence: float = 1.0) -> None:
        utterance = self._current
        if utterance is not None:
            utterance.ended = True
            utterance.speech_final, utterance.by_client, utterance.end_confidence = speech_final, by_client, confidence
            self._ended.append(utterance)
        self._current = None
        self._voiced = 0
        self._before.clear()
        self._wants_interim = self._wants_settled = False
        self._give_way()
        self._notify()

    def _notify(self) -> None:
        self._idle.clear()
        self._wake.set()

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._ended or self._wants_settled or self._wants_interim:
                ended = self._ended[0] if self._ended else None
                try:
                    if ended is not None:
                        await self._final(ended)
                    else:
                        lane: Lane = "interactive" if self._wants_settled else "interim"
                        self._wants_settled = self._wants_interim = False
                        await self._interim(lane)
                except FluxionsError as error:
                    self.events.put_nowait(error)
                if ended is not None:
                    self._ended.popleft()
            self._idle.set()

    async def _interim(self, lane: Lane) -> None:
        utterance = self._current
        if utterance is None:
            return
        secs = utterance.secs
        asking = asyncio.create_task(self._words(utterance, lane))
        self._interim_request = asking if lane == "interim" else None
        try:
            words = await asking
        except asyncio.CancelledError:
            if self._working.cancelling():
                raise
            return
        finally:
            self._interim_request = None
        if self._options.interim and not utterance.ended and words:
            shown, stable = utterance.stable.feed(words)
            start = utterance.start_secs
            self.events.put_nowait(InterimResult(start, start + secs, tuple(shown), stable))

    async def _final(self, utterance: LiveUtterance) -> None:
        words = await self._words(utterance, "interactive", reuse=True)
        self.events.put_nowait(
            FinalResult(
                start_secs=utterance.start_secs,
                end_secs=utterance.start_secs + utterance.secs,
                words=tuple(words),
                speaker=await self._speaker(utterance) if self._options.speakers and words else 0,
                speech_final=utterance.speech_final,
                by_client=utterance.by_client,
                end_confidence=utterance.end_confidence,
                language=utterance.language,
            )
        )

    async def _words(self, utterance: LiveUtterance, lane: Lane, *, reuse: bool = False) -> list[Word]:
        """The recognised words. With ``reuse`` the latest hypothesis, if only silence followed it."""
        if reuse and utterance.recognized is not None:
            num_frames, words = utterance.recognized
            if num_frames >= utterance.spoken_frames + _SETTLED_FRAMES:
                return words
        num_frames, pcm = len(utterance.frames), utterance.pcm()
        if not pcm:
            return []
        found = await self._engines.recognize(pcm, lane, self._options.recognize)
        at = utterance.start_secs
        words = [Word(w.text, w.start_secs + at, w.end_secs + at, w.confidence) for w in found.words]
        utterance.recognized, utterance.language = (num_frames, words), found.language
        return words

    async def _speaker(self, utterance: LiveUtterance) -> int:
        observed = await self._engines.observe(utterance.pcm(), [Span(0.0, utterance.secs)], 0.0)
        embeddings = observed.value.embeddings
        if not len(embeddings):
            return self._speakers.number(None)
        mean = embeddings.mean(axis=0)
        return self._speakers.number(np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), np.float32))
