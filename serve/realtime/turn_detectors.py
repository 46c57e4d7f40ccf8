"""Creates the turn detector of a session's settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np

from audio.pcm import to_float
from schemas.api.realtime.session_config import AudioInput, SemanticVad, ServerVad
from schemas.errors import InvalidRequest
from schemas.turn_taking import END_OF_TURN_SECS, EndOfTurnDetector
from serve.realtime.hearing import Hearing
from serve.realtime.semantic_detector import SemanticDetector
from serve.realtime.turn_detector import ServerVadDetector, TurnDetector

EndsSentence = Callable[[str], bool | None]
"""Tells whether words end a sentence; None if the words do not tell."""
_SILENT_FRAMES: Final = 2
"""Silence that is passed to the model, .06 s: voice activity ends some frames after speech."""
_WITHIN: Final = 0.4
"""Factor of the probability for words that stop within a sentence: such a turn does not end soon."""
_AFTER: Final = 0.25
"""Least probability after a whole sentence: such a turn does not wait long."""


def check_detection(end_of_turn: EndOfTurnDetector | None, settings: AudioInput) -> None:
    """Raises InvalidRequest for semantic detection if its model is not installed."""
    if isinstance(settings.turn_detection, SemanticVad) and end_of_turn is None:
        param = "session.audio.input.turn_detection.type"
        raise InvalidRequest(
            f"{param}: semantic_vad needs a model that is not installed here; use server_vad, or `make setup`",
            code="invalid_value",
            param=param,
        )


def detector_of(
    end_of_turn: EndOfTurnDetector | None, ends_sentence: EndsSentence, settings: AudioInput, hearing: Hearing
) -> TurnDetector | None:
    """The detector, from the next frame on; None if the client commits turns itself.

    ``ends_sentence`` tells whether the turn's words end a sentence.

    Raises InvalidRequest as `check_detection`.
    """
    turns = settings.turn_detection
    if turns is None:
        return None
    if isinstance(turns, ServerVad):
        return ServerVadDetector(turns, hearing.next_frame)
    check_detection(end_of_turn, settings)
    assert end_of_turn is not None  # noqa: S101 - checked
    return SemanticDetector(turns, hearing.next_frame, partial(_finished, end_of_turn, ends_sentence, hearing))


async def _finished(end_of_turn: EndOfTurnDetector, ends_sentence: EndsSentence, hearing: Hearing) -> float:
    """The probability that the turn has ended, by its audio and its words.

    The model takes about 50 ms of a core, outside the event loop. The recognition of the words began with the silence,
    and a response needs the words in any case.
    """
    heard = to_float(np.frombuffer(hearing.latest(END_OF_TURN_SECS, _SILENT_FRAMES), "<i2"))
    probability = await asyncio.to_thread(end_of_turn.probability, heard)
    whole = ends_sentence(await hearing.words())
    if whole is None:
        return probability
    return max(_AFTER, probability) if whole else _WITHIN * probability
