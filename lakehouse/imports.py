"""Converts lines of an import to domain values. Fields that a line lacks are left empty.

A render or transcription is identified by its id and time, or by its whole content if it has no id; a conversation by its
session. Recordings are not imported: links in a line belong to the system it comes from.
"""

from __future__ import annotations

import codecs
import hashlib
import json
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ValidationError

from lakehouse.storage.result_objects import result_key
from schemas.api.imports import ConversationLine, SegmentLine, TranscriptionLine, TtsLine
from schemas.domain import Job, JobOptions, JobStatus, Segment, SoundEvent, Transcript, Word
from schemas.records import Conversation, ConversationTurn, EndedConversation, ToolCall, TtsRender
from schemas.times import iso

Kind = Literal["conversations", "transcriptions", "tts"]

ENGINE_REVISION = "imported"
_LINES: dict[Kind, type[BaseModel]] = {
    "conversations": ConversationLine,
    "transcriptions": TranscriptionLine,
    "tts": TtsLine,
}


def parse_line(kind: Kind, line: bytes) -> tuple[Any, str]:
    """(the line as its model, its identity). Raises ValueError, which names the field that is wrong and why."""
    try:
        # Editors on Windows begin a file with a byte order mark. A concatenation of files may contain one in the middle.
        data = orjson.loads(line.removeprefix(codecs.BOM_UTF8))
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from None
    if not isinstance(data, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - one kind of error for any fault of a line
    try:
        parsed = _LINES[kind].model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "object"
        raise ValueError(f"{where}: {first['msg']}") from None
    return parsed, _identity(parsed, data)


def render(account: str, line: TtsLine, identity: str) -> TtsRender:
    """A line of renders as a render of the account."""
    return TtsRender(
        account=account,
        voice=line.voice,
        text=line.text,
        chars=len(line.text) if line.chars is None else line.chars,
        audio_secs=line.audio_secs,
        cost_usd=line.cost_usd or 0.0,
        audio_key=None,
        engine_revision=ENGINE_REVISION,
        temperature=0.0,
        import_key=identity,
        created_at=line.created_at,
    )


def conversation(account: str, line: ConversationLine) -> EndedConversation:
    """A line of conversations as a conversation of the account, with its turns and tool calls."""
    began = line.started_at or line.created_at
    return EndedConversation(
        Conversation(
            account=account,
            session_id=line.id,
            started_at=began,
            ended_at=line.ended_at,
            duration_secs=_duration(line),
            voice=line.voice,
            cost_usd=line.cost_usd,
            created_at=line.created_at,
            turn_count=line.turn_count,
        ),
        tuple(ConversationTurn(turn.role, turn.text, turn.created_at) for turn in line.turns),
        tuple(ToolCall(call.tool, call.args, call.result, call.created_at) for call in line.tool_calls),
    )


def transcription(account: str, line: TranscriptionLine, identity: str) -> tuple[Job, Transcript | None]:
    """The finished job, with id 0, and its result, which must be stored under the job's ``result_key`` first."""
    transcript = _transcript(line) if line.status == "completed" else None
    job = Job(
        id=0,
        account=account,
        status=JobStatus(line.status),
        created_at=line.created_at,
        updated_at=line.updated_at or line.created_at,
        filename=line.filename,
        content_type="application/octet-stream",
        sha256=hashlib.sha256(identity.encode()).hexdigest(),
        size_bytes=0,
        audio_key="",
        options=JobOptions(non_speech=line.non_speech),
        use_cache=False,
        error_message=line.error_message,
        engine_revision=ENGINE_REVISION,
        result_key=result_key(account, f"import-{identity[:32]}") if transcript else None,
        audio_duration_secs=line.audio_duration_secs,
        audio_format=line.audio_format,
        processing_secs=line.processing_secs,
        language=line.language,
        num_chunks=line.num_chunks,
        num_segments=len(transcript.segments) if transcript else line.num_segments,
        num_speakers=transcript.num_speakers if transcript else line.num_speakers,
        cost_usd=line.cost_usd,
        import_key=identity,
    )
    return job, transcript


def _identity(line: BaseModel, data: dict[str, Any]) -> str:
    if isinstance(line, ConversationLine):
        return line.id
    known_by: Any = data
    if isinstance(line, TtsLine | TranscriptionLine) and line.id is not None:
        known_by = [str(line.id), iso(line.created_at)]
    return hashlib.sha256(json.dumps(known_by, sort_keys=True).encode()).hexdigest()


def _duration(line: ConversationLine) -> float | None:
    if line.duration_secs is None and line.ended_at is not None:
        return max(0.0, (line.ended_at - (line.started_at or line.created_at)).total_seconds())
    return line.duration_secs


def _transcript(line: TranscriptionLine) -> Transcript | None:
    lines = line.segments or []
    if not lines and not line.text:
        return None
    duration = line.audio_duration_secs or max((segment.end for segment in lines), default=0.0)
    # A text without segments becomes one segment, so that search finds it.
    lines = lines or [SegmentLine(text=line.text or "", start=0.0, end=duration)]
    lines = sorted(lines, key=lambda segment: segment.start)
    numbers: dict[str, int] = {}
    counts: dict[int, int] = {}
    segments = []
    for segment in lines:
        speaker = numbers.setdefault(str(segment.speaker), len(numbers))
        counts[speaker] = segment_idx = counts.get(speaker, -1) + 1
        words = tuple(Word(w.word, w.start, w.end, w.confidence) for w in segment.words or ())
        segments.append(Segment(speaker, segment_idx, segment.text, segment.start, segment.end, words))
    events = tuple(
        SoundEvent(e.tag, e.start, e.end, e.confidence, None if e.speaker is None else numbers.get(str(e.speaker)))
        for e in line.events or ()
    )
    text = line.text or "\n".join(f"SPEAKER_{s.speaker}: {s.text}" for s in segments)
    return Transcript(
        text=text,
        segments=tuple(segments),
        events=events,
        language=line.language or "",
        num_speakers=len(numbers),
        num_chunks=line.num_chunks or 0,
        audio_duration_secs=duration,
        processing_secs=line.processing_secs or 0.0,
        engine_revision=ENGINE_REVISION,
    )
