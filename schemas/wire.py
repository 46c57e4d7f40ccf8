"""How audio and arrays travel between the worker and the gateway: a JSON head and a binary tail in one body.

``uint32 little-endian length of the head | head as UTF-8 JSON | tail``. Numbers in arrays are little-endian.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from schemas.domain import Recognition, SoundEvent, Span, Turn, Word
from schemas.engines import VoiceWindows
from schemas.errors import InvalidRequest

MEDIA_TYPE = "application/x-fluxions"
_HEAD_MAX_BYTES = 8 * 1024 * 1024


def pack(head: dict[str, Any], *tail: bytes) -> bytes:
    """A packed body: the length of ``head`` as JSON, the JSON, then the bytes of ``tail``."""
    encoded = orjson.dumps(head, option=orjson.OPT_SERIALIZE_NUMPY)
    return b"".join((struct.pack("<I", len(encoded)), encoded, *tail))


def unpack(body: bytes, head_max_bytes: int = _HEAD_MAX_BYTES) -> tuple[dict[str, Any], memoryview]:
    """Head and tail of a packed body. Raises InvalidRequest for bytes that are none."""
    if len(body) < 4:
        raise InvalidRequest("the body is shorter than its 4-byte header", code="bad_frame")
    (length,) = struct.unpack_from("<I", body)
    if length > min(head_max_bytes, len(body) - 4):
        raise InvalidRequest(f"the body declares a head of {length} bytes and does not hold it", code="bad_frame")
    try:
        head = orjson.loads(body[4 : 4 + length])
    except ValueError as error:
        raise InvalidRequest("the head of the body is not JSON", code="bad_frame") from error
    if not isinstance(head, dict):
        raise InvalidRequest("the head of the body is not a JSON object", code="bad_frame")
    return head, memoryview(body)[4 + length :]


def portions(tail: memoryview, sizes: Sequence[int]) -> list[memoryview]:
    """``tail`` cut into pieces of ``sizes`` bytes. Raises InvalidRequest unless they are all of it."""
    if min(sizes, default=0) < 0 or sum(sizes) != len(tail):
        raise InvalidRequest(f"the head declares {sum(sizes)} bytes behind it, not {len(tail)}", code="bad_frame")
    ends = list(itertools.accumulate(sizes))
    return [tail[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def spans_to_json(spans: Sequence[Span]) -> list[list[float]]:
    """Spans as ``[start_secs, end_secs]`` pairs."""
    return [[round(s.start_secs, 4), round(s.end_secs, 4)] for s in spans]


def spans_from_json(rows: Sequence[Sequence[float]]) -> list[Span]:
    """The inverse of `spans_to_json`."""
    return [Span(float(a), float(b)) for a, b in rows]


def turns_to_json(turns: Sequence[Turn]) -> list[list[float]]:
    """Turns as lists; times in seconds."""
    return [[t.speaker, round(t.start_secs, 4), round(t.end_secs, 4), int(t.overlap)] for t in turns]


def turns_from_json(rows: Sequence[Sequence[float]]) -> list[Turn]:
    """The inverse of `turns_to_json`."""
    return [Turn(int(s), float(a), float(b), bool(overlap)) for s, a, b, overlap in rows]


def events_to_json(events: Sequence[SoundEvent]) -> list[list[Any]]:
    """Events as ``[tag, start_secs, end_secs, confidence]`` lists."""
    return [[e.tag, round(e.start_secs, 4), round(e.end_secs, 4), round(e.confidence, 5)] for e in events]


def events_from_json(rows: Sequence[Sequence[Any]]) -> list[SoundEvent]:
    """The inverse of `events_to_json`. Events have no speaker yet; they get one together with the words."""
    return [SoundEvent(str(tag), float(a), float(b), float(confidence)) for tag, a, b, confidence in rows]


def recognition_to_json(recognition: Recognition) -> dict[str, Any]:
    """A recognition with its words as ``[text, start_secs, end_secs, confidence]`` lists."""
    words = [[w.text, round(w.start_secs, 4), round(w.end_secs, 4), round(w.confidence, 5)] for w in recognition.words]
    return {
        "words": words,
        "language": recognition.language,
        "punctuated": recognition.punctuated,
        "language_probability": recognition.language_probability,
        "engine_secs": round(recognition.engine_secs, 6),
    }


def recognition_from_json(data: dict[str, Any]) -> Recognition:
    """The inverse of `recognition_to_json`."""
    words = tuple(Word(str(w[0]), float(w[1]), float(w[2]), float(w[3])) for w in data["words"])
    return Recognition(
        words=words,
        language=data["language"],
        punctuated=bool(data["punctuated"]),
        language_probability=data["language_probability"],
        engine_secs=float(data["engine_secs"]),
    )


def windows_to_bytes(windows: Sequence[VoiceWindows], **head: Any) -> bytes:
    """Windows of any number of blocks as a packed body; ``head`` has further fields for its JSON head."""
    blocks = [[*w.embeddings.shape, len(w.activity), w.start_secs] for w in windows]
    arrays = [a for w in windows for a in (w.centers_secs.astype("<f8"), w.embeddings.astype("<f4"), w.activity)]
    narrow = [w.narrow for w in windows]
    return pack({**head, "blocks": blocks, "narrow": narrow}, b"".join(array.tobytes() for array in arrays))


def windows_from_bytes(body: bytes) -> list[VoiceWindows]:
    """The inverse of `windows_to_bytes`. Raises InvalidRequest, KeyError or ValueError for other bytes."""
    head, tail = unpack(body)
    windows: list[VoiceWindows] = []
    at = 0
    narrow = head.get("narrow") or [False] * len(head["blocks"])
    for (rows, dim, frames, start_secs), is_narrow in zip(head["blocks"], narrow, strict=True):
        centers = np.frombuffer(tail, "<f8", rows, at).astype(np.float64)
        at += 8 * rows
        embeddings = np.frombuffer(tail, "<f4", rows * dim, at).astype(np.float32).reshape(rows, dim)
        at += 4 * rows * dim
        columns = rows if frames else 0
        activity = np.frombuffer(tail, np.uint8, frames * columns, at).reshape(frames, columns)
        at += frames * columns
        windows.append(VoiceWindows(centers, embeddings, activity, float(start_secs), bool(is_narrow)))
    return windows
