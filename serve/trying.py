"""One slot's engine loaded in this process and put to work on a short sample; for `fluxions models verify`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeVar

import numpy as np

from audio.resample import Resampler
from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ, Seconds, Span
from schemas.engines import EngineInfo, Part, Passage, Samples, Slot
from schemas.settings import Settings
from serve.engines import build_diarizer, build_event_detector, build_recognizer, build_synthesizer

E = TypeVar("E")

TEXT: Final = "hello world, one two three four five six seven eight nine"
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Trial:
    """``result`` is what came out; ``rtfx`` seconds of sound for a second of work; memory is what loading and work took."""

    slot: Slot
    engine: str
    model: str
    revision: str
    result: str
    load_secs: Seconds
    first_secs: Seconds
    """The first time, with whatever an engine prepares then."""
    again_secs: Seconds
    rtfx: float
    memory_mib: float
    gpu_memory_mib: float | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def try_out(settings: Settings, slot: Slot) -> Trial:
    """Loads the engine of ``slot`` and works twice on the same sample. Raises as building and working do."""
    sample = sample_speech()
    secs = sample.size / SAMPLE_RATE_HZ
    spans = [Span(0.0, secs)]

    def recognize(engine: Any) -> str:
        (found,) = engine.recognize([sample])
        return " ".join(word.text for word in found.words) or "(no words)"

    def diarize(engine: Any) -> str:
        turns = engine.resolve([engine.observe(sample, spans)], spans)
        return ", ".join(f"speaker {t.speaker} {t.start_secs:.1f}-{t.end_secs:.1f} s" for t in turns) or "(no turns)"

    def detect(engine: Any) -> str:
        found = engine.detect(spans, [], secs, engine.observe(sample))
        return ", ".join(f"{event.tag} {event.start_secs:.1f}-{event.end_secs:.1f} s" for event in found) or "(no sounds)"

    def speak(engine: Any) -> str:
        from serve.tts.voices import DEFAULT_VOICE

        passage = Passage((Part(TEXT),), len(TEXT), 0.0)
        return f"{sum(piece.size for piece in engine.render(passage, DEFAULT_VOICE, 0.9)) / SPEECH_RATE_HZ:.1f} s of speech"

    if slot == "recognizer":
        return _tried(settings, slot, build_recognizer, recognize, secs)
    if slot == "diarizer":
        return _tried(settings, slot, build_diarizer, diarize, secs)
    if slot == "event_detector":
        return _tried(settings, slot, build_event_detector, detect, secs)
    return _tried(settings, slot, build_synthesizer, speak, secs)


def sample_speech() -> Samples:
    """`TEXT` as the embedded synthesiser says it: ``(num_samples,) float32`` at 16 kHz, with a faint room around it."""
    from serve.tts.embedded import EmbeddedSynthesizer
    from serve.tts.voices import DEFAULT_VOICE

    pieces = EmbeddedSynthesizer().render(Passage((Part(TEXT),), len(TEXT), 0.0), DEFAULT_VOICE, 0.9)
    resampler = Resampler(SAMPLE_RATE_HZ)
    speech = np.concatenate((*(resampler.feed(piece, SPEECH_RATE_HZ) for piece in pieces), resampler.finish()))
    # Digital silence between words, which no microphone gives, is read badly by recognisers.
    noise = np.random.default_rng(0).standard_normal(speech.size)
    return np.asarray(speech + 2e-3 * noise, np.float32)


def _tried(
    settings: Settings, slot: Slot, build: Callable[[Settings], E], work: Callable[[E], str], secs: Seconds
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
        round(secs / again, 1),
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
