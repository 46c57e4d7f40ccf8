"""Deepgram's protocol of `/v1/listen` (SDK 7.17): options in the query, audio from the first message on, `Results`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

import orjson

from schemas.domain import RecognizeOptions, Word
from schemas.errors import FluxionsError, InvalidParameter, InvalidRequest
from schemas.language_names import language_code
from schemas.spacing import join_words
from serve.live.live_events import FinalResult, InterimResult, LiveEvent, LiveOptions, SpeechStarted
from serve.live.live_protocol import Command, LiveRequest, Message, close_reason
from serve.live.stream_decoder import LiveEncoding

_ENCODINGS: Final[dict[str, LiveEncoding]] = {
    "linear16": "linear16",
    "mulaw": "mulaw",
    "alaw": "alaw",
    "opus": "opus",
    "ogg-opus": "opus",
}
_BAD_INPUT = 1008
_BROKEN = 1011
"""Close code of errors. As with Deepgram, an idle stream is closed with this code too."""


def parse_query(query: Mapping[str, str], keyterms: list[str]) -> LiveRequest:
    """The request in the query. Raises InvalidParameter."""
    # Without an encoding, Deepgram expects audio in a container.
    encoding = _ENCODINGS.get(query["encoding"]) if query.get("encoding") else "detect"
    if encoding is None:
        usable = ", ".join(_ENCODINGS)
        raise InvalidParameter(
            f"encoding: {query['encoding'][:40]!r} is not supported for live audio; send {usable}", param="encoding"
        )
    if query.get("channels", "1") != "1" or _flag(query, "multichannel"):
        raise InvalidParameter("channels: live audio must have one channel", param="channels")
    language = query.get("language", "")
    known = None if language in ("", "multi") else language_code(language)
    endpoint_ms = 500 if query.get("endpointing") in (None, "true", "false") else _number(query, "endpointing", 500)
    speakers = _flag(query, "diarize") or "diarize_model" in query
    recognize = RecognizeOptions(known, "", tuple(keyterms[:100]))
    options = LiveOptions(
        recognize, _flag(query, "interim_results"), min(max(endpoint_ms, 100), 5000) / 1000, speakers=speakers
    )
    return LiveRequest(options, encoding, _number(query, "sample_rate", 16_000), name=query.get("tag", "live")[:255])


class DeepgramProtocol:
    """See `serve.live.live_protocol.LiveProtocol`."""

    def __init__(self, query: Mapping[str, str]) -> None:
        self._speakers = _flag(query, "diarize") or "diarize_model" in query
        self._vad_events = _flag(query, "vad_events")
        self._utterance_ends = "utterance_end_ms" in query
        self._model = query.get("model", "")[:100]
        self._request_id = ""
        self._audio_secs = 0.0

    def command(self, text: str) -> Command:
        """See `LiveProtocol.command`."""
        try:
            body: Any = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise InvalidRequest("the message is not JSON; send audio as binary messages") from None
        match body.get("type") if isinstance(body, dict) else None:
            case "Finalize":
                return Command("finalize")
            case "KeepAlive":
                return Command("keep_alive")
            case "CloseStream":
                return Command("close")
        raise InvalidRequest("type must be Finalize, KeepAlive or CloseStream")

    def opened(self, request_id: str) -> list[Message]:
        """See `LiveProtocol.opened`."""
        self._request_id = request_id
        return []

    def recognized(self, event: LiveEvent) -> list[Message]:
        """See `LiveProtocol.recognized`."""
        match event:
            case SpeechStarted(at):
                began = {"type": "SpeechStarted", "channel": [0], "timestamp": round(at, 3)}
                return [began] if self._vad_events else []
            case InterimResult():
                return [self._results(event.start_secs, event.end_secs, event.words, None)]
            case FinalResult():
                speaker = event.speaker if self._speakers else None
                found = self._results(event.start_secs, event.end_secs, event.words, speaker)
                found |= {"is_final": True, "speech_final": event.speech_final and not event.by_client}
                found["from_finalize"] = event.by_client
                ended = {"type": "UtteranceEnd", "channel": [0], "last_word_end": found["start"] + found["duration"]}
                return [found, ended] if self._utterance_ends and event.speech_final and event.words else [found]
        return []

    def finalized(self, *, spoken: bool) -> list[Message]:
        """See `LiveProtocol.finalized`."""
        if spoken:
            return []
        empty = self._results(self._audio_secs, self._audio_secs, (), None)
        return [{**empty, "is_final": True, "from_finalize": True}]

    def closed(self, audio_secs: float, transcription_id: int | None) -> list[Message]:
        """See `LiveProtocol.closed`."""
        return [
            {
                "type": "Metadata",
                "transaction_key": "deprecated",
                "request_id": self._request_id,
                "sha256": "",
                "created": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "duration": round(audio_secs, 3),
                "channels": 1,
                "transcription_id": transcription_id,
            }
        ]

    def failed(self, error: FluxionsError) -> tuple[list[Message], int, str]:
        """See `LiveProtocol.failed`."""
        if error.code == "idle_timeout":
            return [], _BROKEN, close_reason(f"NET-0001: {error.message}")
        return [], _BAD_INPUT if error.status < 500 else _BROKEN, close_reason(f"DATA-0000: {error.message}")

    def _results(self, start: float, end: float, words: tuple[Word, ...], speaker: int | None) -> Message:
        self._audio_secs = end
        text = join_words(word.text for word in words)
        confidence = round(sum(word.confidence for word in words) / len(words), 4) if words else 0.0
        alternative = {"transcript": text, "confidence": confidence, "words": [_word(word, speaker) for word in words]}
        return {
            "type": "Results",
            "channel_index": [0, 1],
            "duration": round(end - start, 3),
            "start": round(start, 3),
            "is_final": False,
            "speech_final": False,
            "channel": {"alternatives": [alternative]},
            "metadata": {
                "request_id": self._request_id,
                "model_info": {"name": self._model, "version": "", "arch": ""},
                "model_uuid": "",
            },
            "from_finalize": False,
        }


def _word(word: Word, speaker: int | None) -> Message:
    plain = "".join(char for char in word.text.lower() if char.isalnum() or char in "'-")
    found: Message = {
        "word": plain or word.text,
        "start": round(word.start_secs, 3),
        "end": round(word.end_secs, 3),
        "confidence": round(word.confidence, 4),
        "punctuated_word": word.text,
    }
    return found if speaker is None else {**found, "speaker": speaker}


def _flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "false").lower() == "true"


def _number(query: Mapping[str, str], name: str, usual: int) -> int:
    text = query.get(name, str(usual))
    if not text.isdecimal() or len(text) > 6:
        raise InvalidParameter(f"{name}: {text[:20]!r} is no whole number", param=name)
    return int(text)
