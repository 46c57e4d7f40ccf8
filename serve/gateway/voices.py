"""What a voice is called in records: its canonical id, whichever of its names a client uses."""

from __future__ import annotations

from schemas.errors import NotFound
from serve.tts.voices import find_voice


def canonical_voice(voice_id: str) -> str:
    """The id of the built-in voice ``voice_id`` means; any other id is canonical already."""
    try:
        return find_voice(voice_id).voice_id
    except NotFound:
        return voice_id
