"""Recognisers of the transformers library from a folder or a hub name: Whisper, Moonshine, Parakeet CTC, RNNT and TDT.

This module chooses the family, each of which is a separate module. The network is never used.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from schemas.engines import EngineChoice, EngineInfo, RecognizerCapabilities
from serve.engines.asr.batch_recognizer import BatchRecognizer
from serve.engines.asr.language import configured_language, with_language
from serve.engines.asr.windows import RecognizeBatch
from serve.engines.model_files import ModelFiles, cannot_load, engine_revision, resolve, torch_device

WINDOW_SECS: Final = 30.0
MAX_BATCH: Final = 16
_OPTIONS: Final[dict[str, Any]] = {"decoding": "greedy", "window_secs": WINDOW_SECS, "words": 1}
"""All options that change results; ``words`` is raised when the assembly of words changes."""


@dataclass(frozen=True, slots=True)
class _Family:
    """``loader`` names the class that is called with (folder, device) and then recognises batches.

    ``punctuation`` None: depends on its vocabulary. ``languages``: it also takes ``language`` of those its
    folder lists, and detects it otherwise.
    """

    loader: str
    word_timestamps: bool = True
    punctuation: bool | None = None
    languages: bool = False


_FAMILIES: Final = {
    "whisper": _Family("serve.engines.asr.transformers_whisper:Whisper", punctuation=True, languages=True),
    "moonshine": _Family("serve.engines.asr.transformers_moonshine:Moonshine", word_timestamps=False, punctuation=True),
    "parakeet_ctc": _Family("serve.engines.asr.transformers_parakeet:ParakeetCtc"),
    "parakeet_rnnt": _Family("serve.engines.asr.transformers_parakeet:ParakeetTransducer"),
    "parakeet_tdt": _Family("serve.engines.asr.transformers_parakeet:ParakeetTransducer"),
}
"""By ``model_type`` of the folder's config.json."""


def describe(chosen: EngineChoice) -> EngineInfo:
    """The model of the folder, without transformers. Raises Unavailable for a folder without a supported recogniser."""
    files = resolve(chosen)
    family = _family(chosen, files)
    language = _configured_language(chosen, family, files)
    detects = family.languages and language is None and bool(_languages(files.path))
    capabilities = RecognizerCapabilities(
        languages=(language,) if language else _languages(files.path),
        word_timestamps=family.word_timestamps,
        word_confidence=True,
        punctuation=_punctuates(files.path) if family.punctuation is None else family.punctuation,
        max_utterance_secs=WINDOW_SECS,
        max_batch=MAX_BATCH,
        detects_language=detects,
        takes_language=detects,
    )
    revision = engine_revision(
        "transformers", importlib.metadata.version("transformers"), files, with_language(_OPTIONS, language)
    )
    return EngineInfo(chosen.slot, chosen.engine, chosen.model, revision, asdict(capabilities))


def build(chosen: EngineChoice) -> BatchRecognizer:
    """The recogniser, loaded and warm. Raises Unavailable."""
    from transformers.utils import logging

    # Missing files raise our own errors; transformers' warnings are for training.
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    info, files = describe(chosen), resolve(chosen)
    family = _family(chosen, files)
    module, _, name = family.loader.partition(":")
    load: Callable[..., RecognizeBatch] = getattr(importlib.import_module(module), name)
    model = load(files.path, torch_device(chosen))
    recognizer = BatchRecognizer(model, info, _configured_language(chosen, family, files))
    recognizer.warm_up()
    return recognizer


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


def _configured_language(chosen: EngineChoice, family: _Family, files: ModelFiles) -> str | None:
    # A Whisper of one language lists none, and its prompt has no token for one.
    return configured_language(chosen, (_languages(files.path) or None) if family.languages else None)


def _languages(folder: Path) -> tuple[str, ...]:
    """The languages of a multilingual model; empty where the folder lists none."""
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
