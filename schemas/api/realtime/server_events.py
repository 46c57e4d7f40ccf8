"""Every event that the server sends, without its ``event_id``, which the socket's writer adds.

docs/realtime.md has their order. Optional fields without a value are left out; null is sent only where OpenAI's server
sends it, because clients refuse it elsewhere. Source: `openai.types.realtime`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

Event: TypeAlias = dict[str, Any]
PartKind = Literal["text", "audio"]


def session_event(kind: Literal["session.created", "session.updated"], session: Mapping[str, Any]) -> Event:
    """The whole session."""
    return {"type": kind, "session": session}


def error_event(
    *, kind: str, code: str | None, message: str, param: str | None = None, event_id: str | None = None
) -> Event:
    """An error; ``event_id`` is that of the client's event. The session continues."""
    error = {"type": kind, "code": code, "message": message, "param": param, "event_id": event_id}
    return {"type": "error", "error": error}


def item_event(
    kind: Literal["conversation.item.added", "conversation.item.done"], item: Mapping[str, Any], previous: str | None
) -> Event:
    """An item was added after ``previous``, or is complete."""
    return {"type": kind, "previous_item_id": previous, "item": item}


def item_retrieved(item: Mapping[str, Any]) -> Event:
    """A retrieved item."""
    return {"type": "conversation.item.retrieved", "item": item}


def item_deleted(item_id: str) -> Event:
    """An item was deleted."""
    return {"type": "conversation.item.deleted", "item_id": item_id}


def item_truncated(item_id: str, content_index: int, audio_end_ms: int) -> Event:
    """An item was truncated to the part that was played."""
    ids = {"item_id": item_id, "content_index": content_index, "audio_end_ms": audio_end_ms}
    return {"type": "conversation.item.truncated", **ids}


def transcription_delta(item_id: str, delta: str) -> Event:
    """A part of a user's transcript."""
    kind = "conversation.item.input_audio_transcription.delta"
    return {"type": kind, "item_id": item_id, "content_index": 0, "delta": delta}


def transcription_completed(item_id: str, transcript: str, seconds: float) -> Event:
    """A user's transcript, and the duration of the audio, s."""
    usage = {"type": "duration", "seconds": round(seconds, 3)}
    kind = "conversation.item.input_audio_transcription.completed"
    return {"type": kind, "item_id": item_id, "content_index": 0, "transcript": transcript, "usage": usage}


def transcription_failed(item_id: str, code: str, message: str) -> Event:
    """Recognition of a user's audio failed."""
    kind = "conversation.item.input_audio_transcription.failed"
    error = {"type": "server_error", "code": code, "message": message}
    return {"type": kind, "item_id": item_id, "content_index": 0, "error": error}


def committed(item_id: str, previous: str | None) -> Event:
    """The buffer's audio became a user's message."""
    return {"type": "input_audio_buffer.committed", "item_id": item_id, "previous_item_id": previous}


def cleared() -> Event:
    """The buffer was cleared."""
    return {"type": "input_audio_buffer.cleared"}


def speech_started(item_id: str, audio_start_ms: int) -> Event:
    """Speech started; the time counts from the session's first sample and includes the padding."""
    return {"type": "input_audio_buffer.speech_started", "item_id": item_id, "audio_start_ms": audio_start_ms}


def speech_stopped(item_id: str, audio_end_ms: int, speech_end_ms: int) -> Event:
    """The turn ended at ``audio_end_ms``, with the silence that ended it; ``speech_end_ms`` is before the silence."""
    ends = {"audio_end_ms": audio_end_ms, "speech_end_ms": speech_end_ms}
    return {"type": "input_audio_buffer.speech_stopped", "item_id": item_id, **ends}


def timeout_triggered(item_id: str, audio_start_ms: int, audio_end_ms: int) -> Event:
    """Nobody spoke for the idle timeout."""
    span = {"audio_start_ms": audio_start_ms, "audio_end_ms": audio_end_ms}
    return {"type": "input_audio_buffer.timeout_triggered", "item_id": item_id, **span}


