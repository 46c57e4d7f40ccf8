"""The input buffer of a session, and the detection of turns in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from audio.speech_windows import THRESHOLD
from audio.vad import FRAME_SAMPLES, FRAME_SECS, VoiceActivity
from schemas.api.realtime.session_config import AudioInput, ServerVad
from schemas.domain import SAMPLE_RATE_HZ, Seconds
from schemas.errors import FluxionsError, InvalidRequest
from serve.realtime.input_audio import InputAudio
from serve.realtime.items import new_id
from serve.realtime.onset import Onset
from serve.realtime.turn_detector import TurnBegan, TurnDetector, TurnEnded
from serve.realtime.turn_transcript import Recognize, TurnTranscript

_PAUSE_FRAMES: Final = 4
"""Silence after which the speech so far is recognised: .13 s. It is longer than the closure of a consonant."""
SETTLED_FRAMES: Final = 6
"""Silence after which the turn may have ended: .19 s."""
LEAST_COMMIT_MS: Final = 100
WORDS_SECS: Final[Seconds] = 3.0
"""Longest wait for the words that help to find the end of a turn."""
_DEFAULT_PADDING_MS: Final = 300


@dataclass(frozen=True, slots=True)
class HeardTurn:
    """A user turn. ``pcm`` is s16le at 16 kHz mono; times count from the session's first sample."""

    item_id: str
    pcm: bytes
    transcript: TurnTranscript
    rest: bytes
    speech_began_secs: Seconds
    speech_ended_secs: Seconds
    padding_secs: Seconds
    """Sound of the turn before its speech, at most the padding of the session."""

    @property
    def duration_secs(self) -> Seconds:
        """Its length."""
        return (len(self.pcm) + len(self.rest)) / 2 / SAMPLE_RATE_HZ


class Listener(Protocol):
    """Callbacks of `Hearing`."""

    def on_speech_started(self, item_id: str, audio_start_ms: int) -> None:
        """Speech started."""
        ...

    def on_speech_stopped(self, item_id: str, audio_end_ms: int, turn: HeardTurn) -> None:
        """A turn ended."""
        ...

    def on_frame(self, position_ms: int, spoken_secs: Seconds, may_begin: bool) -> None:
        """Another 32 ms frame was processed; ``spoken_secs`` is the duration of the current speech, or 0. Without it,
        ``may_begin`` is whether speech may have begun in this frame."""
        ...

    def on_settled(self, transcript: TurnTranscript) -> None:
        """The speaker is silent; the turn may have ended."""
        ...

    def on_resumed(self) -> None:
        """The speaker continues the turn."""
        ...

    def on_dropped(self) -> None:
        """The current turn was dropped."""
        ...


