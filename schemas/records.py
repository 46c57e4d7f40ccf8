"""Records of accounts besides transcriptions: API keys, renders, conversations and voices."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from schemas.domain import Seconds
from schemas.titles import title_of

KEY_ID: Final = "key_"
"""How ids of keys begin."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as stored: its hash, and a prefix by which people recognise it."""

    id: str
    account: str
    name: str
    prefix: str
    key_hash: str
    scopes: tuple[str, ...]
    created_at: dt.datetime
    revoked_at: dt.datetime | None = None
    ending: str | None = None
    """Its last four characters, which also help people to distinguish keys."""
    expires_at: dt.datetime | None = None
    last_used_at: dt.datetime | None = None
    updated_at: dt.datetime | None = None
    """When this state was written; None for states from before this was recorded."""

    def is_open(self, now: dt.datetime) -> bool:
        """Whether it may be used: neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class TtsRender:
    """One authenticated render; the ledger assigns its id.

    ``import_key`` is its identity within the account: recording it again changes nothing. ``created_at`` is set only for
    imported renders; otherwise it is allocated with the id.
    """

    account: str
    voice: str
    text: str
    chars: int
    audio_secs: Seconds
    cost_usd: float
    audio_key: str | None
    engine_revision: str
    temperature: float
    verified: bool = False
    chunks: int = 1
    retries: int = 0
    word_error_rate: float | None = None
    import_key: str | None = None
    created_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """One voice conversation that ended; ``session_id`` is its identity within the account."""

    account: str
    session_id: str
    started_at: dt.datetime
    ended_at: dt.datetime | None = None
    duration_secs: Seconds | None = None
    voice: str | None = None
    cost_usd: float | None = None
    created_at: dt.datetime | None = None
    turn_count: int | None = None
    """Number of its turns; None if it is that of the turns recorded with it."""
    continues: str | None = None
    """Session id of the conversation that it continues."""


@dataclass(frozen=True, slots=True)
class ConversationEnd:
    """The fields of a conversation that are known at its end.

    ``audio_key``: object with the audio of both sides, if it is stored.
    """

    ended_at: dt.datetime
    duration_secs: Seconds
    cost_usd: float | None = None
    audio_key: str | None = None


@dataclass(frozen=True, slots=True)
class TurnLatencies:
    """When an answer's steps were reached, in seconds after the end of the speech it answers; None for one that was not."""

    end_of_turn_secs: Seconds | None = None
    """The user's turn was found to be over."""
    first_token_secs: Seconds | None = None
    """The language model gave its first piece."""
    first_sound_secs: Seconds | None = None
    """The synthesiser gave its first sound."""
    first_sent_secs: Seconds | None = None
    """The first sound was sent."""


@dataclass(frozen=True, slots=True)
class ConversationTurn:
    """One turn of a conversation; ``role`` is user, assistant or system.

    Fields after ``created_at`` are known only for conversations with this server. ``text`` of the assistant is the heard
    part.
    """

    role: str
    text: str
    created_at: dt.datetime
    latencies: TurnLatencies = TurnLatencies()
    words_said: int | None = None
    """Words of the whole answer."""
    words_heard: int | None = None
    """Words of the answer that were played before the user interrupted it."""
    interrupted: bool | None = None
    start_secs: Seconds | None = None
    """Start in the recording of both sides, s; None for a written turn."""
    end_secs: Seconds | None = None


def title_of_turn(turn: ConversationTurn) -> str | None:
    """The title of a conversation in which the user said nothing before; None if this is no turn of the user's."""
    return title_of(turn.text) if turn.role == "user" else None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool invocation within a conversation; ``args`` is any JSON object."""

    tool: str
    args: dict[str, Any]
    result: str | None
    created_at: dt.datetime


@dataclass(frozen=True, slots=True)
class EndedConversation:
    """A conversation with its turns and tool calls, each in order of time."""

    conversation: Conversation
    turns: Sequence[ConversationTurn] = ()
    tool_calls: Sequence[ToolCall] = ()

    @property
    def title(self) -> str | None:
        """From what the user said first."""
        return next(filter(None, map(title_of_turn, self.turns)), None)


LiveEntry: TypeAlias = ConversationTurn | ToolCall
"""A part of a conversation that is written while the conversation is in progress."""


@dataclass(frozen=True, slots=True)
class Voice:
    """One cloned voice. ``frames`` counts 12.5 a second of the reference clip, which is 24 kHz mono WAV."""

    id: str
    account: str
    name: str
    text: str
    frames: int
    seconds: Seconds
    reference_key: str
    parameters: dict[str, Any]
    engine_revision: str
    consent_statement: str | None = None
    consent_key: str | None = None
    created_at: dt.datetime | None = None
    """Set by the ledger."""
    deleted_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class VoiceConsent:
    """A person's recorded consent to the cloning of their voice; the recording is 24 kHz mono WAV."""

    id: str
    account: str
    name: str
    language: str
    """BCP 47 tag of what is said."""
    recording_key: str
    seconds: Seconds
    created_at: dt.datetime | None = None
    """Set by the ledger."""
    deleted_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Speaker:
    """A person whose voice an account knows; clip and consent are 16 kHz mono WAV."""

    id: str
    account: str
    name: str
    reference_key: str
    seconds: Seconds
    """Length of the clip."""
    consent_statement: str | None = None
    consent_key: str | None = None
    created_at: dt.datetime | None = None
    """Set by the ledger."""
    deleted_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """An audit event: an action with its actor, its target and its origin."""

    account: str
    key_id: str
    action: str
    """The route: method and path template, such as ``DELETE /transcriptions/{job_id}``."""
    target: str
    """The path of the request."""
    status: int
    address: str
    request_id: str
