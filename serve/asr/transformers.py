"""Recognisers of the transformers library from a folder or a hub name: Whisper, Moonshine, Parakeet CTC, RNNT and TDT.

This module chooses; each family stands in a module of its own. Nothing here touches the network.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from schemas.domain import SAMPLE_RATE_HZ, Recognition
from schemas.engines import EngineChoice, EngineInfo, RecognizerCapabilities, Samples
from serve.asr.language import told, with_language
from serve.asr.windows import Hear, recognize_in_windows
from serve.models import ModelFiles, cannot_load, engine_revision, resolve, torch_device

WINDOW_SECS: Final = 30.0
MAX_BATCH: Final = 16
_OPTIONS: Final[dict[str, Any]] = {"decoding": "greedy", "window_secs": WINDOW_SECS, "words": 1}
"""All that changes what comes out; ``words`` is raised when the reading of a model's output changes."""


@dataclass(frozen=True, slots=True)
class _Family:
    """``hear`` names the class that loads (folder, device) and hears batches.

    ``punctuation`` None: as its vocabulary. ``languages``: it takes ``language`` too, where its folder lists some.
    """

    hear: str
    word_timestamps: bool = True
    punctuation: bool | None = None
    languages: bool = False


_FAMILIES: Final = {
    "whisper": _Family("serve.asr.transformers_whisper:Whisper", punctuation=True, languages=True),
    "moonshine": _Family("serve.asr.transformers_moonshine:Moonshine", word_timestamps=False, punctuation=True),
    "parakeet_ctc": _Family("serve.asr.transformers_parakeet:ParakeetCtc"),
    "parakeet_rnnt": _Family("serve.asr.transformers_parakeet:ParakeetTransducer"),
    "parakeet_tdt": _Family("serve.asr.transformers_parakeet:ParakeetTransducer"),
}
"""By ``model_type`` of the folder's config.json."""


def describe(chosen: EngineChoice) -> EngineInfo:
    """What the folder holds, without transformers. Raises Unavailable for one that holds no recogniser known here."""
    files = resolve(chosen)
    family = _family(chosen, files)
    language = _told(chosen, family, files)
    capabilities = RecognizerCapabilities(
        languages=(language,) if language else _languages(files.path),
        word_timestamps=family.word_timestamps,
        word_confidence=True,
        punctuation=_punctuates(files.path) if family.punctuation is None else family.punctuation,
        max_utterance_secs=WINDOW_SECS,
        max_batch=MAX_BATCH,
    )
    revision = engine_revision(
        "transformers", importlib.metadata.version("transformers"), files, with_language(_OPTIONS, language)
    )
    return EngineInfo(chosen.slot, chosen.engine, chosen.model, revision, asdict(capabilities))


def build(chosen: EngineChoice) -> TransformersRecognizer:
    """The recogniser, loaded and warm. Raises Unavailable."""
    from transformers.utils import logging

    # What is missing from a folder is an error of ours; the rest is advice to whoever trains.
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    info, files = describe(chosen), resolve(chosen)
    family = _family(chosen, files)
    module, _, name = family.hear.partition(":")
    loaded: Callable[..., Hear] = getattr(importlib.import_module(module), name)
    hear = loaded(files.path, torch_device(chosen), **with_language({}, _told(chosen, family, files)))
    recognizer = TransformersRecognizer(hear, info)
    recognizer.warm_up()
    return recognizer


class TransformersRecognizer:
    """A `schemas.engines.Recognizer` that works on batches. One call at a time."""

    def __init__(self, hear: Hear, info: EngineInfo) -> None:
        self._hear, self._info = hear, info

    @property
    def info(self) -> EngineInfo:
        return self._info

    def recognize(self, utterances: Sequence[Samples]) -> list[Recognition]:
        """One Recognition an utterance, in order, whatever its length. Raises EngineFailure for samples not finite."""
        return recognize_in_windows(utterances, self._hear, WINDOW_SECS, MAX_BATCH)

    def warm_up(self) -> None:
        """A second of noise through everything."""
        noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE_HZ, dtype=np.float32)
        self._hear([np.float32(0.1) * noise * np.hanning(noise.size).astype(np.float32)])

    def close(self) -> None:
        """Nothing to end: the model goes with its owner."""


def _family(chosen: EngineChoice, files: ModelFiles) -> _Family:
    kind = _read(files.path / "config.json").get("model_type")
    family = _FAMILIES.get(str(kind))
    if family is None:
        raise cannot_load(
            chosen,
            f"its config.json says model_type {kind!r}, which is none of: {', '.join(_FAMILIES)}",
            f"name such a recogniser in {chosen.variable}",
        )
    return family


def _told(chosen: EngineChoice, family: _Family, files: ModelFiles) -> str | None:
    # A Whisper of one language lists none, and has no place for one in its prompt.
    return told(chosen, (_languages(files.path) or None) if family.languages else None)


def _languages(folder: Path) -> tuple[str, ...]:
    """What a model of many languages lists; empty where the folder does not say."""
    known = _read(folder / "generation_config.json").get("lang_to_id") or {}
    return tuple(sorted(name.strip("<|>") for name in known))


def _punctuates(folder: Path) -> bool:
    pieces = (_read(folder / "tokenizer.json").get("model") or {}).get("vocab") or ()
    names = [str(piece if isinstance(piece, str) else piece[0]) for piece in pieces]
    return any(c.isupper() or c in ".。" for name in names if not name.startswith(("<", "[")) for c in name)


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
