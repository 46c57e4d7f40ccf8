"""Finds the files of a slot's model, computes their digest, and explains why a model cannot load.

A model is a folder, a ``.nemo`` or ``.gguf`` file, the name of bundled weights (see `serve.engines.weights_catalog`), or a
hub name (``owner/name``, or ``owner/name@revision`` to pin it). Hub names are looked up in the hub client's cache, never on
the network: `serve.engines.model_download` downloads missing models beforehand.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from schemas.engines import EngineChoice
from schemas.errors import Unavailable
from serve.engines.bundled_weights import find_weights
from serve.engines.file_digests import DigestCache
from serve.engines.weights_catalog import CATALOG, Weights, weights_named

_HUB_NAME: Final = re.compile(r"[\w][\w.-]*/[\w][\w.-]*(@[\w./-]+)?")
MODELS_COMMAND: Final = "make run PROFILE=gpu (or: .venv/bin/pip install -c constraints.txt -e '.[models]')"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on this machine: ``path`` is a folder, or one ``.nemo`` or ``.gguf`` file.

    ``digest`` is of names and contents, in hex.
    """

    name: str
    path: Path
    digest: str

    @property
    def nemo_file(self) -> Path | None:
        """The model itself if it is a ``.nemo`` file, else the only ``.nemo`` file of the folder; None if there is none,
        or several.
        """
        if self.path.is_file():
            return self.path
        found = sorted(self.path.glob("*.nemo"))
        return found[0] if len(found) == 1 else None


def resolve(chosen: EngineChoice) -> ModelFiles:
    """The files of the configured model. Raises Unavailable as `cannot_load` makes it.

    A model of 2 GB is read once, in about 3 s; later starts find its digest in ``chosen.cache``.
    """
    weights = _bundled(chosen)
    if weights is not None:
        found = find_weights(weights, chosen.cache, partial(cannot_load, chosen))
        return ModelFiles(weights.name, found.folder, found.digest)
    path = locate(chosen)
    return ModelFiles(chosen.model, path, _digest(path, DigestCache(chosen.cache / "digests.json")))


def locate(chosen: EngineChoice) -> Path:
    """The path of the model, whose kind was checked. Raises Unavailable as `cannot_load` makes it."""
    path = Path(chosen.model).expanduser()
    if path.exists():
        return _checked(chosen, path.resolve())
    weights = weights_named(chosen.model)
    if weights is not None:
        return find_weights(weights, chosen.cache, partial(cannot_load, chosen)).folder
    if not is_hub_name(chosen.model):
        raise cannot_load(
            chosen,
            "there is no such file or folder, it is no hub name (owner/name) and none of the models that are installed: "
            + ", ".join(weights.name for weights in CATALOG),
            f"correct {chosen.variable}",
        )
    return _checked(chosen, _cached(chosen))


def source(chosen: EngineChoice) -> str:
    """Origin of the model's files: ``folder``, ``wheel``, ``download`` or ``hub cache``. Raises as `locate`."""
    if Path(chosen.model).expanduser().exists():
        return "folder"
    weights = weights_named(chosen.model)
    if weights is None:
        locate(chosen)
        return "hub cache"
    return find_weights(weights, chosen.cache, partial(cannot_load, chosen)).source


def is_hub_name(model: str) -> bool:
    return _HUB_NAME.fullmatch(model) is not None


def hub_revision(model: str) -> tuple[str, str | None]:
    """``owner/name@revision`` as (``owner/name``, ``revision``)."""
    name, _, revision = model.partition("@")
    return name, revision or None


def engine_revision(engine: str, version: str, model: ModelFiles, options: Mapping[str, Any]) -> str:
    """The string that is part of every result: engine, its version, the model's name, its digest, and decoding options.

    ``options``: all options that change results, as JSON values.
    """
    digest = hashlib.sha256((model.digest + json.dumps(options, sort_keys=True)).encode()).hexdigest()
    name = re.sub(r"[^\w.-]+", "-", Path(hub_revision(model.name)[0]).stem if Path(model.name).exists() else model.name)
    return f"{engine}-{version}-{name}-{digest[:12]}"


