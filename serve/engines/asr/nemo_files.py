"""Reads the configuration of a recogniser from its ``.nemo`` file, without NeMo, whose import takes 10 s."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from schemas.domain import SAMPLE_RATE_HZ
from schemas.engines import EngineChoice
from schemas.errors import Unavailable
from serve.engines.model_files import cannot_load

Kind = Literal["ctc", "transducer", "multitask"]

_CONFIG: Final = "model_config.yaml"
_VOCABULARY: Final = ("vocab.txt", "tokenizer.vocab")


@dataclass(frozen=True, slots=True)
class NemoRecipe:
    """``punctuation``: whether the vocabulary has full stops or capitals. ``languages``: empty where none are listed."""

    kind: Kind
    target: str
    languages: tuple[str, ...]
    punctuation: bool


def read_recipe(chosen: EngineChoice, file: Path) -> NemoRecipe:
    """Raises Unavailable, with a remedy, for a file without a recogniser that this engine knows."""
    stat = file.stat()
    try:
        config, pieces = _contents(file, stat.st_mtime_ns, stat.st_size)
    except (KeyError, tarfile.TarError, yaml.YAMLError, EOFError) as error:
        reason = f"the .nemo file holds no readable {_CONFIG} ({type(error).__name__})"
        raise cannot_load(chosen, reason, "copy or download it again") from error
    target = str(config.get("target", "")).rpartition(".")[2]
    kind = _kind(config)
    if kind is None or "Prompt" in target:
        raise _wrong_kind(chosen, target)
    rate = (config.get("preprocessor") or {}).get("sample_rate", SAMPLE_RATE_HZ)
    if rate != SAMPLE_RATE_HZ:
        raise cannot_load(chosen, f"it listens at {rate} Hz", f"choose a model for {SAMPLE_RATE_HZ} Hz")
    return NemoRecipe(kind, target, _languages(config), _punctuates(pieces))


def _wrong_kind(chosen: EngineChoice, target: str) -> Unavailable:
    return cannot_load(
        chosen,
        f"it holds {target or 'something that does not say what it is'}, which is no CTC, transducer or Canary recogniser",
        f"name a recogniser in {chosen.variable}",
    )


def _kind(config: Mapping[str, Any]) -> Kind | None:
    if "joint" in config:
        return "transducer"
    if "transf_decoder" in config:
        return "multitask"
    return "ctc" if "vocabulary" in (config.get("decoder") or {}) else None


def _languages(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Languages of a tokenizer with one part a language; the part for special tokens is no language."""
    known = (config.get("tokenizer") or {}).get("langs") or {}
    return tuple(sorted(name for name in known if name != "spl_tokens"))


def _punctuates(pieces: Iterable[str]) -> bool:
    return any(c.isupper() or c in ".。" for piece in pieces if not piece.startswith(("<", "[")) for c in piece)


@lru_cache(maxsize=8)
def _contents(file: Path, _mtime_ns: int, _size: int) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The configuration, and every piece of its vocabularies."""
    config: dict[str, Any] | None = None
    pieces: list[str] = []
    with tarfile.open(file) as archive:
        for member in archive:
            name = member.name.rpartition("/")[2]
            if name != _CONFIG and not name.endswith(_VOCABULARY):
                continue
            stream = archive.extractfile(member)
            text = stream.read().decode("utf-8") if stream else ""
            if name == _CONFIG:
                config = yaml.safe_load(text)
            else:
                pieces += [line.partition("\t")[0] for line in text.splitlines()]
    if not isinstance(config, dict):
        raise KeyError(_CONFIG)
    return config, tuple(pieces) or tuple(_listed(config))


def _listed(config: Mapping[str, Any]) -> list[str]:
    """The vocabulary of a model of characters, which its configuration lists."""
    found = config.get("labels") or (config.get("decoder") or {}).get("vocabulary") or ()
    return [str(piece) for piece in found]
