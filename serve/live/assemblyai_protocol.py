"""AssemblyAI's streaming protocol, `/v3/ws` (SDK 1.8.2): options in the query, `Turn` messages, times in milliseconds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import orjson

from schemas.api.options import MAX_KEYTERMS, PROMPT_MAX_CHARS
from schemas.domain import RecognizeOptions, Word
from schemas.errors import FluxionsError, InvalidParameter, InvalidRequest, RateLimited, Unauthenticated
from schemas.language_names import language_code
from schemas.spacing import join_words
from serve.live.audio_rules import AudioRules
from serve.live.live_events import FinalResult, InterimResult, LiveEvent, LiveOptions, SpeechStarted
from serve.live.live_protocol import Command, LiveRequest, Message, close_reason
from serve.live.stream_decoder import LiveEncoding

_ENCODINGS: Final[dict[str, LiveEncoding]] = {"pcm_s16le": "linear16", "pcm_mulaw": "mulaw", "ogg_opus": "opus"}
_MIN_SILENCE_MS, _MAX_SILENCE_MS = 400, 1280
"""AssemblyAI's defaults: the silence that ends a turn which the end-of-turn model takes for finished, and the silence
that ends any turn.
"""
_SESSION_SECS: Final = 3 * 3600
"""The lifetime that `Begin` announces; AssemblyAI's is three hours."""
_MESSAGE_SECS: Final = (0.05, 1.0)
"""Shortest and longest audio of one message."""
_AHEAD_SECS: Final = 300.0
"""Audio that may come before its time, so that one that was kept during a lost connection can be sent."""
_REFUSED, _BROKEN, _BAD_INPUT, _TOO_MANY = 4001, 3005, 3006, 3009
_CLOSE_CODES: Final = {"audio_duration": 3007, "audio_too_fast": 3007, "session_expired": 3008, "too_long": 3008}
"""By the code of our error."""


def parse_query(query: Mapping[str, str]) -> LiveRequest:
    """The request in the query. Unknown parameters are ignored. Raises InvalidParameter."""
    name = query.get("encoding", "pcm_s16le")
    encoding = _ENCODINGS.get(name)
    if encoding is None:
        usable = ", ".join(_ENCODINGS)
        raise InvalidParameter(f"encoding: {name[:40]!r} is not supported; send {usable}", param="encoding")
    if encoding != "opus" and "sample_rate" not in query:
        raise InvalidParameter(f"sample_rate: it is required for {name}", param="sample_rate")
    options = LiveOptions(_recognize(query), speakers=_flag(query.get("speaker_labels"), "speaker_labels"))
    rate_hz = _number(query.get("sample_rate", "16000"), "sample_rate")
    sample_bytes = {"linear16": 2, "mulaw": 1}.get(encoding)
    rules = AudioRules(
        message_secs=_MESSAGE_SECS,
        bytes_per_sec=None if sample_bytes is None else sample_bytes * rate_hz,
        ahead_secs=_AHEAD_SECS,
        session_secs=_SESSION_SECS,
    )
    return LiveRequest(_with_endpoint(options, query), encoding, rate_hz, rules=rules)


