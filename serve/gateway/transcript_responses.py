"""Responses with a transcript as a file, with headers against content sniffing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Final, TypeVar
from urllib.parse import quote

from fastapi import Query, Response

from formats.document import Document
from formats.subtitles import NameSpeakers, SubtitleStyle
from formats.transcript_files import MEDIA_TYPES, FileFormat, render
from formats.web_page import POLICY
from schemas.api.transcription import SegmentBody, TurnBody, named_text
from schemas.domain import Job, Transcript
from schemas.errors import Conflict

SpokenT = TypeVar("SpokenT", SegmentBody, TurnBody)

_SHOWN: Final = frozenset({FileFormat.TXT, FileFormat.HTML, FileFormat.VTT})
"""Formats that a browser shows; it saves all others."""


def subtitle_style(
    line_chars: Annotated[int, Query(ge=10, le=500, description="Longest line of subtitles, characters.")] = 42,
    lines: Annotated[int, Query(ge=1, le=10, description="Most lines of subtitles shown at once.")] = 2,
    cue_secs: Annotated[
        float, Query(ge=0.5, le=60, allow_inf_nan=False, description="Longest time a cue of subtitles is shown, s.")
    ] = 6.0,
    chars_per_sec: Annotated[
        float | None,
        Query(
            ge=1,
            le=100,
            allow_inf_nan=False,
            description="Reading speed, characters a second: cues are shown longer where there is time.",
        ),
    ] = None,
    speakers: Annotated[NameSpeakers, Query(description="Whether subtitles name who speaks.")] = "auto",
) -> SubtitleStyle:
    """FastAPI dependency: the layout of subtitles."""
    return SubtitleStyle(line_chars, lines, cue_secs, chars_per_sec, speakers)


def transcript_file(
    job: Job, transcript: Transcript | None, fmt: FileFormat, style: SubtitleStyle, names: Mapping[int, str]
) -> Response:
    """The file, with ``names`` by speaker. Raises Conflict for a job that has no transcript."""
    if transcript is None:
        raise Conflict(f"transcription {job.id} is {job.status.value}; it has no file", code="not_completed")
    document = Document(
        title=job.filename,
        text=named_text(transcript.text, names),
        segments=[_named(SegmentBody.of(segment, words=True), names) for segment in transcript.segments],
        turns=[_named(TurnBody.of(turn), names) for turn in transcript.turns],
        language=transcript.language,
        duration_secs=transcript.audio_duration_secs,
    )
    name = quote(f"{PurePath(job.filename).stem or job.id}.{fmt}")
    headers = {
        "Content-Disposition": f"{'inline' if fmt in _SHOWN else 'attachment'}; filename*=UTF-8''{name}",
        "Content-Security-Policy": f"{POLICY}; sandbox",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(render(document, fmt, style), media_type=MEDIA_TYPES[fmt], headers=headers)


def _named(spoken: SpokenT, names: Mapping[int, str]) -> SpokenT:
    return spoken.model_copy(update={"speaker": names.get(int(spoken.speaker), spoken.speaker)})
