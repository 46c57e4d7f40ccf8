"""One child for file after file of an account: the same sound as from one each, and no file answers for another."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from audio.decoding.decoder import Decoder, SeriesDecoder
from schemas.errors import InvalidAudio
from schemas.settings import LimitSettings
from tests.integration.test_decode import RECORDINGS, wav, write
from tests.integration.test_decode_limits import busy_child, children, hours_of_zeros, ignore_others

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def others_ignored() -> None:
    ignore_others()


@pytest.fixture
async def decoder() -> AsyncIterator[Decoder]:
    async with Decoder(LimitSettings()) as running:
        yield running


@pytest.fixture
async def series(decoder: Decoder) -> AsyncIterator[SeriesDecoder]:
    running = SeriesDecoder(decoder)
    yield running
    await running.close()


def decoding(fork_server: int) -> set[int]:
    """Process ids of the children there are, the fork server left out."""
    return {child.pid for child in children() if child.pid != fork_server}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.wav"
    path.write_bytes(wav(bytes(32_000)))
    return path


@pytest.fixture
async def fork_server(decoder: Decoder, small: Path, tmp_path: Path) -> int:
    """Its process id. It has served: until then its process may not have begun the program."""
    await decoder.decode(small, tmp_path / "warm.pcm")
    (found,) = children()
    return found.pid


async def test_one_child_decodes_every_format_as_well_as_one_each(
    decoder: Decoder, series: SeriesDecoder, fork_server: int, tmp_path: Path
) -> None:
    seen: set[int] = set()
    for name, muxer, codec, rate_hz, layout in RECORDINGS:
        source, alone, after = tmp_path / name, tmp_path / f"{name}.alone", tmp_path / f"{name}.after"
        write(source, muxer, codec, rate_hz, layout)
        assert await series.decode(source, after) == await decoder.decode(source, alone)
        assert after.read_bytes() == alone.read_bytes()
        seen |= decoding(fork_server)
    assert len(seen) == 1


async def test_files_at_the_same_time_have_children_of_their_own(
    series: SeriesDecoder, fork_server: int, small: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        await asyncio.gather(*(series.decode(small, tmp_path / f"{i}.pcm") for i in range(3)))
        assert len(decoding(fork_server)) == 3


async def test_a_bad_file_is_refused_for_its_own_faults_and_spoils_no_other(
    series: SeriesDecoder, small: Path, tmp_path: Path
) -> None:
    target, bad = tmp_path / "out.pcm", tmp_path / "bad.wav"
    bad.write_bytes(b"These are words, and no recording at all. " * 9)
    for _ in range(2):
        assert (await series.decode(small, target)).num_samples == 16_000
        with pytest.raises(InvalidAudio) as caught:
            await series.decode(bad, target)
        assert caught.value.code == "not_audio"
        assert not target.exists()
    assert (await series.decode(small, target)).num_samples == 16_000


async def test_the_death_of_a_child_that_served_before_fails_no_file(
    series: SeriesDecoder, fork_server: int, small: Path, tmp_path: Path
) -> None:
    await series.decode(small, tmp_path / "first.pcm")
    (idle,) = decoding(fork_server)
    psutil.Process(idle).kill()
    assert (await series.decode(small, tmp_path / "second.pcm")).num_samples == 16_000

    target = tmp_path / "third.pcm"
    work = asyncio.create_task(series.decode(hours_of_zeros(tmp_path / "zeros.wav", secs=3_000), target))
    (await busy_child(target)).send_signal(signal.SIGKILL)
    assert (await work).num_samples == 3_000 * 16_000


async def test_a_child_ends_after_so_many_files(
    series: SeriesDecoder, fork_server: int, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audio.decoding.decoder._SERIES_FILES", 2)
    seen: list[set[int]] = []
    for number in range(4):
        await series.decode(small, tmp_path / f"{number}.pcm")
        seen.append(decoding(fork_server))
    first, _, second, _ = seen
    assert seen == [first, set(), second, set()]
    assert first.isdisjoint(second)


async def test_cancelling_takes_the_child_along(
    series: SeriesDecoder, fork_server: int, small: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.pcm"
    await series.decode(small, target)
    target.unlink()
    work = asyncio.create_task(series.decode(hours_of_zeros(tmp_path / "zeros.wav"), target))
    await busy_child(target)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert decoding(fork_server) == set()
    assert not target.exists()


async def test_nothing_is_left_open_or_running(decoder: Decoder, fork_server: int, small: Path, tmp_path: Path) -> None:
    before = psutil.Process().num_fds()
    series = SeriesDecoder(decoder)
    await asyncio.gather(*(series.decode(small, tmp_path / f"{i}.pcm") for i in range(3)))
    await series.close()
    assert decoding(fork_server) == set()
    assert psutil.Process().num_fds() == before
