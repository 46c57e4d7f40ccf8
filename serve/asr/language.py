"""The language that FLUXIONS_ASR_LANGUAGE says is spoken: for models that are told one, and refused by all others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from schemas.engines import EngineChoice
from schemas.errors import Unavailable

VARIABLE: Final = "FLUXIONS_ASR_LANGUAGE"


def told(chosen: EngineChoice, known: Collection[str] | None) -> str | None:
    """The language the model is to be told, None for its own choice.

    ``known``: the languages the model may be told, empty where its files do not list them, None where it takes none.
    Raises Unavailable for a language that would change nothing, or that the model does not know.
    """
    language = chosen.settings.asr_language
    if not language:
        return None
    if known is None:
        raise _cannot_hear(chosen, language, "that model takes no language", f"leave {VARIABLE} empty")
    if known and language not in known:
        raise _cannot_hear(
            chosen,
            language,
            f"that model knows {', '.join(sorted(known))}",
            f"set {VARIABLE} to one of these, or leave it empty",
        )
    return language


def with_language(options: Mapping[str, Any], language: str | None) -> dict[str, Any]:
    """``options`` and, where one is told, the ``language``: without one a revision stays what it was."""
    return {**options, "language": language} if language else dict(options)


def _cannot_hear(chosen: EngineChoice, language: str, why: str, remedy: str) -> Unavailable:
    return Unavailable(
        f"{chosen.slot}: the engine {chosen.engine} with {chosen.model} cannot be told the language {language!r} "
        f"({VARIABLE}): {why}; {remedy}",
        code="model_unavailable",
        param=VARIABLE,
    )
