"""What crosses between worker and gateway comes out as it went in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from schemas import wire
from schemas.domain import SoundEvent, Turn
from schemas.engines import VoiceWindows
from schemas.errors import InvalidRequest

pytestmark = pytest.mark.unit


def windows(rows: int, dim: int, frames: int, start_secs: float) -> VoiceWindows:
    chance = np.random.default_rng(rows)
    activity = chance.integers(0, 256, (frames, rows if frames else 0), dtype=np.uint8)
    return VoiceWindows(chance.random(rows), chance.random((rows, dim), dtype=np.float32), activity, start_secs)


def assert_same(one: VoiceWindows, other: VoiceWindows) -> None:
    assert np.array_equal(one.centers_secs, other.centers_secs)
    assert np.array_equal(one.embeddings, other.embeddings)
    assert np.array_equal(one.activity, other.activity)
    assert one.activity.shape == other.activity.shape
    assert one.start_secs == other.start_secs
    assert one.narrow == other.narrow


def test_which_blocks_came_over_a_telephone_line_is_kept() -> None:
    sent = [replace(windows(3, 256, 0, 0.0), narrow=number == 1) for number in range(3)]
    assert [one.narrow for one in wire.windows_from_bytes(wire.windows_to_bytes(sent))] == [False, True, False]


def test_windows_of_an_engine_of_an_earlier_version_came_over_no_line() -> None:
    head, tail = wire.unpack(wire.windows_to_bytes([replace(windows(3, 256, 0, 0.0), narrow=True)]))
    del head["narrow"]
    assert not wire.windows_from_bytes(wire.pack(head, bytes(tail)))[0].narrow


def test_windows_of_every_kind_of_engine_in_one_body() -> None:
    sent = [windows(7, 256, 0, 0.0), windows(3, 256, 375, 30.0), windows(0, 256, 375, 60.0), windows(0, 4, 0, 90.0)]
    for one, other in zip(sent, wire.windows_from_bytes(wire.windows_to_bytes(sent)), strict=True):
        if not len(one.centers_secs):  # nobody: which frames are empty does not matter
            one = VoiceWindows(one.centers_secs, one.embeddings, one.activity[:, :0], one.start_secs)
        assert_same(one, other)


def test_shifted_windows_are_later_in_every_respect() -> None:
    sent = windows(3, 16, 10, 5.0)
    later = sent.shifted(100.0)
    assert later.start_secs == 105.0
    assert np.allclose(later.centers_secs - sent.centers_secs, 100.0)
    assert later.embeddings is sent.embeddings


def test_turns_keep_their_overlap() -> None:
    turns = [Turn(0, 0.0, 4.5), Turn(1, 3.25, 4.5, overlap=True)]
    assert wire.turns_from_json(wire.turns_to_json(turns)) == turns


def test_events_keep_tag_place_and_surety() -> None:
    events = [SoundEvent("sigh", 1.25, 2.5, 0.75), SoundEvent("env", 0.0, 9.0, 1.0)]
    assert wire.events_from_json(wire.events_to_json(events)) == events


@pytest.mark.parametrize("body", [b"", b"\x00\x00", b"\xff\xff\xff\xff{}", b"\x02\x00\x00\x00[]", b"\x02\x00\x00\x00{x"])
def test_bytes_that_are_no_frame_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        wire.unpack(body)
