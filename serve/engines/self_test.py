"""Loads one slot's engine in this process and runs it on a short sample; for `fluxions models verify`."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeVar

import numpy as np

from audio.resample import Resampler
from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ, Seconds, Slot, Span
from schemas.engines import EngineInfo, Samples
from schemas.language_model import ChatMessage, ChatRequest
from schemas.settings import Settings
from schemas.spacing import join_words
from schemas.speech import Part, Passage
from serve.engines.registry import (
    build_diarizer,
    build_event_detector,
    build_language_model,
    build_recognizer,
    build_synthesizer,
    choice,
)
from serve.engines.tts.voices import default_voice

E = TypeVar("E")

TEXT: Final = "hello world, one two three four five six seven eight nine"
QUESTION: Final = "What is the capital of France? Answer in one short English sentence."
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Trial:
    """``result``: the output in short; ``rtfx``: seconds of audio for a second of work; memory of loading and work."""

    slot: Slot
    engine: str
    model: str
    revision: str
    result: str
    load_secs: Seconds
    first_secs: Seconds
    """Time of the first run, with an engine's preparations."""
    again_secs: Seconds
    rtfx: float | None
    """None if the engine has no audio input or output."""
    memory_mib: float
    gpu_memory_mib: float | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def self_test(settings: Settings, slot: Slot) -> Trial:
    """Loads the engine of ``slot`` and works twice on the same sample. Raises as building and working do."""
    sample = sample_speech()
    secs = sample.size / SAMPLE_RATE_HZ
    spans = [Span(0.0, secs)]

    def recognize(engine: Any) -> str:
        (found,) = engine.recognize([sample])
        return join_words(word.text for word in found.words) or "(no words)"

    def diarize(engine: Any) -> str:
        turns = engine.resolve([engine.observe(sample, spans)], spans)
        return ", ".join(f"speaker {t.speaker} {t.start_secs:.1f}-{t.end_secs:.1f} s" for t in turns) or "(no turns)"

    def detect(engine: Any) -> str:
        found = engine.detect(spans, [], secs, engine.observe(sample))
        return ", ".join(f"{event.tag} {event.start_secs:.1f}-{event.end_secs:.1f} s" for event in found) or "(no sounds)"

    def speak(engine: Any) -> str:
        voice = default_voice(choice(settings, "synthesizer").engine)
        passage = Passage((Part(TEXT),), len(TEXT), 0.0)
        return f"{sum(piece.size for piece in engine.render(passage, voice, 0.9)) / SPEECH_RATE_HZ:.1f} s of speech"

    if slot == "recognizer":
        return _tried(settings, slot, build_recognizer, recognize, secs)
    if slot == "diarizer":
        return _tried(settings, slot, build_diarizer, diarize, secs)
    if slot == "event_detector":
        return _tried(settings, slot, build_event_detector, detect, secs)
    if slot == "language_model":
        return _tried(settings, slot, Answering, lambda model: model.answer(QUESTION), None)
    return _tried(settings, slot, build_synthesizer, speak, secs)


class Answering:
    """A language model on an event loop of its own, for callers that have none."""

    def __init__(self, settings: Settings) -> None:
        self._model = build_language_model(settings)
        self._runner = asyncio.Runner()
        self.info = self._model.info

    def answer(self, question: str) -> str:
        """The whole answer to one question, at temperature 0 and of 24 tokens at most. Raises as the model does."""
        request = ChatRequest((ChatMessage("user", question),), temperature=0.0, max_tokens=24)
        return self._runner.run(self._whole(request))

    def close(self) -> None:
        """Ends the model and the loop."""
        self._runner.run(self._model.close())
        self._runner.close()

    async def _whole(self, request: ChatRequest) -> str:
        async with aclosing(self._model.stream(request)) as deltas:
            return "".join([delta.text async for delta in deltas]) or "(no words)"


def sample_speech() -> Samples:
    """`TEXT` by the embedded synthesiser: ``(num_samples,) float32`` at 16 kHz, with faint room noise."""
    from serve.engines.tts.espeak_synthesizer import EmbeddedSynthesizer

    voice = default_voice("espeak")
    pieces = EmbeddedSynthesizer().render(Passage((Part(TEXT),), len(TEXT), 0.0), voice, 0.9)
    resampler = Resampler(SAMPLE_RATE_HZ)
    speech = np.concatenate((*(resampler.feed(piece, SPEECH_RATE_HZ) for piece in pieces), resampler.finish()))
    # Recognisers make errors on digital silence between words, which no microphone gives.
    noise = np.random.default_rng(0).standard_normal(speech.size)
    return np.asarray(speech + 2e-3 * noise, np.float32)


def _tried(
    settings: Settings, slot: Slot, build: Callable[[Settings], E], work: Callable[[E], str], secs: Seconds | None
) -> Trial:
    before = memory_mib()
    began = time.monotonic()
    engine = build(settings)
    loaded = time.monotonic()
    result = work(engine)
    first = time.monotonic()
    work(engine)
    again = time.monotonic() - first
    info: EngineInfo = engine.info  # type: ignore[attr-defined]
    trial = Trial(
        slot,
        info.engine,
        info.model,
        info.revision,
        result,
        round(loaded - began, 3),
        round(first - loaded, 3),
        round(again, 3),
        None if secs is None else round(secs / again, 1),
        round(memory_mib() - before, 1),
        gpu_memory_mib(),
    )
    if close := getattr(engine, "close", None):
        close()
    return trial


def memory_mib() -> float:
    """Resident memory of this process and its children, MiB."""
    import psutil

    process = psutil.Process()
    return float(sum(p.memory_info().rss for p in (process, *process.children(recursive=True)))) / _MIB


def gpu_memory_mib() -> float | None:
    """Most memory torch has held on the GPU, MiB; None without one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return round(float(torch.cuda.max_memory_allocated()) / _MIB, 1)
