"""Cloned voices as the engine that speaks wants them: a profile it was matched to, or the clip itself as a prompt."""

from __future__ import annotations

import io
import wave
from dataclasses import replace
from functools import cached_property
from typing import Final

from lakehouse.objects import Objects
from schemas.domain import SPEECH_RATE_HZ, Seconds, Voice
from schemas.engines import VoiceProfile, VoicePrompt
from schemas.errors import InvalidRequest
from schemas.settings import Settings
from serve.engines import describe_slot

_CLONE_AGAIN: Final = "this voice was made for another synthesiser than the one that serves now; clone its clip again"


class Prompts:
    """Prompts of the synthesiser that is chosen."""

    def __init__(self, settings: Settings, objects: Objects) -> None:
        self._settings = settings
        self._objects = objects

    @cached_property
    def longest_secs(self) -> Seconds:
        """Longest prompt that the synthesiser speaks on from; 0 where it needs none. Raises Unavailable."""
        return float(describe_slot(self._settings, "synthesizer").capabilities["prompt_secs"])

    async def profile(self, voice: Voice) -> VoiceProfile:
        """``voice`` with all the synthesiser needs. Raises InvalidRequest for one made for another kind, Unavailable."""
        profile = VoiceProfile.from_json(voice.parameters["profile"])
        if not self.longest_secs:
            if not profile.base:
                raise InvalidRequest(_CLONE_AGAIN, code="voice_of_another_engine", param="voice")
            return profile
        # A short clip is its own prompt, also of a voice that was made for an engine without.
        prompt = voice.parameters.get("prompt", {"secs": voice.seconds, "text": voice.text})
        if prompt["secs"] > self.longest_secs:
            raise InvalidRequest(_CLONE_AGAIN, code="voice_of_another_engine", param="voice")
        clip = await self._objects.get_bytes(voice.reference_key)
        with wave.open(io.BytesIO(clip)) as file:
            pcm = file.readframes(round(prompt["secs"] * SPEECH_RATE_HZ))
        return replace(profile, prompt=VoicePrompt(pcm, prompt["text"]))
