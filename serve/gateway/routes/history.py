"""`/history`: everything an account did, listed, paged, filtered, searched. Read-only."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query

from lakehouse.results import segments_key, text_key
from lakehouse.search import Hit
from lakehouse.search.search import TRANSCRIPTION, TTS, TURN
from schemas import times
from schemas.api import history as bodies
from schemas.errors import InvalidParameter, NotFound
from serve.gateway.auth import User
from serve.gateway.services import Services, services
from serve.gateway.voices import canonical_voice

router = APIRouter(prefix="/history", tags=["history"])

_Services = Annotated[Services, Depends(services)]
_Id = Annotated[int, Path(ge=1, le=2**63 - 1)]
_Voice = Annotated[str | None, Query(max_length=200, description="Filter by voice id.")]
_Status = Literal["submitted", "processing", "completed", "failed", "cancelled"]
_Text = Annotated[str, Query(min_length=1, description="Search query.")]
_Hits = Annotated[int, Query(ge=1, le=100, description="Max results of each kind.")]
_MAX_PAGE = 2**31

_HIT: dict[str, Callable[[Hit], Any]] = {
    TURN: lambda hit: bodies.turn_hit(hit.row, hit.snippet),
    TRANSCRIPTION: lambda hit: bodies.transcription_hit(hit.row, hit.snippet, hit.start_secs),
    TTS: lambda hit: bodies.tts_hit(hit.row, hit.snippet),
}

_FEED: dict[str, tuple[str, Any]] = {
    "transcription": ("transcriptions", bodies.TranscriptionEntry),
    "tts": ("tts_renders", bodies.TtsEntry),
    "conversation": ("conversations", bodies.ConversationFeedEntry),
}


def _moment(name: str, value: str | None) -> dt.datetime | None:
    if value is None:
        return None
    try:
        return times.parse(value.strip())
    except (ValueError, OverflowError) as error:
        raise InvalidParameter(
            f"{name}: {value[:60]!r} is no time; give ISO-8601, as 2026-06-29T10:40:00Z, or seconds since 1970", param=name
        ) from error


@dataclass(frozen=True, slots=True)
class Window:
    """What every list is asked for."""

    page: int
    limit: int
    order: Literal["asc", "desc"]
    since: dt.datetime | None
    until: dt.datetime | None

    def options(self) -> dict[str, Any]:
        return {"page": self.page, "limit": self.limit, "order": self.order, "since": self.since, "until": self.until}


def window(
    page: Annotated[int, Query(ge=1, le=_MAX_PAGE, description="Page number (1-based).")] = 1,
    limit: Annotated[int, Query(ge=1, le=100, description="Results per page.")] = 20,
    order: Annotated[Literal["asc", "desc"], Query(description="Sort by time.")] = "desc",
    since: Annotated[str | None, Query(description="Only items at or after this time: ISO-8601 or epoch seconds.")] = None,
    until: Annotated[str | None, Query(description="Only items at or before this time: ISO-8601 or epoch seconds.")] = None,
) -> Window:
    """FastAPI dependency: the shared query parameters. Raises InvalidParameter."""
    return Window(page, limit, order, _moment("since", since), _moment("until", until))


_Window = Annotated[Window, Depends(window)]


@router.get("", response_model=bodies.Feed, response_model_exclude_unset=True)
async def feed(
    user: User,
    s: _Services,
    w: _Window,
    type: Annotated[str | None, Query(description="`transcription`, `tts`, `conversation`, comma-separated.")] = None,
) -> dict[str, Any]:
    """Everything, newest first. Lightweight: no download URLs."""
    chosen = dict.fromkeys(part.strip() for part in (type or ",".join(_FEED)).split(","))
    for name in chosen:
        if name not in _FEED:
            raise InvalidParameter(f"type: there is no type {name[:40]!r}; use {', '.join(_FEED)}", param="type")
    found = await s.history.feed(user.account, tuple(_FEED[name][0] for name in chosen), **w.options())
    shape = dict(_FEED.values())
    return bodies.envelope(w.page, w.limit, found.total, [shape[table].fields(row) for table, row in found.rows])


@router.get("/transcriptions", response_model=bodies.TranscriptionHistory, response_model_exclude_unset=True)
async def transcriptions(
    user: User,
    s: _Services,
    w: _Window,
    status: Annotated[_Status | None, Query(description="Filter by status.")] = None,
    include_download_url: Annotated[bool, Query(description="Include a signed audio URL per item.")] = False,
) -> dict[str, Any]:
    """Your transcriptions, those under way included."""
    found = await s.history.page("transcriptions", user.account, **w.options(), filters=_given(status=status))
    data = [bodies.TranscriptionEntry.fields(row) for row in found.rows]
    if include_download_url:
        data = [{**item, "download_url": await _audio_url(s, row)} for item, row in zip(data, found.rows, strict=True)]
    return bodies.envelope(w.page, w.limit, found.total, data)


@router.get("/transcriptions/{job_id}")
async def transcription(job_id: _Id, user: User, s: _Services) -> bodies.TranscriptionDetail:
    """One transcription, with signed URLs of its audio, text and segments."""
    row = await s.history.get("transcriptions", user.account, job_id)
    if row is None:
        raise NotFound(f"there is no transcription {job_id} in your account", param="id")
    key = row["result_key"]
    return bodies.TranscriptionDetail(
        **bodies.TranscriptionDetail.fields(row),
        download_url=await _audio_url(s, row),
        text_url=await s.signed_url(text_key(key), f"transcription-{job_id}.txt") if key else None,
        segments_url=await s.signed_url(segments_key(key), f"transcription-{job_id}.json") if key else None,
    )


@router.get("/tts", response_model=bodies.TtsHistory, response_model_exclude_unset=True)
async def renders(
    user: User,
    s: _Services,
    w: _Window,
    voice: _Voice = None,
    include_download_url: Annotated[bool, Query(description="Include a signed Opus URL per item.")] = True,
) -> dict[str, Any]:
    """Your speech renders."""
    found = await s.history.page("tts_renders", user.account, **w.options(), filters=_given(voice=_canonical(voice)))
    data = [bodies.TtsEntry.fields(row) for row in found.rows]
    if include_download_url:
        data = [{**item, "download_url": await _render_url(s, row)} for item, row in zip(data, found.rows, strict=True)]
    return bodies.envelope(w.page, w.limit, found.total, data)


@router.get("/tts/{render_id}")
async def render(render_id: _Id, user: User, s: _Services) -> bodies.TtsDetail:
    """One render, with a fresh signed URL."""
    row = await s.history.get("tts_renders", user.account, render_id)
    if row is None:
        raise NotFound(f"there is no render {render_id} in your account", param="id")
    return bodies.TtsDetail(**bodies.TtsDetail.fields(row), download_url=await _render_url(s, row))


@router.get("/conversations", response_model=bodies.ConversationHistory, response_model_exclude_unset=True)
async def conversations(user: User, s: _Services, w: _Window, voice: _Voice = None) -> dict[str, Any]:
    """Your voice conversations."""
    found = await s.history.page("conversations", user.account, **w.options(), filters=_given(voice=_canonical(voice)))
    data = [bodies.ConversationEntry.fields(row) for row in found.rows]
    return bodies.envelope(w.page, w.limit, found.total, data)


@router.get("/conversations/search")
async def search_turns(user: User, s: _Services, q: _Text, limit: _Hits = 20) -> bodies.TurnHits:
    """Full-text search in conversation turns, newest first. Quotes make a phrase, `or` and `-` mean what they say."""
    hits = await s.search.turns(user.account, q, limit)
    return bodies.TurnHits(query=q, data=[bodies.turn_hit(hit.row, hit.snippet) for hit in hits])


@router.get("/search")
async def search(user: User, s: _Services, q: _Text, limit: _Hits = 20) -> bodies.Hits:
    """Search in turns, transcripts, file names and spoken texts: at most `limit` of each kind, newest first."""
    hits = await s.search.everything(user.account, q, limit)
    return bodies.Hits(query=q, data=[_HIT[hit.object](hit) for hit in hits])


@router.get("/conversations/{session_id}", response_model=bodies.ConversationDetail, response_model_exclude_unset=True)
async def conversation(
    session_id: Annotated[str, Path(min_length=1, max_length=200)],
    user: User,
    s: _Services,
    include_turns: Annotated[bool, Query(description="Include the transcript turns.")] = True,
    include_tool_calls: Annotated[bool, Query(description="Include tool invocations.")] = False,
    turns_limit: Annotated[int, Query(ge=1, le=2000, description="Max turns to return.")] = 500,
) -> dict[str, Any]:
    """One conversation with its turns, in order."""
    row = await s.history.conversation(user.account, session_id)
    if row is None:
        raise NotFound(f"there is no conversation {session_id[:60]!r} in your account", param="id")
    body = bodies.ConversationEntry.fields(row)
    if include_turns:
        turns = await s.history.turns(user.account, session_id, turns_limit)
        body["turns"] = [bodies.TurnBody.fields(turn) for turn in turns]
    if include_tool_calls:
        calls = await s.history.tool_calls(user.account, session_id)
        body["tool_calls"] = [bodies.ToolCallBody.fields(call) for call in calls]
    return body


def _canonical(voice: str | None) -> str | None:
    """History records canonical ids; one that is no built-in voice stands for itself."""
    return None if voice is None else canonical_voice(voice)


def _given(**filters: str | None) -> dict[str, str]:
    return {name: value for name, value in filters.items() if value is not None}


async def _audio_url(s: Services, row: Mapping[str, Any]) -> str | None:
    """The playback copy; until there is one, the very bytes sent."""
    if row["playback_key"]:
        return await s.signed_url(row["playback_key"], f"transcription-{row['id']}.opus")
    return await s.signed_url(row["audio_key"], row["filename"]) if row["audio_key"] else None


async def _render_url(s: Services, row: Mapping[str, Any]) -> str | None:
    return await s.signed_url(row["audio_key"], f"tts-{row['id']}.opus") if row["audio_key"] else None
