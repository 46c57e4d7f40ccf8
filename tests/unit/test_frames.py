"""Frames between this process and its children: whole, cut off, too long, and from something that speaks no frames."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import frames
from runtime.frames import Frame

pytestmark = pytest.mark.unit

HEADS = st.dictionaries(st.text(max_size=8), st.integers() | st.text() | st.none() | st.booleans(), max_size=4)


def read_async(data: bytes, **options: Any) -> Frame | None:
    async def run() -> Frame | None:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        return await frames.read_async(reader, **options)

    return asyncio.run(asyncio.wait_for(run(), 60))


@given(st.lists(st.tuples(HEADS, st.binary(max_size=100)), max_size=3))
def test_frames_are_read_as_they_were_written(sent: list[tuple[dict[str, Any], bytes]]) -> None:
    stream = io.BytesIO()
    for head, body in sent:
        frames.write(stream, head, body)
    stream.seek(0)
    assert [frames.read(stream) for _ in sent] == [Frame(*one) for one in sent]
    assert frames.read(stream) is None


@pytest.mark.parametrize("size", range(1, len(frames.encode({"a": 1}, b"xyz"))))
def test_a_stream_that_ends_within_a_frame_is_an_error(size: int) -> None:
    data = frames.encode({"a": 1}, b"xyz")[:size]
    with pytest.raises(EOFError):
        frames.read(io.BytesIO(data))
    with pytest.raises(EOFError):
        read_async(data)


@pytest.mark.parametrize(
    "data",
    [
        frames.encode({}, bytes(2000)),
        b"Traceback (most recent call last):\n",
        frames.encode({})[:4] + b"\0\0\0\0" + b"[]",
        b"\x03\0\0\0\0\0\0\0{]}",
    ],
    ids=["too long", "text", "no object", "no JSON"],
)
def test_what_is_no_frame_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"frame|Expecting"):
        frames.read(io.BytesIO(data), max_bytes=1000)
    with pytest.raises(ValueError, match=r"frame|Expecting"):
        read_async(data, max_bytes=1000)


def test_an_ended_stream_has_no_frame() -> None:
    assert frames.read(io.BytesIO()) is None
    assert read_async(b"") is None


def test_a_frame_that_arrives_byte_by_byte_is_whole() -> None:
    async def run() -> Frame | None:
        reader = asyncio.StreamReader()
        reading = asyncio.create_task(frames.read_async(reader))
        for byte in frames.encode({"a": 1}, b"xyz"):
            reader.feed_data(bytes([byte]))
            await asyncio.sleep(0)
        return await asyncio.wait_for(reading, 60)

    assert asyncio.run(run()) == Frame({"a": 1}, b"xyz")
