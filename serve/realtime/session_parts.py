"""The engines, voices and limits of a session, passed by its creator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from audio.vad import VoiceActivity
from schemas.domain import Seconds
from schemas.errors import InvalidRequest, NotFound
from schemas.settings import RealtimeSettings
from schemas.speech import VoiceProfile
from schemas.turn_taking import EndOfTurnDetector
from serve.realtime.conversation_engines import ConversationEngines
from serve.realtime.conversation_log import ConversationLog
from serve.realtime.paced_render import Paces, as_rendered

FindVoice = Callable[[str], Awaitable[VoiceProfile]]
"""Finds a voice of the account, or a built-in one. Raises NotFound, InvalidRequest."""


@dataclass(frozen=True, slots=True)
class SessionParts:
    """The parts of one session of one account."""

    engines: ConversationEngines
    activity: VoiceActivity
    end_of_turn: EndOfTurnDetector | None
    """The model of semantic turn detection; None if it is not installed."""
    voice: FindVoice
    settings: RealtimeSettings
    window_secs: Seconds
    """Longest utterance that the recogniser accepts."""
    clock: Callable[[], Seconds]
    """A monotonic clock, s."""
    paces: Paces = as_rendered
    log: ConversationLog | None = None
    """The record in the account's history; None if the session is not recorded."""


async def check_voice(find: FindVoice, voice_id: str) -> None:
    """Raises InvalidRequest, naming the session's field, for an unknown voice."""
    try:
        await find(voice_id)
    except (NotFound, InvalidRequest) as error:
        param = "session.audio.output.voice"
        raise InvalidRequest(f"{param}: {error.message}", code="invalid_value", param=param) from None
