"""NeMo diarization models from a ``.nemo`` file: the configuration is read without NeMo, which takes 10 s to import."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from schemas.domain import SAMPLE_RATE_HZ
from schemas.engines import EngineChoice
from serve.engines.model_files import ModelFiles, cannot_load

_CONFIG: Final = "model_config.yaml"


def file_of(chosen: EngineChoice, files: ModelFiles) -> Path:
    """The model's only ``.nemo`` file. Raises Unavailable where there is none, or several."""
    if files.nemo_file is None:
        raise cannot_load(chosen, "the folder holds no .nemo file, or several", f"name one file in {chosen.variable}")
    return files.nemo_file


def read_config(chosen: EngineChoice, file: Path, target: str) -> Mapping[str, Any]:
    """The configuration of a model whose class is ``target``. Raises Unavailable for another, or another sample rate."""
    try:
        with tarfile.open(file) as archive:
            member = next(m for m in archive if m.name.rpartition("/")[2] == _CONFIG)
            stream = archive.extractfile(member)
            config = yaml.safe_load(stream.read() if stream else b"")
        holds = str(config["target"]).rpartition(".")[2]
        rate_hz = config["preprocessor"]["sample_rate"]
    except (StopIteration, KeyError, TypeError, tarfile.TarError, yaml.YAMLError, EOFError) as error:
        reason = f"the .nemo file holds no readable {_CONFIG} ({type(error).__name__})"
        raise cannot_load(chosen, reason, "copy or download it again") from error
    if holds != target:
        raise cannot_load(chosen, f"it holds a {holds}, and this engine takes a {target}", "choose the engine for it")
    if rate_hz != SAMPLE_RATE_HZ:
        raise cannot_load(chosen, f"it listens at {rate_hz} Hz", f"choose a model for {SAMPLE_RATE_HZ} Hz")
    return dict(config)
