"""Live streams of Opus in Ogg and WebM, decoded piece by piece in a child process."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator

import numpy as np
import pytest

from audio.decoding.container_stream import ContainerStream
from audio.decoding.decoder import Decoder
from schemas.domain import SAMPLE_RATE_HZ
from schemas.engines import Samples
from schemas.errors import FluxionsError, InvalidAudio
from schemas.settings import LimitSettings
from tests.support.live_containers import contained, tone

pytestmark = [pytest.mark.unit, pytest.mark.timeout(60)]

SECS = 2.0


def pieces(data: bytes, seed: int) -> Iterator[bytes]:
    sizes = random.Random(seed)
    at = 0
    while at < len(data):
        size = sizes.choice((1, 3, 100, 700, 4000))
        yield data[at : at + size]
        at += size


async def decoded(decoder: Decoder, parts: list[bytes], *, end: bool = True) -> list[Samples]:
    stream = ContainerStream(decoder, 20.0)
    try:
        found = [await stream.feed(part) for part in parts]
        return [*found, await stream.finish()] if end else found
    finally:
        await stream.close()


@pytest.mark.parametrize("container", ["ogg", "webm"])
@pytest.mark.parametrize("seed", [1, 2])
async def test_a_stream_cut_anywhere_is_its_sound(container: str, seed: int) -> None:
    async with Decoder(LimitSettings()) as decoder:
        found = await decoded(decoder, list(pieces(contained(tone(SECS), container), seed)))
    sound = np.concatenate(found)
    assert sound.size == pytest.approx(SECS * SAMPLE_RATE_HZ, abs=400)
    heard = np.abs(np.fft.rfft(sound[4000:20_000]))
    assert np.argmax(heard) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("container", ["ogg", "webm"])
async def test_sound_comes_while_the_stream_is_sent(container: str) -> None:
    data = contained(tone(SECS), container)
    async with Decoder(LimitSettings()) as decoder:
        found = await decoded(decoder, [data[at : at + 500] for at in range(0, len(data), 500)], end=False)
    ready = list(itertools.accumulate(len(samples) for samples in found))
    # At half of the bytes, half of the sound is there but for one page and the filter's delay.
    assert ready[len(ready) // 2] > 0.35 * SECS * SAMPLE_RATE_HZ


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"RIFF" + bytes(60), "not_audio"),
        (b"\x1a\x45\xdf\xa3" + bytes(4000), "unreadable_audio"),
        (b"OggS" + random.Random(0).randbytes(70_000), "unreadable_audio"),
        (b"#EXTM3U\nhttp://127.0.0.1/a.ts\n", "not_audio"),
    ],
    ids=["wav", "empty webm", "noise in ogg", "playlist"],
)
async def test_what_is_no_such_stream_is_refused_by_its_code(data: bytes, code: str) -> None:
    async with Decoder(LimitSettings()) as decoder:
        with pytest.raises(InvalidAudio) as wrong:
            await decoded(decoder, [data])
    assert wrong.value.code == code


async def test_streams_at_once_do_not_touch_each_other() -> None:
    data = contained(tone(SECS), "webm")
    async with Decoder(LimitSettings()) as decoder:
        both = await asyncio.gather(
            decoded(decoder, [data]), decoded(decoder, [b"RIFF" + bytes(60)]), return_exceptions=True
        )
        assert isinstance(both[1], FluxionsError)
        assert not isinstance(both[0], BaseException)
        assert sum(map(len, both[0])) == pytest.approx(SECS * SAMPLE_RATE_HZ, abs=400)


async def test_an_empty_stream_has_no_sound() -> None:
    async with Decoder(LimitSettings()) as decoder:
        assert sum(map(len, await decoded(decoder, []))) == 0