def torch_device(chosen: EngineChoice) -> str:
    """``cpu`` or ``cuda``, by FLUXIONS_DEVICE; for the CPU also sets torch's number of threads.

    Raises Unavailable if a GPU is requested and there is none. Imports torch.
    """
    import torch

    device: str = chosen.settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise cannot_load(chosen, "FLUXIONS_DEVICE is cuda, and torch finds no GPU", "set FLUXIONS_DEVICE to auto or cpu")
    if device == "cpu":
        # Ray starts a replica that reserves less than a core with OMP_NUM_THREADS=1.
        torch.set_num_threads(chosen.settings.model_threads or os.cpu_count() or 1)
    return device


def cannot_load(chosen: EngineChoice, why: str, remedy: str) -> Unavailable:
    """The error for a model that cannot load: names slot, model, cause and remedy."""
    return Unavailable(
        f"{chosen.slot}: the engine {chosen.engine} cannot load {chosen.model or 'its model'} "
        f"({chosen.variable}): {why}; {remedy}",
        code="model_unavailable",
        param=chosen.variable,
    )


def explain_load_error(error: BaseException) -> tuple[str, str]:
    """(cause, remedy) for an error that loading a model raised."""
    if isinstance(error, ModuleNotFoundError):
        return f"the Python package {error.name} is not installed", f"{MODELS_COMMAND} brings what models need"
    if is_out_of_memory(error):
        return "out of memory", "choose a smaller model, FLUXIONS_DEVICE=cpu, or a larger machine"
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}", "check that these are the files of a model this engine knows"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the machine or its GPU ran out of memory. Recognises torch's errors without importing torch."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in str(error) or "can't allocate memory" in str(error))
    )


def _bundled(chosen: EngineChoice) -> Weights | None:
    return None if Path(chosen.model).expanduser().exists() else weights_named(chosen.model)


def _cached(chosen: EngineChoice) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    name, revision = hub_revision(chosen.model)
    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        raise cannot_load(
            chosen,
            "it is not on this machine",
            f"`fluxions models pull {chosen.model}` fetches it, or name a folder or file in {chosen.variable}",
        ) from None


def _checked(chosen: EngineChoice, path: Path) -> Path:
    if path.is_dir():
        if not any(any(path.glob(name)) for name in ("config.json", "*.nemo", "*.onnx", "*.gguf")):
            raise cannot_load(
                chosen,
                "the folder holds neither a config.json nor a .nemo, .onnx or .gguf file",
                f"name the folder of one model in {chosen.variable}",
            )
    elif path.suffix == ".gguf":
        if chosen.engine != "llama":
            raise cannot_load(chosen, "a .gguf file is a language model's", f"name another file in {chosen.variable}")
    elif path.suffix != ".nemo" or chosen.engine == "llama":
        kind = ".gguf" if chosen.engine == "llama" else ".nemo"
        raise cannot_load(chosen, f"a file must be a {kind} file", f"name such a file, or a folder, in {chosen.variable}")
    elif not tarfile.is_tarfile(path):
        raise cannot_load(chosen, "it is not a .nemo file inside: no tar archive", "copy or download it again")
    return path


def _digest(path: Path, known: DigestCache) -> str:
    """SHA-256 over names and contents of every file of a model."""
    files = list(_files(path))
    names = [file.name if file == path else str(file.relative_to(path)) for file in files]
    pairs = zip(names, known.sha256_of(files), strict=True)
    return hashlib.sha256("".join(f"{name}\0{digest}\0" for name, digest in pairs).encode()).hexdigest()


def _files(path: Path) -> Iterator[Path]:
    """Every file of a model by name, without the hub client's own files in hidden folders."""
    if path.is_file():
        yield path
        return
    for file in sorted(path.rglob("*")):
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts):
            yield file
