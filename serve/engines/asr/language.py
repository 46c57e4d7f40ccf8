"""The language in FLUXIONS_ASR_LANGUAGE, for models that accept a language; all others refuse it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from schemas.engines import EngineChoice
from schemas.errors import Unavailable

VARIABLE: Final = "FLUXIONS_ASR_LANGUAGE"


def configured_language(chosen: EngineChoice, known: Collection[str] | None) -> str | None:
    """The language to give to the model; None if none is set.

    ``known``: the languages that the model takes, empty if its files do not list them, None if it takes none. Raises
    Unavailable for a language that would have no effect, or that the model does not know.
    """
    language = chosen.settings.asr_language
    if not language:
        return None
    if known is None:
        raise _cannot_use(chosen, language, "that model takes no language", f"leave {VARIABLE} empty")
    if known and language not in known:
        raise _cannot_use(
            chosen,
            language,
            f"that model knows {', '.join(sorted(known))}",
            f"set {VARIABLE} to one of these, or leave it empty",
        )
    return language


def with_language(options: Mapping[str, Any], language: str | None) -> dict[str, Any]:
    """``options``, with the ``language`` if one is set: without one, the revision does not mention it."""
    return {**options, "language": language} if language else dict(options)


def _cannot_use(chosen: EngineChoice, language: str, why: str, remedy: str) -> Unavailable:
    return Unavailable(
        f"{chosen.slot}: the engine {chosen.engine} with {chosen.model} cannot use the language {language!r} "
        f"({VARIABLE}): {why}; {remedy}",
        code="model_unavailable",
        param=VARIABLE,
    )
