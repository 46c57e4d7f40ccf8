"""Parses and validates clients' messages; errors name the field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from pydantic import ValidationError

from schemas.api.realtime.client_events import CLIENT_EVENT, CLIENT_EVENT_TYPES, ClientEvent
from schemas.errors import InvalidRequest

_CODES: Final = {"missing": "missing_required_parameter", "union_tag_not_found": "missing_required_parameter"}


def decoded(text: str | bytes) -> dict[str, Any]:
    """The JSON object of a message. Raises InvalidRequest."""
    if isinstance(text, bytes):
        raise InvalidRequest("binary messages are not understood here; send JSON text", code="invalid_event")
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise InvalidRequest("the message is not JSON; check quotes and commas", code="invalid_json") from None
    if not isinstance(body, dict):
        raise InvalidRequest("the message is not a JSON object", code="invalid_event")
    return body


def event_id_of(body: Mapping[str, Any]) -> str | None:
    """The client's id of an event, for errors about it."""
    found = body.get("event_id")
    return found if isinstance(found, str) else None


def client_event(body: Mapping[str, Any]) -> ClientEvent:
    """The event of a message. Raises InvalidRequest, which names the field."""
    kind = body.get("type")
    if kind is None:
        raise InvalidRequest("type: an event needs one", code="missing_required_parameter", param="type")
    if not isinstance(kind, str) or kind not in CLIENT_EVENT_TYPES:
        raise InvalidRequest(f"type: there is no client event {str(kind)[:80]!r}", code="invalid_event", param="type")
    try:
        return CLIENT_EVENT.validate_python(body)
    except ValidationError as error:
        raise invalid(error.errors(), body) from None


def invalid(errors: Sequence[Any], data: Any, root: str = "") -> InvalidRequest:
    """The first of Pydantic's errors about ``data``, with the path of the field, such as ``session.tools[0].name``."""
    first = errors[0]
    kind = str(first["type"])
    place = _place(first["loc"], data, kind == "missing")
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        place.append(str(first["ctx"]["discriminator"]).strip("'"))
    written = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in ([root] if root else []) + place)
    param = written.removeprefix(".") or "event"
    code = _CODES.get(kind, "invalid_type" if kind.endswith("_type") else "invalid_value")
    said = first["msg"].replace("Value error, ", "")
    return InvalidRequest(f"{param}: {said[0].lower()}{said[1:]}", code=code, param=param)


def _place(loc: Sequence[int | str], data: Any, names_missing: bool) -> list[int | str]:
    """The steps of ``loc`` that exist in ``data``, without the names of union members that Pydantic inserts."""
    place: list[int | str] = []
    for step, part in enumerate(loc):
        if _holds(data, part):
            data = data[part]
        elif not (names_missing and step == len(loc) - 1):
            continue
        place.append(part)
    return place


def _holds(data: Any, part: int | str) -> bool:
    if isinstance(data, Mapping):
        return part in data
    return isinstance(data, list) and isinstance(part, int) and part < len(data)
