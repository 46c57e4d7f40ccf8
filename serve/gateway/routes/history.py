"""`/history`: lists of an account's activity, with pages and filters; its deletion."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query

from lakehouse.storage.result_objects import segments_key, text_key
from schemas.api import history as bodies
from schemas.api.deletions import DeletedConversation, DeletedTts
from schemas.api.turn_measures import TurnMeasures
from schemas.errors import InvalidParameter, NotFound
from schemas.titles import title_of
from serve.engines.tts.voices import canonical_voice
from serve.gateway.auth import User
from serve.gateway.cursors import Cursor
from serve.gateway.dependencies import Services, services
from serve.gateway.time_parameters import moment, time_parameter

router = APIRouter(prefix="/history", tags=["history"])

_Services = Annotated[Services, Depends(services)]
_Id = Annotated[int, Path(ge=1, le=2**63 - 1)]
_Session = Annotated[str, Path(min_length=1, max_length=200)]
_Voice = Annotated[str | None, Query(max_length=200, description="Filter by voice id.")]
_Status = Literal["submitted", "processing", "completed", "failed", "cancelled"]
_MAX_PAGE = 2**31

_FEED: dict[str, tuple[str, Any]] = {
    "transcription": ("transcriptions", bodies.TranscriptionEntry),
    "tts": ("tts_renders", bodies.TtsEntry),
    "conversation": ("conversations", bodies.ConversationFeedEntry),
}


@dataclass(frozen=True, slots=True)
class Window:
    """The query parameters that all lists share."""

    page: int
    limit: int
    order: Literal["asc", "desc"]
    since: dt.datetime | None
    until: dt.datetime | None
    cursor: Cursor | None

    @property
    def offset(self) -> int:
        """Number of rows to skip: all rows of earlier pages, or with a cursor those of the cursor's moment that were
        shown.
        """
        return (self.page - 1) * self.limit if self.cursor is None else self.cursor.skip

    def options(self) -> dict[str, Any]:
        """These parameters as keyword arguments of the history's lists."""
        since, until = self.since, self.until
        if self.cursor is not None and self.order == "desc":
            until = self.cursor.moment
        elif self.cursor is not None:
            since = self.cursor.moment
        return {"offset": self.offset, "limit": self.limit, "order": self.order, "since": since, "until": until}

    def envelope(self, total: int, rows: Sequence[Mapping[str, Any]], data: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The response body of a list. ``rows`` are the rows of the page, ``data`` is their form in the response."""
        behind = Cursor.behind(rows, self.order, self.cursor)
        return bodies.envelope(self.page, self.limit, total, data, self.offset, None if behind is None else str(behind))


def window(
    page: Annotated[int, Query(ge=1, le=_MAX_PAGE, description="Page number (1-based).")] = 1,
    limit: Annotated[int, Query(ge=1, le=100, description="Results per page.")] = 20,
    order: Annotated[Literal["asc", "desc"], Query(description="Sort by time.")] = "desc",
    since: Annotated[str | None, time_parameter("Only items at or after this time: ISO-8601 or epoch seconds.")] = None,
    until: Annotated[str | None, time_parameter("Only items at or before this time: ISO-8601 or epoch seconds.")] = None,
    cursor: Annotated[
        str | None,
        Query(max_length=200, description="`next_cursor` of the previous page, instead of `page`: no item is shown twice."),
    ] = None,
) -> Window:
    """FastAPI dependency: the shared query parameters. Raises InvalidParameter."""
    position = None if cursor is None else Cursor.of(cursor)
    if position is not None and (page != 1 or position.order != order):
        raise InvalidParameter(
            "cursor: send it with the `order` of the list that it came from, and without `page`", param="cursor"
        )
    return Window(page, limit, order, moment("since", since), moment("until", until), position)


_Window = Annotated[Window, Depends(window)]


@router.get("", response_model=bodies.Feed, response_model_exclude_unset=True)
async def feed(
    user: User,
    s: _Services,
    w: _Window,
    type: Annotated[
        str | None,
        Query(
            description="`transcription`, `tts`, `conversation`, comma-separated.",
            json_schema_extra={"pattern": f"^(({'|'.join(_FEED)})(,({'|'.join(_FEED)}))*)?$"},
        ),
    ] = None,
) -> dict[str, Any]:
    """All kinds of history, newest first. Lightweight: no download URLs."""
    chosen = dict.fromkeys(part.strip() for part in (type or ",".join(_FEED)).split(","))
    for name in chosen:
        if name not in _FEED:
            raise InvalidParameter(f"type: there is no type {name[:40]!r}; use {', '.join(_FEED)}", param="type")
    found = await s.history.feed(user.account, tuple(_FEED[name][0] for name in chosen), **w.options())
    shape = dict(_FEED.values())
    return w.envelope(found.total, [row for _, row in found.rows], [shape[table].fields(row) for table, row in found.rows])


@router.get("/transcriptions", response_model=bodies.TranscriptionHistory, response_model_exclude_unset=True)
async def transcriptions(
    user: User,
    s: _Services,
    w: _Window,
    status: Annotated[_Status | None, Query(description="Filter by status.")] = None,
    include_download_url: Annotated[bool, Query(description="Include a signed audio URL per item.")] = False,
) -> dict[str, Any]:
    """Your transcriptions, including unfinished ones."""
    found = await s.history.slice("transcriptions", user.account, **w.options(), filters=_given(status=status))
    data = [bodies.TranscriptionEntry.fields(row) for row in found.rows]
    if include_download_url:
        data = [{**item, "download_url": await _audio_url(s, row)} for item, row in zip(data, found.rows, strict=True)]
    return w.envelope(found.total, found.rows, data)


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
    found = await s.history.slice("tts_renders", user.account, **w.options(), filters=_given(voice=_canonical(voice)))
    data = [bodies.TtsEntry.fields(row) for row in found.rows]
    if include_download_url:
        data = [{**item, "download_url": await _render_url(s, row)} for item, row in zip(data, found.rows, strict=True)]
    return w.envelope(found.total, found.rows, data)


@router.get("/tts/{render_id}")
async def render(render_id: _Id, user: User, s: _Services) -> bodies.TtsDetail:
    """One render, with a fresh signed URL."""
    row = await s.history.get("tts_renders", user.account, render_id)
    if row is None:
        raise NotFound(f"there is no render {render_id} in your account", param="id")
    return bodies.TtsDetail(**bodies.TtsDetail.fields(row), download_url=await _render_url(s, row))


@router.delete("/tts/{render_id}")
async def delete_render(render_id: _Id, user: User, s: _Services) -> DeletedTts:
    """Delete a render permanently: its text and its audio.

    The next vacuum removes it from older versions of the tables.
    """
    await s.ledger.deletions.render(user.account, render_id)
    return DeletedTts(id=render_id)


@router.get("/conversations", response_model=bodies.ConversationHistory, response_model_exclude_unset=True)
async def conversations(user: User, s: _Services, w: _Window, voice: _Voice = None) -> dict[str, Any]:
    """Your voice conversations."""
    found = await s.history.slice("conversations", user.account, **w.options(), filters=_given(voice=_canonical(voice)))
    data = [bodies.ConversationEntry.fields(row) for row in found.rows]
    return w.envelope(found.total, found.rows, data)


@router.get("/conversations/{session_id}", response_model=bodies.ConversationDetail, response_model_exclude_unset=True)
async def conversation(
    session_id: _Session,
    user: User,
    s: _Services,
    include_turns: Annotated[bool, Query(description="Include the transcript turns.")] = True,
    include_tool_calls: Annotated[bool, Query(description="Include tool invocations.")] = False,
    include_measures: Annotated[
        bool, Query(description="Include places in the recording, latencies and heard words.")
    ] = False,
    turns_limit: Annotated[int, Query(ge=1, le=2000, description="Max turns to return.")] = 500,
) -> dict[str, Any]:
    """One conversation with its turns, in order."""
    row = await s.history.conversation(user.account, session_id)
    if row is None:
        raise NotFound(f"there is no conversation {session_id[:60]!r} in your account", param="id")
    body = bodies.ConversationEntry.fields(row)
    if row["audio_key"]:
        body["download_url"] = await s.signed_url(row["audio_key"], f"conversation-{session_id}.opus")
    if row["continues"]:
        body["continues"] = row["continues"]
    if include_turns:
        turns = await s.history.turns(user.account, session_id, turns_limit)
        body["turns"] = [bodies.TurnBody.fields(turn) for turn in turns]
        body["title"] = body["title"] or _title(turns)
        if include_measures:
            for turn_body, turn in zip(body["turns"], turns, strict=True):
                turn_body["measures"] = {name: turn[name] for name in TurnMeasures.model_fields}
    if include_tool_calls:
        calls = await s.history.tool_calls(user.account, session_id)
        body["tool_calls"] = [bodies.ToolCallBody.fields(call) for call in calls]
    return body


@router.delete("/conversations/{session_id}")
async def delete_conversation(session_id: _Session, user: User, s: _Services) -> DeletedConversation:
    """Delete an ended conversation permanently, with its turns, tool calls and audio.

    A conversation in progress is a 409.
    """
    await s.ledger.deletions.conversation(user.account, session_id)
    return DeletedConversation(id=session_id)


def _title(turns: Sequence[Mapping[str, Any]]) -> str | None:
    """The title of a conversation whose row has none: it is in progress, or from an earlier version."""
    return next(filter(None, (title_of(turn["text"]) for turn in turns if turn["role"] == "user")), None)


def _canonical(voice: str | None) -> str | None:
    """The id under which history records a voice. Only ids of built-in voices have aliases."""
    return None if voice is None else canonical_voice(voice)


def _given(**filters: str | None) -> dict[str, str]:
    return {name: value for name, value in filters.items() if value is not None}


async def _audio_url(s: Services, row: Mapping[str, Any]) -> str | None:
    """URL of the playback copy. Until the copy exists, URL of the recording as it was sent."""
    if row["playback_key"]:
        return await s.signed_url(row["playback_key"], f"transcription-{row['id']}.opus")
    return await s.signed_url(row["audio_key"], row["filename"]) if row["audio_key"] else None


async def _render_url(s: Services, row: Mapping[str, Any]) -> str | None:
    return await s.signed_url(row["audio_key"], f"tts-{row['id']}.opus") if row["audio_key"] else None
