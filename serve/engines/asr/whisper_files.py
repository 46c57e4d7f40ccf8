"""Reads the description of a CTranslate2 Whisper model from its folder, without loading the model.

Such a folder has ``model.bin`` (the weights), ``config.json``, ``vocabulary.txt`` or ``vocabulary.json``,
``tokenizer.json`` (Hugging Face tokenizers) and, where its features differ from those of the first models,
``preprocessor_config.json``.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from schemas.engines import EngineChoice
from serve.engines.model_files import ModelFiles, cannot_load

_SPECIFICATION: Final = b"WhisperSpec"
_MULTILINGUAL_TOKENS: Final = 51_865
"""Least number of tokens of a multilingual Whisper model; the English ones have one less."""
_DEFAULT_MELS: Final = 80


@dataclass(frozen=True, slots=True)
class WhisperFolder:
    """``languages``: ISO 639-1 codes, some of three letters; ``("en",)`` for a model of English."""

    path: Path
    languages: tuple[str, ...]
    num_mels: int

    @property
    def is_multilingual(self) -> bool:
        return self.languages != ("en",)


def read_folder(chosen: EngineChoice, files: ModelFiles) -> WhisperFolder:
    """Raises Unavailable, naming the folder, where it has no complete CTranslate2 Whisper model."""
    folder = files.path
    remedy = (
        f"name a folder that ct2-transformers-converter made of a Whisper model, or a hub name such as "
        f"Systran/faster-whisper-small, in {chosen.variable}"
    )
    if not folder.is_dir() or not (folder / "model.bin").is_file():
        raise cannot_load(chosen, f"{folder} holds no model.bin, so it is no CTranslate2 model", remedy)
    if _specification(folder / "model.bin") != _SPECIFICATION:
        raise cannot_load(chosen, f"the model.bin in {folder} is of no CTranslate2 Whisper model", remedy)
    vocabulary = _vocabulary_size(folder)
    for name, there in (("tokenizer.json", (folder / "tokenizer.json").is_file()), ("vocabulary", vocabulary > 0)):
        if not there:
            raise cannot_load(chosen, f"{folder} holds no {name}", remedy)
    languages = _languages(folder) if vocabulary >= _MULTILINGUAL_TOKENS else ("en",)
    mels = _read(folder / "preprocessor_config.json").get("feature_size", _DEFAULT_MELS)
    return WhisperFolder(folder, languages, int(mels))


def _specification(file: Path) -> bytes:
    """The model kind in the head of a CTranslate2 file: u32 version, u16 length, so many bytes with a zero at the end."""
    with file.open("rb") as model:
        head = model.read(64)
    if len(head) < 6:
        return b""
    (length,) = struct.unpack_from("<H", head, 4)
    return head[6 : 6 + length].rstrip(b"\0")


def _vocabulary_size(folder: Path) -> int:
    for name in ("vocabulary.json", "vocabulary.txt"):
        file = folder / name
        if file.is_file():
            text = file.read_text("utf-8")
            return len(json.loads(text)) if file.suffix == ".json" else text.count("\n") + (not text.endswith("\n"))
    return 0


def _languages(folder: Path) -> tuple[str, ...]:
    """Codes of the language tokens, which stand between ``<|startoftranscript|>`` and ``<|translate|>``."""
    added = sorted(_read(folder / "tokenizer.json").get("added_tokens", ()), key=lambda token: int(token["id"]))
    names = [str(token["content"]).strip("<|>") for token in added]
    try:
        first, last = names.index("startoftranscript"), names.index("translate")
    except ValueError:
        return ("en",)
    return tuple(sorted(names[first + 1 : last]))


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
