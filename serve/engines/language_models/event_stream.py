"""Parses the server-sent events of a chat completion into chunks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import orjson

from schemas.errors import EngineFailure

_MAX_LINE_BYTES: Final = 1024 * 1024
"""Limit of a line, far above any chunk; an endless line would fill the memory."""


class Events:
    """Takes the bytes of an answer in pieces of any size and returns its chunks. Ignores comments and names of events."""

    def __init__(self, who: str) -> None:
        self._who = who
        self._rest = b""
        self.is_over = False
        """Whether ``[DONE]`` was received."""

    def feed(self, piece: bytes) -> Iterator[dict[str, Any]]:
        """The chunks that ``piece`` completes. Raises EngineFailure for invalid JSON, and for an endless line."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            data = _data(line)
            if data == b"[DONE]":
                self.is_over = True
                return
            if data:
                yield self._parsed(data)
        if len(self._rest) > _MAX_LINE_BYTES:
            raise EngineFailure(f"{self._who} sent a line of more than {_MAX_LINE_BYTES} bytes")

    def _parsed(self, data: bytes) -> dict[str, Any]:
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise EngineFailure(f"{self._who} sent broken JSON") from error
        if not isinstance(chunk, dict):
            raise EngineFailure(f"{self._who} sent JSON that is no object")
        return chunk


def _data(line: bytes) -> bytes:
    line = line.strip()
    return line[5:].strip() if line.startswith(b"data:") else b""
