"""Which engine serves which slot, by profile. A new engine is a new file and one entry here.

Entries are dotted names, resolved when a slot is built or described: importing this module loads no model and no heavy
library, and describing a slot loads only the light module that knows its files.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Final, Literal

from schemas.engines import Diarizer, EngineInfo, EventDetector, Recognizer, Synthesizer
from schemas.errors import Unavailable
from schemas.settings import Settings

Slot = Literal["recognizer", "diarizer", "event_detector", "synthesizer"]
SLOTS: Final[tuple[Slot, ...]] = ("recognizer", "diarizer", "event_detector", "synthesizer")
_LISTENING: Final[tuple[Slot, ...]] = ("recognizer", "diarizer", "event_detector")


@dataclass(frozen=True, slots=True)
class Engine:
    """``factory`` builds the engine without arguments; ``describe`` gives its EngineInfo without loading it."""

    factory: str
    describe: str


PROFILES: Final[dict[str, dict[Slot, Engine]]] = {
    "embedded": {
        "recognizer": Engine("serve.asr.pocketsphinx:PocketsphinxRecognizer", "serve.asr.pocketsphinx:describe"),
        "diarizer": Engine("serve.diarization.clustering:EmbeddingDiarizer", "serve.diarization.weights:describe"),
        "event_detector": Engine("serve.events.rules:RuleEventDetector", "serve.events.rules:describe"),
        "synthesizer": Engine("serve.tts.embedded:EmbeddedSynthesizer", "serve.tts.voices:describe"),
    },
}


def build_recognizer(settings: Settings) -> Recognizer:
    """The profile's recogniser, loaded. Raises Unavailable or EngineFailure."""
    recognizer: Recognizer = _resolve(_engine(settings, "recognizer").factory)()
    return recognizer


def build_diarizer(settings: Settings) -> Diarizer:
    """The profile's diariser, loaded and warm. Raises Unavailable."""
    diarizer: Diarizer = _resolve(_engine(settings, "diarizer").factory)()
    return diarizer


def build_event_detector(settings: Settings) -> EventDetector:
    """The profile's event detector. Raises Unavailable."""
    detector: EventDetector = _resolve(_engine(settings, "event_detector").factory)()
    return detector


def build_synthesizer(settings: Settings) -> Synthesizer:
    """The profile's synthesiser, loaded. Raises Unavailable or EngineFailure."""
    synthesizer: Synthesizer = _resolve(_engine(settings, "synthesizer").factory)()
    return synthesizer


def describe(settings: Settings) -> tuple[EngineInfo, ...]:
    """What serves each slot, in the order of `SLOTS`, without loading a model: 0.2 s once a process. Raises Unavailable."""
    return tuple(_resolve(_engine(settings, slot).describe)() for slot in SLOTS)


def engine_revision(settings: Settings) -> str:
    """One string that changes whenever the same recording could come out differently; part of every cache key.

    It names each listening slot's revision and the longest utterance, which decides where a recording is cut.
    Raises Unavailable.
    """
    revisions = [_resolve(_engine(settings, slot).describe)().revision for slot in _LISTENING]
    return "+".join([*revisions, f"utt{settings.engines.utterance_max_secs:g}"])


def _engine(settings: Settings, slot: Slot) -> Engine:
    profile = settings.engines.profile
    try:
        return PROFILES[profile][slot]
    except KeyError:
        raise Unavailable(
            f"profile {profile!r} has no {slot} yet; set FLUXIONS_PROFILE to one of: {', '.join(PROFILES)}",
            code="engine_unavailable",
            param="profile",
        ) from None


def _resolve(dotted: str) -> Any:
    module, _, name = dotted.partition(":")
    return getattr(importlib.import_module(module), name)
