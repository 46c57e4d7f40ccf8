"""One recording through the engines of a profile as the worker would take it, without a server or a queue."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audio.bandwidth import narrow_band
from audio.decode import Decoder
from audio.joining import joined
from audio.pcm import PcmFile, to_float
from audio.segment import talk, utterances, voiced
from audio.speakers import assign_speakers
from audio.vad import VoiceActivity
from schemas.domain import SAMPLE_RATE_HZ, Recognition, Seconds, SoundEvent, Span, Turn, Word
from schemas.engines import Diarizer, Recognizer, Samples
from schemas.settings import Settings
from serve.cli.quality.corpus import Reference
from serve.engines import build_diarizer, build_recognizer
from serve.events.rules import pauses

_BLOCK_SECS: Seconds = 300.0


@dataclass(frozen=True, slots=True)
class Heard:
    """What the engines make of one recording; ``speakers`` are those of ``words``."""

    words: tuple[Word, ...]
    turns: tuple[Turn, ...]
    speakers: tuple[int, ...]
    pauses: tuple[SoundEvent, ...] = ()

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)

    @property
    def num_speakers(self) -> int:
        return len({turn.speaker for turn in self.turns})


class Listener:
    """The engines of a profile, each loaded once."""

    def __init__(self, settings: Settings) -> None:
        """Raises Unavailable or EngineFailure for an engine that cannot be loaded."""
        self._max_secs = settings.engines.utterance_max_secs
        self.voice_activity = VoiceActivity()
        self.recognizer: Recognizer = build_recognizer(settings)
        self._diarizer: Diarizer = build_diarizer(settings)

    @property
    def engines(self) -> str:
        return f"{self.recognizer.info.revision}, {self._diarizer.info.revision}"

    def close(self) -> None:
        self.recognizer.close()

    def words(self, samples: Samples) -> list[Word]:
        """Words of ``(num_samples,) float32`` at 16 kHz, utterance by utterance."""
        duration = len(samples) / SAMPLE_RATE_HZ
        spans = utterances(self.voice_activity.probabilities(samples), duration, self._max_secs)
        found: list[Recognition] = []
        for span in spans:
            piece = samples[round(span.start_secs * SAMPLE_RATE_HZ) : round(span.end_secs * SAMPLE_RATE_HZ)]
            found += self.recognizer.recognize([piece])
        return [word for recognition in joined(found, spans) for word in recognition.words]

    def turns(self, samples: Samples) -> list[Turn]:
        """Who speaks when, observed in blocks of five minutes and resolved once."""
        duration = len(samples) / SAMPLE_RATE_HZ
        return self.who(samples, talk(self.voice_activity.probabilities(samples), duration, narrow=narrow_band(samples)))

    def who(self, samples: Samples, speech: Sequence[Span]) -> list[Turn]:
        """Turns of ``samples``, of which ``speech`` is speech."""
        if not speech:
            return []
        windows = []
        duration = len(samples) / SAMPLE_RATE_HZ
        for start in np.arange(0.0, duration, _BLOCK_SECS).tolist():
            block = samples[round(start * SAMPLE_RATE_HZ) : round((start + _BLOCK_SECS) * SAMPLE_RATE_HZ)]
            inside = [s for s in speech if s.end_secs > start and s.start_secs < start + _BLOCK_SECS]
            windows.append(
                self._diarizer.observe(block, [Span(s.start_secs - start, s.end_secs - start) for s in inside], start)
            )
        return self._diarizer.resolve(windows, speech)

    def hear(self, samples: Samples, reference: Reference) -> Heard:
        """What ``reference`` can score: no words are sought where it has none, and no turns."""
        words = self.words(samples) if reference.words is not None else []
        turns = self.turns(samples) if reference.turns else []
        duration = len(samples) / SAMPLE_RATE_HZ
        silent = pauses(voiced(self.voice_activity.probabilities(samples), duration), duration) if reference.turns else []
        return Heard(tuple(words), tuple(turns), tuple(assign_speakers(words, turns)), tuple(silent))


def decode_all(settings: Settings, recordings: Sequence[Path]) -> list[Samples]:
    """``(num_samples,) float32`` at 16 kHz mono of each file. Raises InvalidAudio for one that cannot be read."""

    async def run(folder: Path) -> list[Samples]:
        found = []
        async with Decoder(settings.limits) as decoder:
            for recording in recordings:
                target = folder / "decoded.s16"
                await decoder.decode(recording, target)
                pcm = PcmFile(target)
                found.append(to_float(pcm.as_int16()))
                target.unlink()
        return found

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(run(Path(folder)))


def with_noise(samples: Samples, snr_db: float, seed: int = 0) -> Samples:
    """White noise under ``samples``, so far below their mean power; the same noise each time."""
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    noise = np.random.default_rng(seed).standard_normal(len(samples))
    return np.asarray(samples + np.sqrt(power) * 10 ** (-snr_db / 20) * noise, np.float32)
