"""Rules of a protocol about the audio of a stream: lengths of its messages, its pace, and the length of the session."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.domain import Seconds
from schemas.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class AudioRules:
    """What a protocol demands."""

    message_secs: tuple[Seconds, Seconds]
    """Shortest and longest audio of a message; the last one of a stream may be shorter."""
    bytes_per_sec: int | None
    """Of bare samples; None for a container, whose messages may be cut anywhere."""
    ahead_secs: Seconds
    """Most audio that may have come before its time."""
    session_secs: Seconds
    """Longest time from the begin of the stream to its end."""


class AudioCheck:
    """Checks one stream; times are those of a monotonic clock."""

    def __init__(self, rules: AudioRules, now: Seconds) -> None:
        self._rules = rules
        self._began = now
        self._short_secs: Seconds | None = None

    def message(self, num_bytes: int) -> None:
        """Raises InvalidRequest(code="audio_duration") for a message that is too long or follows one that was too short."""
        if self._rules.bytes_per_sec is None:
            return
        secs = num_bytes / self._rules.bytes_per_sec
        shortest, longest = self._rules.message_secs
        wrong = secs if secs > longest else self._short_secs
        if wrong is not None:
            expected = f"Expected between {shortest * 1000:.0f} and {longest * 1000:.0f} ms"
            message = f"Input Duration Error: Input Duration Violation: {wrong * 1000:.1f} ms. {expected}"
            raise InvalidRequest(message, code="audio_duration")
        self._short_secs = secs if secs < shortest else None

    def pace(self, audio_secs: Seconds, now: Seconds) -> None:
        """Raises InvalidRequest(code="audio_too_fast") if ``audio_secs`` came far before their time."""
        elapsed = now - self._began
        if audio_secs > elapsed + self._rules.ahead_secs:
            message = f"Audio Transmission Rate Exceeded: Received {audio_secs:.1f} sec. audio in {elapsed:.1f} sec"
            raise InvalidRequest(message, code="audio_too_fast")

    def left_secs(self, now: Seconds) -> Seconds:
        """Time until the session ends. Raises InvalidRequest(code="session_expired") if it is over."""
        left = self._began + self._rules.session_secs - now
        if left <= 0:
            raise InvalidRequest("Session Expired: Maximum session duration exceeded", code="session_expired")
        return left
