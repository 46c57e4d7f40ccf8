"""Searches below `/history`: in conversation turns, and in everything, with filters by kind and time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query

from lakehouse.search import Hit
from lakehouse.search.search import TRANSCRIPTION, TTS, TURN
from schemas.api import history_search as bodies
from schemas.errors import InvalidParameter
from serve.gateway.auth import User
from serve.gateway.cursors import SearchCursor
from serve.gateway.dependencies import Services, services
from serve.gateway.time_parameters import moment, time_parameter

router = APIRouter(prefix="/history", tags=["history"])

_Services = Annotated[Services, Depends(services)]
_Text = Annotated[str, Query(min_length=1, description="Search query.")]
_Limit = Annotated[int, Query(ge=1, le=100, description="Max results of each kind.")]
_After = Annotated[
    str | None, Query(max_length=300, description="`next_cursor` of the previous page, with the same `q` and filters.")
]
_KINDS: Final = {"transcription": TRANSCRIPTION, "tts": TTS, "conversation": TURN}
"""Kinds of hits by the kinds of the feed."""


@dataclass(frozen=True, slots=True)
class Times:
    """Hits are of this time: at or after ``since``, at or before ``until``."""

    since: dt.datetime | None
    until: dt.datetime | None

    def within(self, hits: Sequence[Hit]) -> list[Hit]:
        """Those of ``hits`` that are not too old."""
        return [hit for hit in hits if self.since is None or hit.row["created_at"] >= self.since]


def times(
    since: Annotated[str | None, time_parameter("Only items at or after this time: ISO-8601 or epoch seconds.")] = None,
    until: Annotated[str | None, time_parameter("Only items at or before this time: ISO-8601 or epoch seconds.")] = None,
) -> Times:
    """FastAPI dependency: the shared filters. Raises InvalidParameter."""
    return Times(moment("since", since), moment("until", until))


_Times = Annotated[Times, Depends(times)]


@router.get("/conversations/search")
async def search_turns(
    user: User, s: _Services, q: _Text, t: _Times, limit: _Limit = 20, cursor: _After = None
) -> bodies.TurnHits:
    """Full-text search in conversation turns, newest first.

    Quotes make a phrase, `or` joins alternatives, `-` excludes a word.
    """
    at = SearchCursor.of(cursor, (TURN,), t.until)
    found = await s.search.turns(user.account, q, limit + 1, at.before[TURN])
    hits, behind = at.page(t.within(found), limit)
    titles = await _titles(s, user.account, hits)
    data = [bodies.turn_hit(hit.row, hit.snippet, titles.get(hit.row["session_id"])) for hit in hits]
    return bodies.TurnHits(query=q, data=data, next_cursor=None if behind is None else str(behind))


@router.get("/search")
async def search(
    user: User,
    s: _Services,
    q: _Text,
    t: _Times,
    limit: _Limit = 20,
    cursor: _After = None,
    order: Annotated[
        Literal["kind", "time"],
        Query(description="`kind`: each kind newest first; `time`: at most `limit` of all kinds together, newest first."),
    ] = "kind",
    type: Annotated[
        str | None,
        Query(
            description="`transcription`, `tts`, `conversation`, comma-separated.",
            json_schema_extra={"pattern": f"^(({'|'.join(_KINDS)})(,({'|'.join(_KINDS)}))*)?$"},
        ),
    ] = None,
) -> bodies.Hits:
    """Search in turns, transcripts, file names and spoken texts: at most `limit` of each kind, newest first."""
    at = SearchCursor.of(cursor, _kinds(type), t.until)
    found = t.within(await s.search.everything(user.account, q, limit + 1, at.before))
    hits, behind = (at.page_by_time if order == "time" else at.page)(found, limit)
    titles = await _titles(s, user.account, hits)
    data = [_body(hit, titles) for hit in hits]
    return bodies.Hits(query=q, data=data, next_cursor=None if behind is None else str(behind))


def _kinds(chosen: str | None) -> list[str]:
    """The kinds of hits that a list names; all without one. They keep the order of `Search.everything`."""
    names = {part.strip() for part in (chosen or ",".join(_KINDS)).split(",")}
    for name in sorted(names - _KINDS.keys()):
        raise InvalidParameter(f"type: there is no type {name[:40]!r}; use {', '.join(_KINDS)}", param="type")
    wanted = {_KINDS[name] for name in names}
    return [kind for kind in (TURN, TRANSCRIPTION, TTS) if kind in wanted]


async def _titles(s: Services, account: str, hits: Sequence[Hit]) -> dict[str, str | None]:
    """The titles of the conversations in which turns were found, by session id."""
    sessions = {hit.row["session_id"] for hit in hits if hit.object == TURN}
    found = await s.history.conversations(account, sessions) if sessions else {}
    return {session_id: row["title"] for session_id, row in found.items()}


def _body(hit: Hit, titles: dict[str, str | None]) -> Any:
    if hit.object == TURN:
        return bodies.turn_hit(hit.row, hit.snippet, titles.get(hit.row["session_id"]))
    if hit.object == TRANSCRIPTION:
        return bodies.transcription_hit(hit.row, hit.snippet, hit.start_secs)
    return bodies.tts_hit(hit.row, hit.snippet)
