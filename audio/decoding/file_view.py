"""A part of an open file as a file object, with some bytes replaced. FFmpeg reads the view instead of the file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import BinaryIO, Protocol

_LEAST_READ, _MOST_READ = 1 << 12, 1 << 18
"""Bytes that a search reads at once. The first reads are small, because the target is often near."""


class Readable(Protocol):
    """The methods of a file that FFmpeg needs. If the object also has `seek` and `tell`, FFmpeg seeks in it."""

    def read(self, count: int, /) -> bytes:
        """At most ``count`` bytes, and none at the end."""
        ...


class FileView:
    """The bytes ``[start, end)`` of ``file``.

    ``replaced``: bytes by their position in the view, which do not overlap. Several views of the same file may be read
    alternately.
    """

    def __init__(self, file: BinaryIO, start: int, end: int, replaced: Mapping[int, bytes] | None = None) -> None:
        self._file = file
        self._start = start
        self.size = end - start
        self._replaced = replaced or {}
        self._at = 0

    def read(self, count: int = -1) -> bytes:
        """At most ``count`` bytes; fewer only at the end."""
        left = max(self.size - self._at, 0)
        self._file.seek(self._start + self._at)
        found = self._file.read(left if count < 0 else min(count, left))
        for position, content in self._replaced.items():
            offset = position - self._at
            if -len(content) < offset < len(found):
                first, last = max(offset, 0), min(offset + len(content), len(found))
                found = found[:first] + content[first - offset : last - offset] + found[last:]
        self._at += len(found)
        return found

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As `io.IOBase.seek`."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def tell(self) -> int:
        """The position of the next read."""
        return self._at

    def at(self, offset: int, count: int) -> bytes:
        """``count`` bytes from ``offset``; fewer at the end."""
        self.seek(offset)
        return self.read(count)

    def find(self, sought: bytes, offset: int = 0) -> int:
        """The position of the first ``sought`` from ``offset`` on; -1 if there is none."""
        count = _LEAST_READ
        while len(block := self.at(offset, count)) >= len(sought):
            found = block.find(sought)
            if found >= 0:
                return offset + found
            offset += len(block) - len(sought) + 1
            count = min(2 * count, _MOST_READ)
        return -1

    def part(self, start: int, end: int, replaced: Mapping[int, bytes] | None = None) -> FileView:
        """The bytes ``[start, end)`` of a view without replacements."""
        return FileView(self._file, self._start + start, self._start + min(end, self.size), replaced)
