"""Kokoro loaded once for all tests of a process, and renders of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import gettempdir

import numpy as np

from schemas.engines import EngineChoice, Samples
from schemas.settings import EngineSettings
from schemas.speech import Passage, RenderRequest, VoiceProfile
from serve.engines.tts.kokoro import build
from serve.engines.tts.kokoro_synthesizer import KokoroSynthesizer
from serve.engines.tts.render_stream import rendered
from serve.engines.tts.text.markup import parts_of
from serve.engines.tts.voices import find_voice


def chosen(model: str = "kokoro-82m-int8", **settings: object) -> EngineChoice:
    cache_folder = Path(gettempdir()) / "fluxions-tests-kokoro"
    return EngineChoice(
        "synthesizer",
        "kokoro",
        model,
        EngineSettings(**settings),
        "FLUXIONS_TTS_MODEL",
        cache_folder,  # type: ignore[arg-type]
    )


@cache
def kokoro() -> KokoroSynthesizer:
    return build(chosen())


def voice(name: str = "maeve") -> VoiceProfile:
    return find_voice(name, "kokoro")


def passage(text: str, language: str = "en-us", pause_secs: float = 0.0) -> Passage:
    return Passage(parts_of(text, language), len(text), pause_secs)


def say(text: str, who: str | VoiceProfile = "maeve", speed: float = 1.0) -> Samples:
    """``(num_samples,) float32`` at 24 kHz: one passage, as the engine renders it."""
    speaker = voice(who) if isinstance(who, str) else who
    pieces = list(kokoro().render(passage(text, speaker.language), speaker, 0.9, speed))
    return np.concatenate(pieces)


def read(text: str, who: str = "maeve", **fields: object) -> Samples:
    """``(num_samples,) float32`` at 24 kHz: a whole text, as for a request."""
    request = RenderRequest(voice(who), text, verify=False, **fields)  # type: ignore[arg-type]
    pcm = b"".join(chunk.pcm for chunk in rendered(kokoro(), request))
    return np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
