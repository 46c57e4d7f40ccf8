"""Opaque positions in lists that are ordered by time.

With a cursor a page starts where another ended, also if rows were added since. `Cursor` is for the history's lists,
`SearchCursor` for searches.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lakehouse.search import Hit
from lakehouse.search.merge_newest import Key
from lakehouse.search.search import FROM_NEWEST
from schemas.errors import InvalidParameter

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_MOST_SKIPPED = 1_000_000
_LARGEST = 2**63 - 1

Order = Literal["asc", "desc"]

_NOT_ONE = (ValueError, TypeError, AttributeError, OverflowError, binascii.Error)
"""Errors that parsing raises for a text that is no cursor."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The position after the first ``skip`` rows of ``moment``, in this order."""

    moment: dt.datetime
    skip: int
    order: Order

    @classmethod
    def of(cls, text: str) -> Cursor:
        """The inverse of `str`. Raises InvalidParameter."""
        try:
            micros, skip, order = _content(text)
            moment = _EPOCH + int(micros) * _MICROSECOND
            if order not in ("asc", "desc") or not 0 < int(skip) <= _MOST_SKIPPED:
                raise ValueError(order)
            return cls(moment, int(skip), order)
        except _NOT_ONE as error:
            raise _refusal() from error

    def __str__(self) -> str:
        return _text([(self.moment - _EPOCH) // _MICROSECOND, self.skip, self.order])

    @classmethod
    def behind(cls, rows: Sequence[Mapping[str, Any]], order: Order, begun: Cursor | None) -> Cursor | None:
        """The position after a page that began at ``begun``; None for an empty page."""
        if not rows:
            return begun
        moment = rows[-1]["created_at"]
        same = sum(row["created_at"] == moment for row in rows)
        if begun is not None and begun.moment == moment:
            same += begun.skip
        return cls(moment, same, order)


@dataclass(frozen=True, slots=True)
class SearchCursor:
    """The position after the hits of earlier pages.

    ``before`` has time and id of the last hit, for each kind with further hits.
    """

    before: Mapping[str, Key | None]

    @classmethod
    def of(cls, text: str | None, kinds: Iterable[str] = FROM_NEWEST, until: dt.datetime | None = None) -> SearchCursor:
        """The inverse of `str`; without a text, at the newest hits of ``kinds``, or those of ``until``.

        Raises InvalidParameter.
        """
        if text is None:
            first = None if until is None else _end_of((until - _EPOCH) // _MICROSECOND)
            return cls(dict.fromkeys(kinds, first))
        try:
            before = {str(kind): (int(micros), int(row_id)) for kind, (micros, row_id) in _content(text).items()}
            if not before or not before.keys() <= set(kinds):
                raise ValueError(sorted(before))
            if any(not 0 <= number < _LARGEST for key in before.values() for number in key):
                raise ValueError(before)
        except _NOT_ONE as error:
            raise _refusal() from error
        return cls(before)

    def __str__(self) -> str:
        return _text(self.before)

    def page(self, hits: Sequence[Hit], limit: int) -> tuple[list[Hit], SearchCursor | None]:
        """(the first ``limit`` of each kind of ``hits``, the position after them).

        The position is None if no hits are left.
        """
        shown: list[Hit] = []
        behind: dict[str, Key | None] = {}
        for kind in self.before:
            found = [hit for hit in hits if hit.object == kind]
            shown += found[:limit]
            if len(found) > limit:
                behind[kind] = _key(found[limit - 1])
        return shown, SearchCursor(behind) if behind else None

    def page_by_time(self, hits: Sequence[Hit], limit: int) -> tuple[list[Hit], SearchCursor | None]:
        """(the first ``limit`` of ``hits`` of all kinds together, newest first, the position behind them).

        ``hits`` are newest first within each kind, and ``limit`` + 1 of a kind that has so many.
        """
        ordered = sorted(hits, key=lambda hit: hit.row["created_at"], reverse=True)
        shown, left = ordered[:limit], ordered[limit:]
        if not left:
            return shown, None
        last = {hit.object: _key(hit) for hit in shown}
        # A kind of which nothing was shown goes on at the page's end, with all that is of the same moment.
        end = _end_of(_key(shown[-1])[0])
        return shown, SearchCursor({hit.object: last.get(hit.object, end) for hit in left})


def _end_of(micros: int) -> Key:
    """Newer than everything of a moment."""
    return micros, _LARGEST - 1


def _key(hit: Hit) -> Key:
    return (hit.row["created_at"] - _EPOCH) // _MICROSECOND, int(hit.row["id"])


def _text(content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def _content(text: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)))


def _refusal() -> InvalidParameter:
    return InvalidParameter("cursor: send the `next_cursor` of an earlier page unchanged", param="cursor")
