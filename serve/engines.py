"""Which engine serves which slot: the profile's choice, or the slot's own. A new engine is a file and an entry here.

Entries are dotted names, resolved when a slot is built or described: importing this module loads no model and no heavy
library, and describing a slot loads only the light part that knows its files.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, get_args

from schemas.engines import (
    LISTENING_VERSION,
    Diarizer,
    EngineChoice,
    EngineInfo,
    EventDetector,
    Recognizer,
    Slot,
    Synthesizer,
)
from schemas.errors import FluxionsError, InvalidParameter, Unavailable
from schemas.settings import Settings
from serve.asr.language import VARIABLE as LANGUAGE
from serve.models import cannot_load, why_not

SLOTS: Final[tuple[Slot, ...]] = get_args(Slot)
_LISTENING: Final[tuple[Slot, ...]] = ("recognizer", "diarizer", "event_detector")
VARIABLES: Final[dict[Slot, str]] = {
    "recognizer": "ASR",
    "diarizer": "DIARIZER",
    "event_detector": "EVENTS",
    "synthesizer": "TTS",
}
"""A slot's settings are ``FLUXIONS_<this>_ENGINE`` and ``FLUXIONS_<this>_MODEL``."""


@dataclass(frozen=True, slots=True)
class Engine:
    """``factory`` builds the engine; ``describe`` gives its EngineInfo without loading it.

    Both take an EngineChoice where ``model`` names what is loaded unless a setting names another; where it is None, the
    engine brings its only model along, and both take nothing.
    """

    factory: str
    describe: str
    model: str | None = None


ENGINES: Final[dict[Slot, dict[str, Engine]]] = {
    "recognizer": {
        "pocketsphinx": Engine("serve.asr.pocketsphinx:PocketsphinxRecognizer", "serve.asr.pocketsphinx:describe"),
        "nemo": Engine("serve.asr.nemo:build", "serve.asr.nemo:describe", "nvidia/parakeet-tdt-0.6b-v3"),
        "transformers": Engine("serve.asr.transformers:build", "serve.asr.transformers:describe", "openai/whisper-small"),
    },
    "diarizer": {
        "resemblyzer": Engine("serve.diarization.clustering:EmbeddingDiarizer", "serve.diarization.weights:describe"),
        "sortformer": Engine(
            "serve.diarization.sortformer:build",
            "serve.diarization.sortformer:describe",
            "nvidia/diar_streaming_sortformer_4spk-v2",
        ),
        "nemo-embeddings": Engine(
            "serve.diarization.nemo_embeddings:build",
            "serve.diarization.nemo_embeddings:describe",
            "nvidia/speakerverification_en_titanet_large",
        ),
    },
    "event_detector": {
        "rules": Engine("serve.events.rules:RuleEventDetector", "serve.events.rules:describe"),
        "transformers": Engine(
            "serve.events.classifier:build",
            "serve.events.classifier:describe",
            "MIT/ast-finetuned-audioset-10-10-0.4593",
        ),
    },
    "synthesizer": {
        "espeak": Engine("serve.tts.embedded:EmbeddedSynthesizer", "serve.tts.voices:describe"),
        "csm": Engine("serve.tts.csm:build", "serve.tts.csm:describe", "sesame/csm-1b"),
        "dia": Engine("serve.tts.dia:build", "serve.tts.dia:describe", "nari-labs/Dia-1.6B-0626"),
    },
}

PROFILES: Final[dict[str, dict[Slot, str]]] = {
    "embedded": {
        "recognizer": "pocketsphinx",
        "diarizer": "resemblyzer",
        "event_detector": "rules",
        "synthesizer": "espeak",
    },
    # No synthesiser of a billion parameters keeps up with its listener on a CPU.
    "cpu": {
        "recognizer": "transformers",
        "diarizer": "nemo-embeddings",
        "event_detector": "transformers",
        "synthesizer": "espeak",
    },
    "gpu": {
        "recognizer": "nemo",
        "diarizer": "sortformer",
        "event_detector": "transformers",
        "synthesizer": "csm",
    },
}


