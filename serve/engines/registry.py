"""All engines by slot, and the choice by profile or setting. A new engine is a module and an entry here.

Entries are dotted names, resolved when a slot is built or described. So importing this module imports no model and no heavy
library, and describing a slot imports only the light module that reads its files.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, get_args

from schemas.domain import Slot
from schemas.engines import LISTENING_VERSION, Diarizer, EngineChoice, EngineInfo, EventDetector, Recognizer, Synthesizer
from schemas.errors import FluxionsError, InvalidParameter, Unavailable
from schemas.language_model import LanguageModel
from schemas.settings import Settings
from serve.engines.model_files import cannot_load, explain_load_error

SLOTS: Final[tuple[Slot, ...]] = get_args(Slot)
_LISTENING: Final[tuple[Slot, ...]] = ("recognizer", "diarizer", "event_detector")
VARIABLES: Final[dict[Slot, str]] = {
    "recognizer": "ASR",
    "diarizer": "DIARIZER",
    "event_detector": "EVENTS",
    "synthesizer": "TTS",
    "language_model": "LLM",
}
"""A slot's settings are ``FLUXIONS_<this>_ENGINE`` and ``FLUXIONS_<this>_MODEL``."""


@dataclass(frozen=True, slots=True)
class Engine:
    """``factory`` builds the engine; ``describe`` gives its EngineInfo without loading it.

    ``model`` is the default model; then both take an EngineChoice. Where it is None the engine has only one model, and
    both take no argument.
    """

    factory: str
    describe: str
    model: str | None = None
    remote: bool = False
    """Whether the model runs on another server."""


ENGINES: Final[dict[Slot, dict[str, Engine]]] = {
    "recognizer": {
        "whisper": Engine("serve.engines.asr.whisper:build", "serve.engines.asr.whisper:describe", "whisper-base"),
        "nemo": Engine("serve.engines.asr.nemo:build", "serve.engines.asr.nemo:describe", "nvidia/parakeet-tdt-0.6b-v3"),
        "transformers": Engine(
            "serve.engines.asr.transformers:build", "serve.engines.asr.transformers:describe", "openai/whisper-small"
        ),
    },
    "diarizer": {
        "resemblyzer": Engine(
            "serve.engines.diarization.embedding_diarizer:EmbeddingDiarizer", "serve.engines.diarization.weights:describe"
        ),
        "sortformer": Engine(
            "serve.engines.diarization.sortformer:build",
            "serve.engines.diarization.sortformer:describe",
            "nvidia/diar_streaming_sortformer_4spk-v2",
        ),
        "nemo-embeddings": Engine(
            "serve.engines.diarization.nemo_embeddings:build",
            "serve.engines.diarization.nemo_embeddings:describe",
            "nvidia/speakerverification_en_titanet_large",
        ),
    },
    "event_detector": {
        "rules": Engine("serve.engines.events.rules:RuleEventDetector", "serve.engines.events.rules:describe"),
        "transformers": Engine(
            "serve.engines.events.classifier:build",
            "serve.engines.events.classifier:describe",
            "MIT/ast-finetuned-audioset-10-10-0.4593",
        ),
    },
    "synthesizer": {
        "kokoro": Engine("serve.engines.tts.kokoro:build", "serve.engines.tts.kokoro:describe", "kokoro-82m-int8"),
        "espeak": Engine(
            "serve.engines.tts.espeak_synthesizer:EmbeddedSynthesizer", "serve.engines.tts.espeak_voices:describe"
        ),
        "csm": Engine("serve.engines.tts.csm:build", "serve.engines.tts.csm:describe", "sesame/csm-1b"),
        "dia": Engine("serve.engines.tts.dia:build", "serve.engines.tts.dia:describe", "nari-labs/Dia-1.6B-0626"),
    },
    "language_model": {
        "llama": Engine(
            "serve.engines.language_models.llama:build", "serve.engines.language_models.llama:describe", "smollm2-135m"
        ),
        "openai": Engine(
            "serve.engines.language_models.chat_server:build",
            "serve.engines.language_models.chat_server:describe",
            "",
            remote=True,
        ),
    },
}