def response_event(kind: Literal["response.created", "response.done"], response: Mapping[str, Any]) -> Event:
    """A response began or ended."""
    return {"type": kind, "response": response}


def rate_limits_updated() -> Event:
    """After a response. The list is empty, because nothing within a session has a limit of requests or tokens."""
    return {"type": "rate_limits.updated", "rate_limits": []}


def output_item_event(
    kind: Literal["response.output_item.added", "response.output_item.done"],
    response_id: str,
    index: int,
    item: Mapping[str, Any],
) -> Event:
    """An item of a response began or ended."""
    return {"type": kind, "response_id": response_id, "output_index": index, "item": item}


class OutputContent:
    """Events of one output item's content, with its ids."""

    def __init__(self, response_id: str, item_id: str, output_index: int) -> None:
        self._item = {"response_id": response_id, "item_id": item_id, "output_index": output_index}
        self._ids = {**self._item, "content_index": 0}

    def part(
        self, kind: Literal["response.content_part.added", "response.content_part.done"], part: PartKind, text: str
    ) -> Event:
        """A part began or ended; ``text`` is its text, or the transcript of its audio."""
        named = {"type": part, "text" if part == "text" else "transcript": text}
        return {"type": kind, **self._ids, "part": named}

    def text_delta(self, delta: str) -> Event:
        """More text."""
        return {"type": "response.output_text.delta", **self._ids, "delta": delta}

    def text_done(self, text: str) -> Event:
        """All of the text."""
        return {"type": "response.output_text.done", **self._ids, "text": text}

    def transcript_delta(self, delta: str) -> Event:
        """A part of the audio's transcript."""
        return {"type": "response.output_audio_transcript.delta", **self._ids, "delta": delta}

    def transcript_done(self, transcript: str) -> Event:
        """The audio's transcript."""
        return {"type": "response.output_audio_transcript.done", **self._ids, "transcript": transcript}

    def audio_delta(self, audio: str) -> Event:
        """A part of the audio in the output format, base64."""
        return {"type": "response.output_audio.delta", **self._ids, "delta": audio}

    def audio_done(self) -> Event:
        """The end of the audio."""
        return {"type": "response.output_audio.done", **self._ids}

    def arguments_delta(self, call_id: str, delta: str) -> Event:
        """A part of a call's arguments."""
        return {"type": "response.function_call_arguments.delta", **self._item, "call_id": call_id, "delta": delta}

    def arguments_done(self, call_id: str, name: str, arguments: str) -> Event:
        """All of a call's arguments."""
        call = {"call_id": call_id, "name": name, "arguments": arguments}
        return {"type": "response.function_call_arguments.done", **self._item, **call}


def usage_body(input_tokens: int, cached_tokens: int, output_tokens: int) -> dict[str, Any]:
    """The usage of a response. All tokens are text tokens of the language model."""
    nothing = {"audio_tokens": 0, "image_tokens": 0}
    cached = {"text_tokens": cached_tokens, **nothing}
    return {
        "total_tokens": input_tokens + output_tokens,
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "input_token_details": {
            "text_tokens": input_tokens,
            **nothing,
            "cached_tokens": cached_tokens,
            "cached_tokens_details": cached,
        },
        "output_token_details": {"text_tokens": output_tokens, "audio_tokens": 0},
    }


def response_body(
    *,
    response_id: str,
    status: str,
    details: Mapping[str, Any] | None,
    output: Sequence[Mapping[str, Any]],
    conversation_id: str | None,
    modality: str,
    max_output_tokens: int | str,
    audio: Mapping[str, Any],
    metadata: Mapping[str, str] | None,
    usage: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """A response, in progress or ended. ``audio`` has the format and voice of the output."""
    return {
        "object": "realtime.response",
        "id": response_id,
        "status": status,
        "status_details": details,
        "output": list(output),
        "conversation_id": conversation_id,
        "output_modalities": [modality],
        "max_output_tokens": max_output_tokens,
        "audio": {"output": audio},
        "metadata": metadata,
        "usage": usage,
    }
