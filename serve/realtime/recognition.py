"""Recognises the speech of a session with the platform's recogniser."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import numpy as np

from audio.pcm import to_float
from audio.vad import FRAME_SAMPLES, VoiceActivity
from schemas.api.realtime.session_config import Transcription
from schemas.domain import AS_SPOKEN, RecognizeOptions, Seconds, Word
from schemas.errors import FluxionsError, InvalidRequest
from schemas.spacing import join_words
from serve.engines.tts.text.phrase_words import may_end_phrase
from serve.realtime.conversation_engines import RecognizingEngines
from serve.realtime.turn_transcript import TurnTranscript

_ENDS: Final = (".", "?", "!", "。", "？", "！", "।")
_ELLIPSIS: Final = "..."
"""The marks that Whisper writes after an interrupted sentence."""


class Recognition:
    """The recogniser of one session, with its hints about language and words."""

    def __init__(self, engines: RecognizingEngines, activity: VoiceActivity, window_secs: Seconds) -> None:
        self._engines = engines
        self._activity = activity
        self._window_secs = window_secs
        self._options = AS_SPOKEN
        self._language = "en"
        """Language of the latest recognised speech."""
        self._punctuates = False
        """Whether the recogniser writes punctuation."""

    def configure(self, settings: Transcription | None) -> None:
        """Set the hints."""
        self._options = _options(settings)

    async def check(self, settings: Transcription | None) -> None:
        """Raises InvalidRequest, naming the field, for hints that the recogniser does not support."""
        options = _options(settings)
        if options == AS_SPOKEN:
            return
        try:
            await self._engines.check_options(options)
        except FluxionsError as error:
            if error.param is None:
                raise
            param = f"session.audio.input.transcription.{error.param}"
            raise InvalidRequest(f"{param}: {error.message}", code="invalid_value", param=param) from None

    async def text(self, pcm: bytes) -> str:
        """The text of one utterance, s16le at 16 kHz mono. Raises EngineFailure, Unavailable."""
        return join_words(word.text for word in await self.words(pcm)).strip()

    async def words(self, pcm: bytes) -> Sequence[Word]:
        """The words of one utterance, with times from the start of the utterance. Raises EngineFailure, Unavailable."""
        found = await self._engines.recognize(pcm, "interactive", self._options)
        self._language = found.language or self._language
        self._punctuates = found.punctuated
        return found.words

    def ends_sentence(self, words: str) -> bool | None:
        """Whether recognised words end a sentence; None if the words do not tell.

        Without punctuation, a final word such as "the", "until" or "from" means that the sentence continues.
        """
        words = words.rstrip()
        if not words:
            return None
        if words.endswith(_ENDS):
            return not words.endswith(_ELLIPSIS)
        return False if self._punctuates or not may_end_phrase(words, len(words), self._language) else None

    async def of_sound(self, pcm: bytes) -> str:
        """The text of audio of any length, s16le at 16 kHz mono. Raises EngineFailure, Unavailable."""
        samples = np.frombuffer(pcm, "<i2")
        probabilities = await asyncio.to_thread(self._activity.probabilities, to_float(samples))
        transcript = TurnTranscript(self.text, self._window_secs)
        for place, probability in enumerate(probabilities.tolist()):
            frame = samples[place * FRAME_SAMPLES : (place + 1) * FRAME_SAMPLES]
            transcript.add(np.pad(frame, (0, FRAME_SAMPLES - len(frame))), probability)
        return await transcript.text()


def _options(settings: Transcription | None) -> RecognizeOptions:
    if settings is None:
        return AS_SPOKEN
    # Recognition ignores regions, as in en-US.
    language = settings.language.partition("-")[0] if settings.language else None
    return RecognizeOptions(language, settings.prompt or "")
