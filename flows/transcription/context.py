"""Dependencies of the transcription stages, and the values that they pass on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from audio.decoding.decoder import Decoded
from audio.pcm import PcmFile
from audio.speech_windows import Window
from audio.vad import Probabilities, VoiceActivity
from clients.operator import ClaimedJob
from flows.transcription.engine_time import EngineTime
from schemas.domain import Lane, Recognition, Seconds, SoundEvent, Span, Turn
from schemas.engines import EngineInfo
from schemas.settings import JobSettings
from schemas.speech_engines import ListeningEngines


@dataclass(frozen=True)
class ListeningContext:
    """Dependencies of the stages that use engines; made once a process."""

    engines: ListeningEngines
    voice_activity: VoiceActivity
    window_max_secs: Seconds
    """Longest window given to a recogniser."""
    windows_at_once: int
    """Most concurrent requests to recognisers, over all recordings in progress."""
    lane: Lane = "interactive"
    in_flight: asyncio.Semaphore = field(init=False)
    _recognizer: list[EngineInfo] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        object.__setattr__(self, "in_flight", asyncio.Semaphore(self.windows_at_once))

    async def recognizer(self) -> EngineInfo:
        """The recogniser; requested once. Raises Unavailable while its model is loading."""
        if not self._recognizer:
            self._recognizer.append(await self.engines.recognizer())
        return self._recognizer[0]


class RecordingDecoder(Protocol):
    """`audio.decoding.decoder.Decoder` or `SeriesDecoder`."""

    async def decode(self, source: Path, target: Path, *, strict: bool = True, audio_track: int | None = None) -> Decoded:
        """Writes s16le 16 kHz mono. Raises InvalidAudio, Unavailable."""
        ...


class RecordingStore(Protocol):
    """Source of recordings and destination of playback copies."""

    async def fetch_audio(self, job: ClaimedJob, target: Path) -> None:
        """Writes the bytes the client sent to ``target``."""
        ...

    async def store_playback(self, job: ClaimedJob, source: Path, peaks: bytes) -> None:
        """Stores the Ogg Opus copy in ``source``, and its waveform (`audio.waveform`)."""
        ...


@dataclass(frozen=True)
class PipelineContext:
    """Dependencies of the whole pipeline; made once a worker process."""

    listening: ListeningContext
    store: RecordingStore
    decoder: RecordingDecoder
    jobs: JobSettings
    block_cache: Path
    """Folder of cached results of blocks of long recordings."""


@dataclass(frozen=True)
class SpeechAnalysis:
    """A decoded recording and its speech. Times are seconds from its start."""

    pcm: PcmFile
    """The recording, amplified if it was very quiet."""
    speech: list[Span]
    """Speech of anybody, for the diariser."""
    speech_for_pauses: list[Span]
    """Speech between which pauses are found."""
    windows: list[Window]
    """Windows for the recogniser."""
    probabilities: Probabilities
    """Probability of speech, by frame."""


@dataclass(frozen=True, slots=True)
class EngineOutputs:
    """Outputs of all engines for a recording; times are seconds from its start.

    ``recognitions``: one a window, each word in one of them only.
    """

    recognitions: Sequence[Recognition]
    turns: Sequence[Turn]
    sounds: Sequence[SoundEvent]
    language: str | None
    """Code of the language of recognition; None where no speech was found."""
    engine_time: EngineTime
