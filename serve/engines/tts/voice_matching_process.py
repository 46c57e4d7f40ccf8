"""Voice matching in a child process, which ends afterwards: it uses all cores for up to a minute, and loads a second copy
of the engine and the speaker encoder.

The program is ``python -m serve.engines.tts.voice_matching_process``. A request's head has ``voice_id`` and the fields of
the engine (`_engine_fields`); its body is s16le PCM at 24 kHz mono. The answer's head is ``{"voice", "similarity"}``, or
``{"error": {"message", "code", "param"}}`` for a clip that cannot be used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.child_program import ChildEnded, ChildProgram, serve
from schemas.domain import Seconds
from schemas.engines import EngineChoice
from schemas.errors import EngineFailure, InvalidAudio
from schemas.settings import EngineSettings
from schemas.speech import VoiceProfile

if TYPE_CHECKING:
    from runtime.frames import Frame
    from serve.engines.tts.voice_matching import VoiceMatcher


async def match_voice(pcm: bytes, voice_id: str, chosen: EngineChoice, search_secs: Seconds) -> tuple[VoiceProfile, float]:
    """The voice of the engine ``chosen`` most similar to s16le PCM at 24 kHz of one person, and the cosine of voiceprints.

    Takes some seconds with espeak-ng, up to a minute with Kokoro; cancelling it ends the process. Raises InvalidAudio,
    EngineFailure.
    """
    head = {"voice_id": voice_id, **_engine_fields(chosen, search_secs)}
    async with ChildProgram("serve.engines.tts.voice_matching_process") as child:
        try:
            _, answer = await child.ask(head, pcm)
        except ChildEnded as error:
            raise EngineFailure(f"voice matching failed: {error}") from error
    if refused := answer.head.get("error"):
        raise InvalidAudio(refused["message"], code=refused["code"], param=refused["param"])
    return VoiceProfile.from_json(answer.head["voice"]), float(answer.head["similarity"])


def _engine_fields(chosen: EngineChoice, search_secs: Seconds) -> dict[str, Any]:
    """The fields that the program needs to load the engine; none is secret."""
    return {
        "engine": chosen.engine,
        "model": chosen.model,
        "variable": chosen.variable,
        "cache": str(chosen.cache),
        "model_threads": chosen.settings.model_threads,
        "search_secs": search_secs,
    }


def _engine_chosen(fields: dict[str, Any]) -> EngineChoice:
    settings = EngineSettings(model_threads=fields["model_threads"])
    return EngineChoice(
        "synthesizer", fields["engine"], fields["model"], settings, fields["variable"], Path(fields["cache"])
    )


def _matcher(fields: dict[str, Any]) -> VoiceMatcher:
    """Loads engine and encoder. Raises Unavailable."""
    chosen = _engine_chosen(fields)
    if chosen.engine == "espeak":
        from serve.engines.tts.espeak_synthesizer import EmbeddedSynthesizer
        from serve.engines.tts.voice_matching_espeak import EspeakMatcher

        return EspeakMatcher(EmbeddedSynthesizer())
    from serve.engines.tts.kokoro import build
    from serve.engines.tts.kokoro_styles import StyleBook
    from serve.engines.tts.voice_matching_kokoro import KokoroMatcher

    book = StyleBook()
    styles = {name: book.style(name) for name in book.names}
    return KokoroMatcher(build(chosen), styles, search_secs=fields["search_secs"])


def _answer(request: Frame) -> tuple[dict[str, Any], bytes]:
    import numpy as np

    from audio.pcm import to_float
    from serve.engines.tts.reference_clip import usable

    samples = to_float(np.frombuffer(request.body, "<i2"))
    try:
        usable(samples)
        # The engine and the encoder are loaded only for a clip that can be used.
        match = _matcher(request.head).match(samples, request.head["voice_id"])
    except InvalidAudio as error:
        return {"error": {"message": error.message, "code": error.code, "param": error.param}}, b""
    return {"voice": match.voice.to_json(), "similarity": float(match.similarity)}, b""


if __name__ == "__main__":
    serve(_answer)