PROFILES: Final[dict[str, dict[Slot, str]]] = {
    "embedded": {
        "recognizer": "whisper",
        "diarizer": "resemblyzer",
        "event_detector": "rules",
        "synthesizer": "kokoro",
        "language_model": "llama",
    },
    # No synthesiser of a billion parameters runs in real time on a CPU.
    "cpu": {
        "recognizer": "whisper",
        "diarizer": "nemo-embeddings",
        "event_detector": "transformers",
        "synthesizer": "kokoro",
        "language_model": "llama",
    },
    "gpu": {
        "recognizer": "nemo",
        "diarizer": "sortformer",
        "event_detector": "transformers",
        "synthesizer": "csm",
        "language_model": "llama",
    },
}

PROFILE_MODELS: Final[dict[tuple[str, Slot], str]] = {("cpu", "recognizer"): "Systran/faster-whisper-small"}
"""Models of a profile's engines that differ from the engine's default."""


def choice(settings: Settings, slot: Slot) -> EngineChoice:
    """The configured engine of ``slot``. Raises InvalidParameter, naming the variable, for an unknown engine or model."""
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
    usual = known.model or ""
    if engine == PROFILES[engines.profile][slot]:
        usual = PROFILE_MODELS.get((engines.profile, slot), usual)
    cache = settings.home / "cache"
    return EngineChoice(slot, engine, model or usual, engines, f"{variable}_MODEL", cache, known.remote)


def build_recognizer(settings: Settings) -> Recognizer:
    """The configured recogniser, loaded. Raises as `_build` does."""
    recognizer: Recognizer = _build(settings, "recognizer")
    return recognizer


def build_diarizer(settings: Settings) -> Diarizer:
    """The configured diariser, loaded and warm. Raises as `_build` does."""
    diarizer: Diarizer = _build(settings, "diarizer")
    return diarizer


def build_event_detector(settings: Settings) -> EventDetector:
    """The configured event detector, loaded. Raises as `_build` does."""
    detector: EventDetector = _build(settings, "event_detector")
    return detector


def build_synthesizer(settings: Settings) -> Synthesizer:
    """The configured synthesiser, loaded. Raises as `_build` does."""
    synthesizer: Synthesizer = _build(settings, "synthesizer")
    return synthesizer


def build_language_model(settings: Settings) -> LanguageModel:
    """The language model that is chosen, loaded. Raises as `_build` does."""
    model: LanguageModel = _build(settings, "language_model")
    return model


def describe_slot(settings: Settings, slot: Slot) -> EngineInfo:
    """The engine of ``slot``, without loading its model. Raises Unavailable or InvalidParameter where it cannot be used."""
    info: EngineInfo = _call(settings, slot, lambda engine: engine.describe)
    return info


def describe(settings: Settings) -> tuple[EngineInfo, ...]:
    """What serves each slot, in the order of `SLOTS`. Raises as `describe_slot` does."""
    return tuple(describe_slot(settings, slot) for slot in SLOTS)


def engine_revision(settings: Settings) -> str:
    """One string that changes whenever the same recording could give another result; part of every cache key.

    It has the revisions of recogniser, diariser and event detector, the longest utterance, which decides where a recording
    is cut, and the version of the assembly of transcripts.
    """
    revisions = [slot_revision(settings, slot) for slot in _LISTENING]
    return "+".join([*revisions, f"utt{settings.engines.utterance_max_secs:g}", f"text{LISTENING_VERSION}"])


def slot_revision(settings: Settings, slot: Slot) -> str:
    """The revision of the engine of ``slot``, or ``<slot>-unavailable``, under which nothing is ever cached."""
    try:
        return describe_slot(settings, slot).revision
    except Unavailable:
        return f"{slot}-unavailable"


def num_replicas(settings: Settings, slot: Slot) -> tuple[int, int]:
    """(least, most) replicas of a slot. One recogniser uses all cores, or a GPU, so more must be configured."""
    engines = settings.engines
    if slot == "recognizer":
        fewest = engines.recognizer_replicas or 1
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
        raise cannot_load(chosen, *explain_load_error(error)) from error


def _resolve(dotted: str) -> Any:
    module, _, name = dotted.partition(":")
    return getattr(importlib.import_module(module), name)