def choice(settings: Settings, slot: Slot) -> EngineChoice:
    """What serves ``slot``. Raises InvalidParameter, naming the variable, for an engine or model that cannot be chosen."""
    engines, variable = settings.engines, f"FLUXIONS_{VARIABLES[slot]}"
    engine = getattr(engines, f"{VARIABLES[slot].lower()}_engine") or PROFILES[engines.profile][slot]
    model = getattr(engines, f"{VARIABLES[slot].lower()}_model")
    known = ENGINES[slot].get(engine)
    if known is None:
        raise InvalidParameter(
            f"{variable}_ENGINE is {engine!r}; choose one of: {', '.join(ENGINES[slot])}", param=f"{variable}_ENGINE"
        )
    if known.model is None and model:
        raise InvalidParameter(
            f"{variable}_MODEL is {model!r}, but the engine {engine} brings its own model; choose another with "
            f"{variable}_ENGINE, or leave {variable}_MODEL empty",
            param=f"{variable}_MODEL",
        )
    if slot == "recognizer" and known.model is None and engines.asr_language:
        raise InvalidParameter(
            f"{LANGUAGE} is {engines.asr_language!r}, but the engine {engine} hears one language only; leave {LANGUAGE} "
            f"empty, or choose another engine with {variable}_ENGINE",
            param=LANGUAGE,
        )
    return EngineChoice(slot, engine, model or known.model or "", engines, f"{variable}_MODEL", settings.home / "cache")


def build_recognizer(settings: Settings) -> Recognizer:
    """The recogniser that is chosen, loaded. Raises as `_build` does."""
    recognizer: Recognizer = _build(settings, "recognizer")
    return recognizer


def build_diarizer(settings: Settings) -> Diarizer:
    """The diariser that is chosen, loaded and warm. Raises as `_build` does."""
    diarizer: Diarizer = _build(settings, "diarizer")
    return diarizer


def build_event_detector(settings: Settings) -> EventDetector:
    """The event detector that is chosen, loaded. Raises as `_build` does."""
    detector: EventDetector = _build(settings, "event_detector")
    return detector


def build_synthesizer(settings: Settings) -> Synthesizer:
    """The synthesiser that is chosen, loaded. Raises as `_build` does."""
    synthesizer: Synthesizer = _build(settings, "synthesizer")
    return synthesizer


def describe_slot(settings: Settings, slot: Slot) -> EngineInfo:
    """What serves ``slot``, without loading its model. Raises Unavailable or InvalidParameter where it cannot serve."""
    info: EngineInfo = _call(settings, slot, lambda engine: engine.describe)
    return info


def describe(settings: Settings) -> tuple[EngineInfo, ...]:
    """What serves each slot, in the order of `SLOTS`. Raises as `describe_slot` does."""
    return tuple(describe_slot(settings, slot) for slot in SLOTS)


def engine_revision(settings: Settings) -> str:
    """One string that changes whenever the same recording could come out differently; part of every cache key.

    It names each listening slot's revision, the longest utterance, which decides where a recording is cut, and the version
    of what is made of the engines' words.
    """
    revisions = [slot_revision(settings, slot) for slot in _LISTENING]
    return "+".join([*revisions, f"utt{settings.engines.utterance_max_secs:g}", f"text{LISTENING_VERSION}"])


def slot_revision(settings: Settings, slot: Slot) -> str:
    """The revision of what serves ``slot``, or ``<slot>-unavailable``, which nothing is ever kept by."""
    try:
        return describe_slot(settings, slot).revision
    except Unavailable:
        return f"{slot}-unavailable"


def num_replicas(settings: Settings, slot: Slot) -> tuple[int, int]:
    """Fewest and most replicas of a slot. Raises InvalidParameter for an engine that does not exist.

    A recogniser that brings its own model decodes on one core, so it gets as many replicas as there are cores; one that
    loads a model uses all cores, or a GPU, and gets one unless more are asked for.
    """
    engines = settings.engines
    if slot == "recognizer":
        own = ENGINES[slot][choice(settings, slot).engine].model is None
        fewest = engines.recognizer_replicas or ((os.cpu_count() or 1) if own else 1)
        return fewest, max(fewest, engines.recognizer_replicas_max)
    if slot == "diarizer":
        return engines.diarizer_replicas, max(engines.diarizer_replicas, engines.diarizer_replicas_max)
    if slot == "synthesizer":
        return engines.synthesizer_replicas, max(engines.synthesizer_replicas, engines.synthesizer_replicas_max)
    return 1, 1


def _build(settings: Settings, slot: Slot) -> Any:
    """The engine of ``slot``, loaded.

    Raises InvalidParameter for a choice that does not exist, EngineFailure for an engine that does not start, and
    Unavailable, with slot, model, reason and remedy, for a model that cannot be loaded.
    """
    return _call(settings, slot, lambda engine: engine.factory)


def _call(settings: Settings, slot: Slot, name: Callable[[Engine], str]) -> Any:
    chosen = choice(settings, slot)
    engine = ENGINES[slot][chosen.engine]
    try:
        function = _resolve(name(engine))
        return function(chosen) if engine.model is not None else function()
    except FluxionsError:
        raise
    except Exception as error:
        if engine.model is None and not isinstance(error, ImportError):
            raise
        raise cannot_load(chosen, *why_not(error)) from error


def _resolve(dotted: str) -> Any:
    module, _, name = dotted.partition(":")
    return getattr(importlib.import_module(module), name)
