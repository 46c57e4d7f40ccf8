"""Fetching models from the hub into its client's cache, the only part that touches the network, and only before a start."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import InvalidParameter, Unavailable
from schemas.settings import Settings
from serve.engines import SLOTS, choice
from serve.models import MODELS_COMMAND, hub_revision, is_hub_name, locate

_SKIPPED = ("*.msgpack", "*.h5", "*.onnx", "*.ot", "*.gguf", "*.tflite", "*.mlmodel")
"""The same weights for other libraries; none of our engines reads them."""


@dataclass(frozen=True, slots=True)
class Pulled:
    model: str
    path: Path
    size_bytes: int


def pull(model: str) -> Pulled:
    """Download a model, or what is missing of it, with the hub client's progress on stderr.

    Raises InvalidParameter for a name that is none, Unavailable with the reason where the hub does not give it.
    """
    if not is_hub_name(model):
        raise InvalidParameter(f"{model!r} is no hub name; write owner/name or owner/name@revision", param="model")
    try:
        # The client's own HTTP library, whose errors it lets through when a connection breaks too often.
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
    """Download the models that the settings name and this machine lacks; ``say`` hears of each, and of what fails.

    Raises InvalidParameter for an engine that does not exist.
    """
    for slot in SLOTS:
        chosen = choice(settings, slot)
        if not is_hub_name(chosen.model) or Path(chosen.model).expanduser().exists():
            continue
        try:
            locate(chosen)
        except ModuleNotFoundError:
            continue  # without the hub's client nothing can be loaded either, and that is said of the slot
        except Unavailable:
            say(f"{slot}: fetching {chosen.model} …")
            try:
                pull(chosen.model)
            except Unavailable as error:
                say(f"{slot}: {error.message}")


def size_bytes(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _cause(error: BaseException) -> str:
    deepest = error
    while deepest.__cause__ is not None:
        deepest = deepest.__cause__
    return " ".join(f"{type(deepest).__name__}: {deepest}".split())[:200]
