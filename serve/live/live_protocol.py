"""The interface of protocols of live transcription; each protocol is a module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias

from schemas.errors import FluxionsError
from serve.live.audio_rules import AudioRules
from serve.live.live_events import LiveEvent, LiveOptions
from serve.live.stream_decoder import LiveEncoding

Message: TypeAlias = dict[str, Any]
_REASON_BYTES: Final = 123
"""Longest reason of a close frame (RFC 6455, section 5.5)."""


@dataclass(frozen=True, slots=True)
class LiveRequest:
    """A client's request at its connection."""

    options: LiveOptions
    encoding: LiveEncoding = "linear16"
    rate_hz: int = 16_000
    store: bool = False
    """Whether the audio is stored with the transcription."""
    name: str = "live"
    rules: AudioRules | None = None
    """What the protocol demands of the audio."""


@dataclass(frozen=True, slots=True)
class Command:
    """A parsed text message."""

    kind: Literal["finalize", "keep_alive", "configure", "close"]
    options: LiveOptions | None = None
    """New options of the stream, with `configure`."""


class LiveProtocol(Protocol):
    """One protocol, for one socket."""

    def command(self, text: str) -> Command:
        """Raises InvalidRequest, InvalidParameter."""
        ...

    def opened(self, request_id: str) -> list[Message]:
        """Messages at the beginning of the stream."""
        ...

    def recognized(self, event: LiveEvent) -> list[Message]:
        """Messages for an event; those for errors are from `failed`."""
        ...

    def finalized(self, *, spoken: bool) -> list[Message]:
        """Messages after a `finalize`; ``spoken``: whether it ended an utterance."""
        ...

    def closed(self, audio_secs: float, transcription_id: int | None) -> list[Message]:
        """Messages at the end of the stream, before the socket is closed."""
        ...

    def failed(self, error: FluxionsError) -> tuple[list[Message], int, str]:
        """Messages for an error, and the code and reason of the close."""
        ...


def close_reason(text: str) -> str:
    """The beginning of ``text`` that fits into a close frame as UTF-8."""
    return text.encode(errors="replace")[:_REASON_BYTES].decode(errors="ignore")