class AssemblyAIProtocol:
    """See `serve.live.live_protocol.LiveProtocol`.

    A turn may consist of several final results, if it is longer than an utterance. The turn's text is complete when
    ``end_of_turn`` is true. Before that, `transcript` has the stable words, and `words` all words.
    """

    def __init__(self, query: Mapping[str, str]) -> None:
        self._query: dict[str, Any] = dict(query)
        self._speakers = query.get("speaker_labels", "").lower() == "true"
        self._request: LiveRequest | None = None
        self._earlier: tuple[Word, ...] = ()
        self._turn = 0
        self._began = time.monotonic()

    def command(self, text: str) -> Command:
        """See `LiveProtocol.command`."""
        try:
            body: Any = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise InvalidRequest("the message is not JSON; send audio as binary messages", code="invalid_json") from None
        match body.get("type") if isinstance(body, dict) else None:
            case "ForceEndpoint":
                return Command("finalize")
            case "KeepAlive":
                return Command("keep_alive")
            case "Terminate":
                return Command("close")
            case "UpdateConfiguration":
                return Command("configure", self._updated(body))
        raise InvalidParameter("type: must be ForceEndpoint, KeepAlive, UpdateConfiguration or Terminate", param="type")

    def opened(self, request_id: str) -> list[Message]:
        """See `LiveProtocol.opened`."""
        self._began = time.monotonic()
        return [{"type": "Begin", "id": request_id, "expires_at": int(time.time()) + _SESSION_SECS}]

    def recognized(self, event: LiveEvent) -> list[Message]:
        """See `LiveProtocol.recognized`."""
        match event:
            case SpeechStarted(at):
                return [{"type": "SpeechStarted", "timestamp": _ms(at)}]
            case InterimResult():
                return [self._turn_message((*self._earlier, *event.words), len(self._earlier) + event.stable)]
            case FinalResult():
                return self._final(event)
        return []

    def finalized(self, *, spoken: bool) -> list[Message]:
        """See `LiveProtocol.finalized`."""
        return []

    def closed(self, audio_secs: float, transcription_id: int | None) -> list[Message]:
        """See `LiveProtocol.closed`."""
        return [
            {
                "type": "Termination",
                "audio_duration_seconds": round(audio_secs),
                "session_duration_seconds": round(time.monotonic() - self._began),
                "transcription_id": transcription_id,
            }
        ]

    def failed(self, error: FluxionsError) -> tuple[list[Message], int, str]:
        """See `LiveProtocol.failed`."""
        if isinstance(error, Unauthenticated):
            code = _REFUSED
        elif isinstance(error, RateLimited):
            code = _TOO_MANY
        else:
            code = _CLOSE_CODES.get(error.code, _BAD_INPUT if error.status < 500 else _BROKEN)
        return [{"type": "Error", "error_code": code, "error": error.message}], code, close_reason(error.message)

    def _final(self, event: FinalResult) -> list[Message]:
        words = (*self._earlier, *event.words)
        if not event.speech_final:
            self._earlier = words
            return [self._turn_message(words, len(words))] if event.words else []
        self._earlier = ()
        if not words:
            return []
        speaker = _label(event.speaker) if self._speakers else None
        over = self._turn_message(words, len(words), end=True, confidence=event.end_confidence, speaker=speaker)
        self._turn += 1
        if not self._formats_later:
            return [over]
        plain = over | {"transcript": join_words(_plain(word.text) for word in words), "turn_is_formatted": False}
        return [plain, over] if str(self._query.get("format_turns", "")).lower() == "true" else [plain]

    @property
    def _formats_later(self) -> bool:
        """Whether the requested model first sends a turn without punctuation, and then, on request, the formatted
        turn.
        """
        return str(self._query.get("speech_model", "universal-streaming")).startswith("universal-streaming")

    def _turn_message(
        self,
        words: tuple[Word, ...],
        stable: int,
        *,
        end: bool = False,
        confidence: float = 0.0,
        speaker: str | None = None,
    ) -> Message:
        found: Message = {
            "type": "Turn",
            "turn_order": self._turn,
            "turn_is_formatted": end,
            "end_of_turn": end,
            "transcript": join_words(word.text for word in words[:stable]),
            "end_of_turn_confidence": round(confidence, 4),
            "words": [_word(word, speaker, final=place < stable) for place, word in enumerate(words)],
        }
        return found if speaker is None else {**found, "speaker_label": speaker}

    def _updated(self, body: Mapping[str, Any]) -> LiveOptions:
        """The options with the changes of an `UpdateConfiguration`. Raises InvalidParameter."""
        changed = {
            name: orjson.dumps(value).decode() if isinstance(value, list) else str(value)
            for name, value in body.items()
            if name != "type" and value is not None
        }
        self._query |= changed
        return parse_query(self._query).options


def _recognize(query: Mapping[str, str]) -> RecognizeOptions:
    codes = _texts(query, "language_codes") or ([query["language_code"]] if query.get("language_code") else [])
    language = language_code(codes[0]) if len(codes) == 1 else None
    if not codes and query.get("speech_model", "").endswith("english"):
        language = "en"
    terms = [term for term in _texts(query, "keyterms_prompt") if term.strip()]
    return RecognizeOptions(language, query.get("prompt", "")[-PROMPT_MAX_CHARS:], tuple(terms[:MAX_KEYTERMS]))


def _with_endpoint(options: LiveOptions, query: Mapping[str, str]) -> LiveOptions:
    """``options`` with silences in milliseconds, the longer of which ends any turn."""
    shortest = _number(query.get("min_turn_silence", str(_MIN_SILENCE_MS)), "min_turn_silence")
    longest = _number(query.get("max_turn_silence", str(max(_MAX_SILENCE_MS, shortest))), "max_turn_silence")
    if longest < shortest:
        raise InvalidParameter("max_turn_silence: it is shorter than min_turn_silence", param="max_turn_silence")
    return replace(
        options,
        endpoint_secs=min(max(shortest, 100), 5000) / 1000,
        unfinished_secs=min(max(longest, 100), 10_000) / 1000,
    )


def _texts(query: Mapping[str, str], name: str) -> list[str]:
    """A parameter that is a JSON list of texts. Raises InvalidParameter."""
    if not query.get(name):
        return []
    try:
        found: Any = orjson.loads(query[name])
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise InvalidParameter(f"{name}: must be a list of texts as JSON", param=name)
    return found


def _flag(text: str | None, name: str) -> bool:
    if (text or "false").lower() not in ("true", "false"):
        raise InvalidParameter(f"{name}: must be true or false", param=name)
    return (text or "").lower() == "true"


def _number(text: str, name: str) -> int:
    if not text.isdecimal() or len(text) > 6:
        raise InvalidParameter(f"{name}: {text[:20]!r} is not a whole number", param=name)
    return int(text)


def _word(word: Word, speaker: str | None, *, final: bool) -> Message:
    found: Message = {
        "text": word.text,
        "start": _ms(word.start_secs),
        "end": _ms(word.end_secs),
        "confidence": round(word.confidence, 4),
        "word_is_final": final,
    }
    return found if speaker is None else {**found, "speaker": speaker}


def _plain(text: str) -> str:
    return "".join(char for char in text.lower() if char.isalnum() or char in "'-") or text


def _label(speaker: int) -> str:
    """A, B, …, Z, A1, …"""
    letter = chr(ord("A") + speaker % 26)
    return letter if speaker < 26 else f"{letter}{speaker // 26}"


def _ms(secs: float) -> int:
    return round(secs * 1000)
