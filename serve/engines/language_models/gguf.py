"""Reads the header of a GGUF file without loading the model.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_STRING: Final = 8
_ARRAY: Final = 9
_SCALARS: Final = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_U32: Final = _SCALARS[4]
_U64: Final = _SCALARS[10]
_MAX_TENSORS: Final = 100_000
_MAX_DIMENSIONS: Final = 8


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """``context_tokens`` and ``chat_template`` are None if the file has none."""

    architecture: str
    num_weights: int
    size_bytes: int
    context_tokens: int | None
    chat_template: str | None

    @property
    def has_tools(self) -> bool:
        """Whether the chat template supports tools."""
        return self.chat_template is not None and "tools" in self.chat_template


def read_header(path: Path) -> GgufHeader:
    """The header of ``path``. Raises ValueError for a truncated file or one that is not GGUF, and OSError."""
    size_bytes = path.stat().st_size
    if size_bytes < len(MAGIC) + 20:
        raise ValueError("it is too short for a GGUF file")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:4] != MAGIC:
            raise ValueError("it is no GGUF file: its first bytes are not GGUF")
        try:
            return _parsed(_Reader(data), size_bytes)
        except (struct.error, IndexError, UnicodeDecodeError) as error:
            raise ValueError("it is damaged, or not all of it is here: its header does not end") from error


def _parsed(reader: _Reader, size_bytes: int) -> GgufHeader:
    version = reader.scalar(_U32)
    if version not in _VERSIONS:
        raise ValueError(f"it is of GGUF version {version}; versions 2 and 3 are read")
    num_tensors, num_values = reader.scalar(_U64), reader.scalar(_U64)
    if num_tensors > _MAX_TENSORS or num_values > _MAX_TENSORS:
        raise ValueError("it is damaged: its header counts more entries than any model has")
    values = dict(reader.value() for _ in range(num_values))
    num_weights, last_offset = 0, 0
    for shape, offset in reader.tensors(num_tensors):
        num_weights += prod(shape)
        last_offset = max(last_offset, offset)
    if reader.position + last_offset >= size_bytes:
        raise ValueError("not all of it is here: it ends before its last weights")
    if not num_weights or "general.architecture" not in values:
        raise ValueError("it is damaged: it holds no model")
    architecture = str(values["general.architecture"])
    context = values.get(f"{architecture}.context_length")
    template = values.get("tokenizer.chat_template")
    return GgufHeader(architecture, num_weights, size_bytes, context, template)


class _Reader:
    """Values of the header one after the other. Raises struct.error and IndexError past the file's end."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.position = len(MAGIC)

    def scalar(self, form: struct.Struct) -> Any:
        (value,) = form.unpack_from(self._data, self.position)
        self.position += form.size
        return value

    def text(self) -> str:
        return self._data[self._skipped_text() : self.position].decode()

    def value(self) -> tuple[str, Any]:
        """One key with its value; arrays are skipped."""
        return self.text(), self._of_kind(self.scalar(_U32))

    def tensors(self, count: int) -> Iterator[tuple[list[int], int]]:
        """Shape and offset of each tensor."""
        for _ in range(count):
            self._skipped_text()
            num_dimensions = self.scalar(_U32)
            if num_dimensions > _MAX_DIMENSIONS:
                raise IndexError
            shape = [self.scalar(_U64) for _ in range(num_dimensions)]
            self.scalar(_U32)
            yield shape, self.scalar(_U64)

    def _of_kind(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            self._skip_array()
            return None
        if kind not in _SCALARS:
            raise IndexError
        return self.scalar(_SCALARS[kind])

    def _skip_array(self) -> None:
        kind, count = self.scalar(_U32), self.scalar(_U64)
        if kind in _SCALARS:
            self.position += _SCALARS[kind].size * count
            return
        for _ in range(count):
            self._skipped_text() if kind == _STRING else self._of_kind(kind)

    def _skipped_text(self) -> int:
        """Where a text begins; it ends where the next value does."""
        length = self.scalar(_U64)
        start = self.position
        if start + length > len(self._data):
            raise IndexError
        self.position += length
        return start
