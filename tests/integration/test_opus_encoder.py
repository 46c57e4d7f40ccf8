"""Copies are encoded in one process: several at once, whole each, and only those under way are lost with it."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import av
import numpy as np
import psutil
import pytest

from schemas.domain import SPEECH_RATE_HZ
from schemas.errors import EngineFailure
from serve.services.opus_encoder_process import OpusEncoder

pytestmark = pytest.mark.integration


def tone(hz: float, secs: float) -> bytes:
    at = np.arange(round(secs * SPEECH_RATE_HZ)) / SPEECH_RATE_HZ
    return (8000 * np.sin(2 * np.pi * hz * at)).astype("<i2").tobytes()


def heard(copy: bytes) -> tuple[float, float]:
    """Seconds, and the frequency that is loudest, Hz."""
    with av.open(io.BytesIO(copy), "r") as container:
        sound = np.concatenate([frame.to_ndarray().ravel() for frame in container.decode(audio=0)])
        rate = container.streams.audio[0].rate
    loudest = int(np.abs(np.fft.rfft(sound)).argmax()) * rate / sound.size
    return sound.size / rate, loudest


class Watched(OpusEncoder):
    """Knows the processes it started from those of others."""

    def __init__(self) -> None:
        super().__init__()
        self._others = set(_all())

    @property
    def children(self) -> list[psutil.Process]:
        return [child for child in _all() if child not in self._others]


def _all() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "serve.services.opus_encoder_process" in child.cmdline()]


@pytest.fixture
async def encoder() -> AsyncIterator[Watched]:
    encoder = Watched()
    yield encoder
    await encoder.close()
    assert not encoder.children


async def test_copies_made_in_turns_are_whole_each(encoder: Watched) -> None:
    low, high = encoder.open(), encoder.open()
    parts: tuple[list[bytes], list[bytes]] = ([], [])
    for _ in range(3):
        parts[0].append(await low.feed(tone(220, 1)))
        parts[1].append(await high.feed(tone(880, 0.5)))
    parts[0].append(await low.finish())
    parts[1].append(await high.finish(tone(880, 0.5)))
    assert heard(b"".join(parts[0])) == pytest.approx((3.0, 220), rel=0.03)
    assert heard(b"".join(parts[1])) == pytest.approx((2.0, 880), rel=0.03)
    assert len(encoder.children) == 1


async def test_a_process_that_is_killed_takes_only_what_was_under_way(encoder: Watched) -> None:
    lost = encoder.open()
    await lost.feed(tone(220, 1))
    (child,) = encoder.children
    assert child.nice() > 0
    child.kill()
    child.wait(60)
    with pytest.raises(EngineFailure):
        await lost.finish()
    assert heard(await encoder.open().finish(tone(440, 1))) == pytest.approx((1.0, 440), rel=0.03)
    with pytest.raises(EngineFailure):
        await lost.feed(tone(220, 1))
    await lost.abandon()


async def test_a_copy_that_is_dropped_leaves_the_next_ones_answer_alone(encoder: Watched) -> None:
    dropped = encoder.open()
    await dropped.feed(tone(220, 1))
    await dropped.abandon()
    assert heard(await encoder.open().finish(tone(440, 1))) == pytest.approx((1.0, 440), rel=0.03)
