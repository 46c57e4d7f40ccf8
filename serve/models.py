"""Which model a slot is given: where its files lie, what they are, and, where it cannot load, why not and what to do.

A model is a folder, a ``.nemo`` file, or a hub name (``owner/name``, or ``owner/name@revision`` to pin it). Hub names are
looked up in the hub client's own cache, never on the network: `serve.model_store` fetches what is missing beforehand.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from schemas.engines import EngineChoice
from schemas.errors import Unavailable

_HUB_NAME: Final = re.compile(r"[\w][\w.-]*/[\w][\w.-]*(@[\w./-]+)?")
MODELS_COMMAND: Final = "make run PROFILE=gpu (or: .venv/bin/pip install -c constraints.txt -e '.[models]')"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on this machine: ``path`` is a folder, or one ``.nemo`` file. ``digest`` is of names and contents, in hex."""

    name: str
    path: Path
    digest: str

    @property
    def nemo_file(self) -> Path | None:
        """The model itself if it is a ``.nemo`` file, else the folder's only one; None if there is none, or several."""
        if self.path.is_file():
            return self.path
        found = sorted(self.path.glob("*.nemo"))
        return found[0] if len(found) == 1 else None


def resolve(chosen: EngineChoice) -> ModelFiles:
    """The files of the model that is chosen. Raises Unavailable as `cannot_load` makes it.

    A model of 2 GB is read once, 3 s or so; later starts find its digest kept in ``chosen.cache``.
    """
    path = locate(chosen)
    return ModelFiles(chosen.model, path, _digest(path, chosen.cache / "digests.json"))


def locate(chosen: EngineChoice) -> Path:
    """Where the model lies, checked to be of a kind that can be loaded. Raises Unavailable as `cannot_load` makes it."""
    path = Path(chosen.model).expanduser()
    if path.exists():
        return _checked(chosen, path.resolve())
    if not is_hub_name(chosen.model):
        raise cannot_load(
            chosen,
            "there is no such file or folder, and it is no hub name (owner/name)",
            f"correct {chosen.variable}",
        )
    return _checked(chosen, _cached(chosen))


def is_hub_name(model: str) -> bool:
    return _HUB_NAME.fullmatch(model) is not None


def hub_revision(model: str) -> tuple[str, str | None]:
    """``owner/name@revision`` as (``owner/name``, ``revision``)."""
    name, _, revision = model.partition("@")
    return name, revision or None


def engine_revision(engine: str, version: str, model: ModelFiles, options: Mapping[str, Any]) -> str:
    """The string that stands in every result: engine, its version, the model's name, its digest, and decoding options.

    ``options`` is all that changes what comes out, as JSON can hold it.
    """
    digest = hashlib.sha256((model.digest + json.dumps(options, sort_keys=True)).encode()).hexdigest()
    name = re.sub(r"[^\w.-]+", "-", Path(hub_revision(model.name)[0]).stem if Path(model.name).exists() else model.name)
    return f"{engine}-{version}-{name}-{digest[:12]}"


def torch_device(chosen: EngineChoice) -> str:
    """``cpu`` or ``cuda``, as FLUXIONS_DEVICE says; on the CPU torch is given its threads.

    Raises Unavailable for a GPU that is not there. Imports torch.
    """
    import torch

    device: str = chosen.settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise cannot_load(chosen, "FLUXIONS_DEVICE is cuda, and torch finds no GPU", "set FLUXIONS_DEVICE to auto or cpu")
    if device == "cpu":
        # A replica that reserves less than a core is started by Ray with OMP_NUM_THREADS=1.
        torch.set_num_threads(chosen.settings.model_threads or os.cpu_count() or 1)
    return device


def cannot_load(chosen: EngineChoice, why: str, remedy: str) -> Unavailable:
    """The error that says which slot, which model, why, and what to do."""
    return Unavailable(
        f"{chosen.slot}: the engine {chosen.engine} cannot load {chosen.model or 'its model'} "
        f"({chosen.variable}): {why}; {remedy}",
        code="model_unavailable",
        param=chosen.variable,
    )


def why_not(error: BaseException) -> tuple[str, str]:
    """(why, remedy) for whatever a model's loading raised."""
    if isinstance(error, ModuleNotFoundError):
        return f"the Python package {error.name} is not installed", f"{MODELS_COMMAND} brings what models need"
    if is_out_of_memory(error):
        return "out of memory", "choose a smaller model, FLUXIONS_DEVICE=cpu, or a larger machine"
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}", "check that these are the files of a model this engine knows"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory, of the machine or of its GPU, was not enough. Knows torch's errors without importing torch."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in str(error) or "can't allocate memory" in str(error))
    )


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
        if not (path / "config.json").is_file() and not any(path.glob("*.nemo")):
            raise cannot_load(
                chosen,
                "the folder holds neither a config.json nor a .nemo file",
                f"name the folder of one model in {chosen.variable}",
            )
    elif path.suffix != ".nemo":
        raise cannot_load(chosen, "a file must be a .nemo file", f"name such a file, or a folder, in {chosen.variable}")
    elif not tarfile.is_tarfile(path):
        raise cannot_load(chosen, "it is not a .nemo file inside: no tar archive", "copy or download it again")
    return path


def _digest(path: Path, kept: Path) -> str:
    """SHA-256 over names and contents; what a file's was is read from ``kept`` while its time and size are the same."""
    known = _read(kept)
    found: dict[str, list[Any]] = {}
    total = hashlib.sha256()
    for file in _files(path):
        real = file.resolve()
        stat = real.stat()
        old = known.get(str(real))
        fresh = old if old and old[:2] == [stat.st_mtime_ns, stat.st_size] else None
        found[str(real)] = fresh or [stat.st_mtime_ns, stat.st_size, _sha256(real)]
        name = file.name if file == path else str(file.relative_to(path))
        total.update(f"{name}\0{found[str(real)][2]}\0".encode())
    if any(known.get(name) != entry for name, entry in found.items()):
        _write(kept, known | found)
    return total.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    """Every file of a model, in the order of names; what the hub's client keeps in hidden folders is not the model's."""
    if path.is_file():
        yield path
        return
    for file in sorted(path.rglob("*")):
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts):
            yield file


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(kept: Path) -> dict[str, list[Any]]:
    try:
        found = json.loads(kept.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(kept: Path, entries: Mapping[str, list[Any]]) -> None:
    """Replaced whole: a reader beside us sees the old or the new; an entry lost to another writer is made again."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    draft = kept.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(json.dumps(entries))
    draft.replace(kept)
