"""Voice matching in a process of its own: it keeps a core busy for seconds, and the encoder's 250 MB only as long.

``python -m serve.tts.match_process VOICE_ID`` reads s16le PCM at 24 kHz mono from its input until its end, and writes one
JSON object: ``{"voice": ..., "similarity": ...}``, or ``{"error": {"message", "code", "param"}}`` for a useless clip.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from schemas.engines import VoiceProfile
from schemas.errors import EngineFailure, InvalidAudio
from serve.processes import module_env


async def match_voice(pcm: bytes, voice_id: str) -> tuple[VoiceProfile, float]:
    """The voice nearest to s16le PCM at 24 kHz of one person, and the cosine of the two voiceprints.

    Takes some seconds; cancelling it ends the process. Raises InvalidAudio, EngineFailure.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "serve.tts.match_process",
        voice_id,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=module_env(),
    )
    try:
        answer, _ = await child.communicate(pcm)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0:
        raise EngineFailure(f"voice matching ended with status {child.returncode}")
    found: dict[str, Any] = json.loads(answer)
    if error := found.get("error"):
        raise InvalidAudio(error["message"], code=error["code"], param=error["param"])
    return VoiceProfile.from_json(found["voice"]), float(found["similarity"])


def main() -> None:
    import numpy as np

    from audio.pcm import to_float
    from serve.tts.reference import usable

    samples = to_float(np.frombuffer(sys.stdin.buffer.read(), "<i2"))
    try:
        usable(samples)
        # Only now, so that a clip that is no use is refused before the encoder loads.
        from serve.tts.embedded import EmbeddedSynthesizer
        from serve.tts.matching import VoiceMatcher

        match = VoiceMatcher(EmbeddedSynthesizer()).match(samples, sys.argv[1])
        answer: dict[str, Any] = {"voice": match.voice.to_json(), "similarity": match.similarity}
    except InvalidAudio as error:
        answer = {"error": {"message": error.message, "code": error.code, "param": error.param}}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