class Hearing:
    """Detects turns in appended audio, or leaves them to the client's commits. For its session's event loop only."""

    def __init__(
        self,
        activity: VoiceActivity,
        settings: AudioInput,
        *,
        listener: Listener,
        detector: Callable[[AudioInput, Hearing], TurnDetector | None],
        recognize: Recognize,
        window_secs: Seconds,
        max_turn_secs: Seconds,
    ) -> None:
        self._settings = settings
        self._input = InputAudio(activity, settings.format.type)
        self._listener = listener
        self._build_detector = detector
        self._recognize = recognize
        self._window_secs = window_secs
        self._max_turn_secs = max_turn_secs
        self._onset = Onset()
        self._turn: TurnTranscript | None = None
        self._item_id = ""
        self._speech_frame = 0
        """The frame at which its speech begins."""
        self._has_settled = False
        self._first_frame = 0
        """The first frame of the turn, or of audio that is not committed."""
        self._now_frame = 0
        """Frames that were processed."""
        self._detector = detector(settings, self)

    @property
    def next_frame(self) -> int:
        """The number of the next frame to process."""
        return self._now_frame

    @property
    def position_ms(self) -> int:
        """Duration of the audio processed so far."""
        return _ms(self._now_frame)

    def latest(self, secs: Seconds, most_silent_frames: int) -> bytes:
        """The last ``secs`` of the turn, with at most ``most_silent_frames`` of the silence after it, s16le at 16 kHz
        mono.
        """
        silent = self._detector.silent_frames if self._detector is not None else 0
        now = self._now_frame - max(0, silent - most_silent_frames)
        samples, _ = self._input.frames(max(self._first_frame, now - int(secs * SAMPLE_RATE_HZ / FRAME_SAMPLES)), now)
        return samples.tobytes()

    async def words(self) -> str:
        """The words of the turn so far; empty if there is none, or if they are not recognised within `WORDS_SECS`."""
        if self._turn is None:
            return ""
        self._turn.settle()
        try:
            async with asyncio.timeout(WORDS_SECS):
                return await self._turn.guess()
        except (FluxionsError, TimeoutError):
            return ""

    def update(self, settings: AudioInput) -> None:
        """Change the settings. A change of the turn detection resets it and drops the current turn."""
        self._input.set_format(settings.format.type)
        if settings.turn_detection != self._settings.turn_detection:
            self._drop_turn()
            self._settings = settings
            self._detector = self._build_detector(settings, self)
        self._settings = settings

    async def append(self, sound: bytes) -> None:
        """Append audio in the session's format. Raises InvalidRequest if the buffer is full without turn detection."""
        if self._detector is None and self._input.duration_secs > self._max_turn_secs:
            raise InvalidRequest(
                f"the buffer holds {self._input.duration_secs:.0f} s, and {self._max_turn_secs:.0f} s may wait; commit or "
                "clear it",
                code="input_audio_buffer_full",
            )
        for probabilities in self._input.feed(sound):
            first = self._input.num_frames - len(probabilities)
            for place, probability in enumerate(probabilities):
                await self._hear(first + place, probability)
            # A long append must not block other sessions.
            await asyncio.sleep(0)

    async def _hear(self, frame: int, probability: float) -> None:
        self._now_frame = frame + 1
        if self._detector is None:
            if self._turn is None:
                self._begin(self._first_frame)
            self._extend(frame)
            self._listener.on_frame(_ms(frame + 1), 0.0, False)
            return
        found = await self._detector.feed(probability)
        if isinstance(found, TurnBegan):
            self._begin_speech(found.frame, frame)
        elif self._turn is not None:
            self._extend(frame)
            self._follow(self._turn, self._detector.silent_frames)
        if isinstance(found, TurnEnded) or self._is_too_long(frame):
            self._end_speech(frame, found.frame if isinstance(found, TurnEnded) else frame)
        elif self._turn is None:
            self._input.forget(frame + 1 - self._padding_frames())
        spoken = frame + 1 - self._speech_frame - self._detector.silent_frames if self._turn is not None else 0
        may_begin = self._turn is None and self._onset.feed(self._input.frames(frame, frame + 1)[0], probability)
        self._listener.on_frame(_ms(frame + 1), spoken * FRAME_SECS, may_begin)

    def _follow(self, turn: TurnTranscript, silent_frames: int) -> None:
        """Report when the turn seems to have ended, and when it continues."""
        if silent_frames == _PAUSE_FRAMES:
            turn.settle()
        elif silent_frames == SETTLED_FRAMES and not self._has_settled:
            self._has_settled = True
            turn.settle()
            self._listener.on_settled(turn)
        elif silent_frames == 0:
            turn.resume()
            if self._has_settled:
                self._has_settled = False
                self._listener.on_resumed()

    def _is_too_long(self, frame: int) -> bool:
        return self._turn is not None and (frame - self._first_frame) * FRAME_SAMPLES > self._max_turn_secs * SAMPLE_RATE_HZ

    def _padding_frames(self) -> int:
        turns = self._settings.turn_detection
        padding_ms = turns.prefix_padding_ms if isinstance(turns, ServerVad) else _DEFAULT_PADDING_MS
        return max(SETTLED_FRAMES, -(-padding_ms * SAMPLE_RATE_HZ // (1000 * FRAME_SAMPLES)))

    def _begin_speech(self, began: int, now: int) -> None:
        self._begin(max(self._first_frame, began - self._padding_frames()))
        self._speech_frame = began
        self._onset.reset()
        for frame in range(self._first_frame, now + 1):
            self._extend(frame)
        self._listener.on_speech_started(self._item_id, _ms(self._first_frame))

    def _begin(self, frame: int) -> None:
        self._turn = TurnTranscript(self._recognize, self._window_secs)
        self._item_id = new_id("item")
        self._has_settled = False
        self._first_frame = max(frame, self._input.start // FRAME_SAMPLES)

    def _extend(self, frame: int) -> None:
        samples, found = self._input.frames(frame, frame + 1)
        if self._turn is not None and found:
            self._turn.add(samples, found[0])

    def _end_speech(self, frame: int, silent_since: int) -> None:
        turn = self._taken(frame + 1, b"", (self._speech_frame, silent_since))
        if self._detector is not None:
            self._detector.reset()
        self._listener.on_speech_stopped(turn.item_id, _ms(frame + 1), turn)

    def commit(self) -> HeardTurn:
        """The audio in the buffer, committed by the client. Raises InvalidRequest if it is shorter than 100 ms."""
        held_ms = 1000 * (self._input.end - self._first_frame * FRAME_SAMPLES) // SAMPLE_RATE_HZ
        if self._detector is not None and self._turn is None:
            held_ms = 0
        if held_ms < LEAST_COMMIT_MS:
            raise InvalidRequest(
                f"the buffer holds {max(0, held_ms)} ms; at least {LEAST_COMMIT_MS} ms are needed",
                code="input_audio_buffer_commit_empty",
            )
        if self._turn is None:
            self._begin(self._first_frame)
        now = self._input.num_frames
        turn = self._taken(now, self._input.rest().tobytes(), self._speech(now))
        if self._detector is not None:
            self._detector.reset()
        return turn

    def _speech(self, end_frame: int) -> tuple[int, int]:
        """The frames of the first and behind the last speech before ``end_frame``; all frames if there is none."""
        _, found = self._input.frames(self._first_frame, end_frame)
        spoken = np.flatnonzero(np.array(found) >= THRESHOLD)
        if not len(spoken):
            return self._first_frame, end_frame
        return self._first_frame + int(spoken[0]), self._first_frame + int(spoken[-1]) + 1

    def _taken(self, end_frame: int, rest: bytes, speech: tuple[int, int]) -> HeardTurn:
        """The turn up to ``end_frame``, with the frames of its speech; later audio belongs to the next turn."""
        assert self._turn is not None  # noqa: S101 - callers have begun one
        samples, _ = self._input.frames(self._first_frame, end_frame)
        began, ended = (frame * FRAME_SAMPLES / SAMPLE_RATE_HZ for frame in speech)
        padding_secs = min(speech[0] - self._first_frame, self._padding_frames()) * FRAME_SECS
        turn = HeardTurn(self._item_id, samples.tobytes(), self._turn, rest, began, ended, padding_secs)
        self._turn = None
        self._first_frame = end_frame
        self._input.forget(end_frame)
        return turn

    def clear(self) -> None:
        """Drop the buffer and the current turn."""
        self._drop_turn()
        self._first_frame = self._input.num_frames
        self._input.forget(self._first_frame)
        if self._detector is not None:
            self._detector.reset()

    def _drop_turn(self) -> None:
        if self._turn is not None:
            self._turn.cancel()
            self._listener.on_dropped()
        self._turn = None

    def close(self) -> None:
        """Stop the recognition of the current turn."""
        self._drop_turn()


async def transcript_of(turn: HeardTurn) -> str:
    """The transcript of a turn. Raises EngineFailure, Unavailable."""
    return await turn.transcript.text(np.frombuffer(turn.rest, np.int16))


def _ms(frame: int) -> int:
    return 1000 * frame * FRAME_SAMPLES // SAMPLE_RATE_HZ
