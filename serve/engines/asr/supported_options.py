"""Checks recognition options against an engine's capabilities, with the same errors for every engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.domain import RecognizeOptions
from schemas.engines import EngineInfo
from schemas.errors import InvalidParameter


def check_capabilities(options: RecognizeOptions, recognizer: EngineInfo) -> None:
    """Raises InvalidParameter, naming the parameter and what is allowed, for what the recogniser cannot do."""
    can, engine = recognizer.capabilities, f"the recogniser {recognizer.engine} ({recognizer.model})"
    if options.language is not None:
        _check_language(options.language, can, engine)
    if options.task == "translate" and not can["translates"]:
        raise InvalidParameter(f"task: {engine} does not translate; leave task out", param="task")
    for param, asked in (("prompt", options.prompt), ("keyterms", options.keyterms)):
        if asked and not can["takes_prompt"]:
            raise InvalidParameter(f"{param}: {engine} takes none; leave {param} out", param=param)


def _check_language(language: str, can: Mapping[str, Any], engine: str) -> None:
    known = can["languages"]
    if not can["takes_language"] and len(known) != 1:
        raise InvalidParameter(f"language: {engine} takes none; leave language out", param="language")
    if language not in known:
        raise InvalidParameter(
            f"language: {engine} does not know {language!r}; it knows {', '.join(known)}", param="language"
        )
