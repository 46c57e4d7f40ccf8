"""Cloned voices in the form the synthesiser needs: a profile that was matched, or the clip itself as a prompt."""

from __future__ import annotations

import io
import wave
from dataclasses import replace
from functools import cached_property
from typing import Final

from lakehouse.storage.objects import Objects
from schemas.domain import SPEECH_RATE_HZ, Seconds
from schemas.errors import InvalidRequest
from schemas.records import Voice
from schemas.settings import Settings
from schemas.speech import VoiceProfile, VoicePrompt
from serve.engines.registry import choice, describe_slot
from serve.engines.tts.voices import fits

_CLONE_AGAIN: Final = "this voice was made for another synthesiser than the present one; clone its clip again"


class Prompts:
    """Prompts for the synthesiser of this server."""

    def __init__(self, settings: Settings, objects: Objects) -> None:
        self._settings = settings
        self._objects = objects
        self._engine = choice(settings, "synthesizer").engine

    @cached_property
    def longest_secs(self) -> Seconds:
        """Longest prompt that the synthesiser takes, s; 0 if it takes none. Raises Unavailable."""
        return float(describe_slot(self._settings, "synthesizer").capabilities["prompt_secs"])

    async def profile(self, voice: Voice) -> VoiceProfile:
        """The profile of ``voice``, with its prompt if needed. Raises InvalidRequest for a voice of another engine."""
        profile = VoiceProfile.from_json(voice.parameters["profile"])
        if not self.longest_secs:
            if not fits(profile, self._engine):
                raise InvalidRequest(_CLONE_AGAIN, code="voice_of_another_engine", param="voice")
            return profile
        # A short clip is its own prompt, also for a voice that was made for an engine without prompts.
        prompt = voice.parameters.get("prompt", {"secs": voice.seconds, "text": voice.text})
        if prompt["secs"] > self.longest_secs:
            raise InvalidRequest(_CLONE_AGAIN, code="voice_of_another_engine", param="voice")
        clip = await self._objects.get_bytes(voice.reference_key)
        with wave.open(io.BytesIO(clip)) as file:
            pcm = file.readframes(round(prompt["secs"] * SPEECH_RATE_HZ))
        return replace(profile, prompt=VoicePrompt(pcm, prompt["text"]))
