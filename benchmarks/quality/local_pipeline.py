"""Runs the worker's own stages on one recording, with the engines of a profile in this process, without a server."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np

from audio.decoding.decoder import Decoder
from audio.pcm import PcmFile, to_float, to_int16
from audio.vad import VoiceActivity
from benchmarks.quality.corpus import Reference
from flows.transcription import stages
from flows.transcription.assembly import segments_of
from flows.transcription.context import ListeningContext, SpeechAnalysis
from flows.transcription.engine_time import EngineTime
from flows.transcription.speaker_assignment import assign_speakers
from schemas.domain import AS_SPOKEN, RecognizeOptions, SoundEvent, SpeakerHint, Turn, Word
from schemas.engines import Samples
from schemas.settings import Settings
from serve.engines.events.rules import pauses
from serve.engines.in_process import InProcessEngines

_WINDOWS_AT_ONCE = 32

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LocalResult:
    """The result of one recording; ``speakers`` are those of ``words``."""

    words: tuple[Word, ...]
    turns: tuple[Turn, ...]
    speakers: tuple[int, ...]
    pauses: tuple[SoundEvent, ...] = ()
    language: str | None = None

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)

    @property
    def segment_turns(self) -> tuple[Turn, ...]:
        """Who speaks when by the transcript's segments: one speaker at a time, and only where there are words."""
        return tuple(Turn(s.speaker, s.start_secs, s.end_secs) for s in segments_of(self.words, self.speakers))

    @property
    def num_speakers(self) -> int:
        return len({turn.speaker for turn in self.turns})


class LocalPipeline:
    """``with LocalPipeline(settings) as pipeline``: the engines of a profile, loaded once, on their own event loop.

    Takes ``(num_samples,) float32`` at 16 kHz. Methods raise Unavailable or EngineFailure for an engine that cannot serve.
    """

    def __init__(self, settings: Settings) -> None:
        self._runner = asyncio.Runner()
        self.engines = InProcessEngines(settings)
        max_secs = settings.engines.utterance_max_secs
        self.context = ListeningContext(self.engines, VoiceActivity(), max_secs, _WINDOWS_AT_ONCE)
        self._folder = tempfile.TemporaryDirectory(prefix="fluxions-quality-")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.engines.close()
        self._runner.close()
        self._folder.cleanup()

    @property
    def revisions(self) -> str:
        """The revisions of recogniser and diariser."""

        async def both() -> str:
            return f"{(await self.engines.recognizer()).revision}, {(await self.engines.diarizer()).revision}"

        return self.run(both())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``, run on the engines' event loop."""
        return self._runner.run(work)

    async def analyzed(self, samples: Samples) -> SpeechAnalysis:
        """The speech of ``samples``; its files are overwritten by the next recording."""
        folder = Path(self._folder.name)
        (folder / "decoded.s16").write_bytes(to_int16(samples).tobytes())
        return await stages.analyze_speech(self.context, PcmFile(folder / "decoded.s16"), folder)

    def words(self, samples: Samples, options: RecognizeOptions = AS_SPOKEN) -> list[Word]:
        """The words only."""

        async def recognized() -> list[Word]:
            analysis = await self.analyzed(samples)
            found, _ = await stages.recognize(self.context, analysis, options, EngineTime(), lambda _: None)
            return [word for recognition in found for word in recognition.words]

        return self.run(recognized())

    def transcribe(self, samples: Samples, reference: Reference) -> LocalResult:
        """The whole result; turns only if ``reference`` has some to score them."""
        return self.run(self._transcribe(samples, with_turns=bool(reference.turns)))

    async def _transcribe(self, samples: Samples, *, with_turns: bool) -> LocalResult:
        context, time = self.context, EngineTime()
        analysis = await self.analyzed(samples)
        found, language = await stages.recognize(context, analysis, AS_SPOKEN, time, lambda _: None)
        words = tuple(word for recognition in found for word in recognition.words)
        if not with_turns:
            return LocalResult(words, (), tuple(assign_speakers(words, ())), language=language)
        voices = await stages.observe_voices(context, analysis, time)
        turns = await stages.resolve_turns(context, analysis, voices, found, SpeakerHint(), time)
        silent = pauses(analysis.speech_for_pauses, analysis.pcm.duration_secs)
        return LocalResult(words, tuple(turns), tuple(assign_speakers(words, turns)), tuple(silent), language)


def decode_all(settings: Settings, recordings: Sequence[Path]) -> list[Samples]:
    """``(num_samples,) float32`` at 16 kHz mono of each file. Raises InvalidAudio for one that cannot be read."""

    async def run(folder: Path) -> list[Samples]:
        found = []
        async with Decoder(settings.limits) as decoder:
            for recording in recordings:
                await decoder.decode(recording, target := folder / "decoded.s16")
                found.append(to_float(PcmFile(target).as_int16()))
        return found

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(run(Path(folder)))


def with_noise(samples: Samples, snr_db: float, seed: int = 0) -> Samples:
    """``samples`` with white noise at this ratio to their mean power; the same noise each time."""
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    noise = np.random.default_rng(seed).standard_normal(len(samples))
    return np.asarray(samples + np.sqrt(power) * 10 ** (-snr_db / 20) * noise, np.float32)
