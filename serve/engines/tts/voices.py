"""The built-in voices of each engine, found by id or name."""

from __future__ import annotations

from typing import Final

from schemas.errors import NotFound
from schemas.speech import VoiceProfile
from serve.engines.tts.espeak_voices import ESPEAK_VOICES
from serve.engines.tts.kokoro_voices import KOKORO_VOICES

_ENGINES: Final = {"kokoro": KOKORO_VOICES}
"""Engines with built-in voices; models that use prompts have the espeak engine's voices, with prompts of their own."""


def built_in(engine: str) -> tuple[VoiceProfile, ...]:
    """The voices of ``engine``, a name in `serve.engines.registry`, in the order they are listed."""
    return _ENGINES.get(engine, ESPEAK_VOICES)


def default_voice(engine: str) -> VoiceProfile:
    """The voice of ``engine`` for requests that name none."""
    return built_in(engine)[0]


def find_voice(voice_id: str, engine: str) -> VoiceProfile:
    """The built-in voice of that id, of the part before its dot (``maeve``, ``maeve.en-us``), or of that Kokoro style.

    Raises NotFound for an unknown voice, and, with code ``voice_of_another_engine``, for one of another engine.
    """
    voice = _found(voice_id, built_in(engine))
    if voice is not None:
        return voice
    if _found(voice_id, KOKORO_VOICES) is not None:
        raise NotFound(
            f"the voice {voice_id[:80]!r} is one of the synthesiser kokoro, and {engine} serves here; choose one of GET "
            "/vui/voices, or set FLUXIONS_TTS_ENGINE=kokoro",
            code="voice_of_another_engine",
            param="voice",
        )
    raise NotFound(f"there is no voice {voice_id[:80]!r}; GET /vui/voices lists them", code="unknown_voice", param="voice")


def canonical_voice(voice_id: str) -> str:
    """The id of a built-in voice in records, for any of its names; any other id is canonical already."""
    voice = _found(voice_id, ESPEAK_VOICES) or _found(voice_id, KOKORO_VOICES)
    return voice.voice_id if voice is not None else voice_id


def fits(voice: VoiceProfile, engine: str) -> bool:
    """Whether a matched voice was made for ``engine``, an engine without prompts."""
    return bool(voice.style) if engine == "kokoro" else bool(voice.base)


def _found(voice_id: str, voices: tuple[VoiceProfile, ...]) -> VoiceProfile | None:
    name = voice_id.partition(".")[0]
    return next((v for v in voices if v.voice_id == voice_id), None) or next(
        (v for v in voices if name in (v.voice_id.partition(".")[0], *(style for style, _ in v.style))), None
    )
