"""A decoding child at its limits, killed, cancelled, or orphaned: the parent goes on and nothing is left over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from audio.decoding.decoder import Decoder
from audio.encode import encode
from schemas.errors import InvalidAudio
from schemas.settings import LimitSettings
from tests.integration.test_decode import wav
from tests.support.processes import started

pytestmark = pytest.mark.integration


def hours_of_zeros(path: Path, secs: int = 40_000, rate_hz: int = 44_100) -> Path:
    """A sparse WAV: hours to decode, nothing on the disk."""
    path.write_bytes(wav(b"", rate_hz=rate_hz, declared=secs * rate_hz * 2 if secs * rate_hz * 2 < 2**32 else 0))
    os.truncate(path, 44 + min(secs * rate_hz * 2, 2**31 - 100))
    return path


_others: set[int] = set()
"""Processes of platforms that other modules share, which run until the suite ends."""


def ignore_others() -> None:
    """Leave out of `children` what runs now, before a test has begun."""
    _others.clear()
    _others.update(child.pid for child in children())


@pytest.fixture(autouse=True)
def others_ignored() -> None:
    ignore_others()


def children() -> list[psutil.Process]:
    """The fork server and all that it forked; what ends meanwhile is left out."""
    found = []
    for child in psutil.Process().children(recursive=True):
        if child.pid in _others:
            continue
        with contextlib.suppress(psutil.NoSuchProcess):
            if "audio.decoding.fork_server" in " ".join(child.cmdline()):
                found.append(child)
    return found


async def refused(limits: LimitSettings, source: Path, tmp_path: Path) -> InvalidAudio:
    target = tmp_path / "out.pcm"
    async with Decoder(limits) as decoder:
        with pytest.raises(InvalidAudio) as caught:
            await decoder.decode(source, target)
    assert not target.exists()
    return caught.value


async def test_too_long(tmp_path: Path) -> None:
    source = tmp_path / "long.wav"
    source.write_bytes(wav(bytes(32_000 * 5)))
    error = await refused(LimitSettings(max_audio_secs=4.0), source, tmp_path)
    assert error.code == "too_long"
    assert "4 s" in error.message


async def test_a_bomb_is_stopped_by_its_ratio(tmp_path: Path) -> None:
    source = tmp_path / "bomb.flac"
    source.write_bytes(encode(np.zeros(16_000 * 3600, np.int16), "flac", 16_000))
    assert source.stat().st_size < 16_000 * 3600 * 2 / 150
    error = await refused(LimitSettings(max_decode_ratio=100.0), source, tmp_path)
    assert (error.code, "100 times" in error.message) == ("decode_limit", True)


async def test_memory(tmp_path: Path) -> None:
    # A megabyte is enough for a WAV of any length, far below the smallest setting; so go under it.
    limits = LimitSettings().model_copy(update={"decode_memory_bytes": 1 << 18})
    error = await refused(limits, hours_of_zeros(tmp_path / "zeros.wav"), tmp_path)
    # A library that gets no memory says so or falls over; either way the file is refused and nobody else suffers.
    assert error.code in ("decode_limit", "unreadable_audio")
    assert "memory" in error.message or "crashed" in error.message


async def test_cpu_time(tmp_path: Path) -> None:
    limits = LimitSettings(decode_cpu_secs=0.1, max_audio_secs=1e6)
    error = await refused(limits, hours_of_zeros(tmp_path / "zeros.wav"), tmp_path)
    assert (error.code, "CPU" in error.message) == ("decode_limit", True)


async def test_wall_time(tmp_path: Path) -> None:
    error = await refused(LimitSettings(decode_wall_secs=0.5), hours_of_zeros(tmp_path / "zeros.wav"), tmp_path)
    assert (error.code, "0.5 s" in error.message) == ("decode_limit", True)


async def busy_child(target: Path) -> psutil.Process:
    """The child that is writing ``target``, once it has begun to."""
    async with asyncio.timeout(60):
        while True:
            for child in children():
                try:
                    if any(f.path == str(target) for f in child.open_files()) and os.path.getsize(target):  # noqa: PTH202, ASYNC240
                        return child
                except (psutil.NoSuchProcess, FileNotFoundError):
                    continue
            await asyncio.sleep(0.01)


async def test_a_killed_child_fails_its_file_and_no_other(tmp_path: Path) -> None:
    target, small = tmp_path / "out.pcm", tmp_path / "small.wav"
    small.write_bytes(wav(bytes(32_000)))
    async with Decoder(LimitSettings()) as decoder:
        work = asyncio.create_task(decoder.decode(hours_of_zeros(tmp_path / "zeros.wav"), target))
        (await busy_child(target)).send_signal(signal.SIGKILL)
        with pytest.raises(InvalidAudio, match="stopped the decoder"):
            await work
        assert (await decoder.decode(small, target)).num_samples == 16_000


async def test_a_child_holds_nothing_of_other_files_or_of_the_fork_server(tmp_path: Path) -> None:
    source = hours_of_zeros(tmp_path / "zeros.wav")
    targets = [tmp_path / "a.pcm", tmp_path / "b.pcm"]
    async with Decoder(LimitSettings()) as decoder:
        works = [asyncio.create_task(decoder.decode(source, target)) for target in targets]
        # Standard input, output and errors, the recording and the target.
        assert [(await busy_child(target)).num_fds() for target in targets] == [5, 5]
        for work in works:
            work.cancel()
        await asyncio.wait(works)


@pytest.mark.parametrize("forks_ahead", [False, True])
async def test_a_fork_server_that_was_killed_is_replaced(forks_ahead: bool, tmp_path: Path) -> None:
    small = tmp_path / "small.wav"
    small.write_bytes(wav(bytes(32_000)))
    async with Decoder(LimitSettings(), forks_ahead=forks_ahead) as decoder:
        await decoder.decode(small, tmp_path / "out.pcm")
        for child in children():
            child.kill()
        assert (await decoder.decode(small, tmp_path / "out.pcm")).num_samples == 16_000


async def test_a_file_is_decoded_again_if_the_fork_server_ended_under_it(tmp_path: Path) -> None:
    source, target = hours_of_zeros(tmp_path / "zeros.wav", secs=1000), tmp_path / "out.pcm"
    async with Decoder(LimitSettings()) as decoder:
        work = asyncio.create_task(decoder.decode(source, target))
        server = (await busy_child(target)).parent()
        assert server is not None
        server.kill()
        assert (await work).num_samples == 1000 * 16_000


async def test_cancelling_kills_the_child_and_removes_its_output(tmp_path: Path) -> None:
    target = tmp_path / "out.pcm"
    async with Decoder(LimitSettings()) as decoder:
        work = asyncio.create_task(decoder.decode(hours_of_zeros(tmp_path / "zeros.wav"), target))
        child = await busy_child(target)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert not child.is_running()
        assert not target.exists()


async def test_the_child_of_the_next_file_waits_for_it_and_decodes_no_other(tmp_path: Path) -> None:
    small = tmp_path / "small.wav"
    small.write_bytes(wav(bytes(32_000)))
    async with Decoder(LimitSettings(), forks_ahead=True) as decoder:
        seen: list[set[int]] = []
        for _ in range(3):
            assert (await decoder.decode(small, tmp_path / "out.pcm")).num_samples == 16_000
            deadline = time.monotonic() + 60
            # The fork server and one new child: that of the file may still be ending.
            while len(found := {child.pid for child in children()}) != 2 or found in seen:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)
            seen.append(found)
    (server,) = seen[0] & seen[1] & seen[2]
    assert len((seen[0] | seen[1] | seen[2]) - {server}) == 3


@pytest.mark.parametrize("forks_ahead", [False, True])
async def test_nothing_is_left_open_or_running(forks_ahead: bool, tmp_path: Path) -> None:
    small = tmp_path / "small.wav"
    small.write_bytes(wav(bytes(32_000)))
    async with Decoder(LimitSettings()) as decoder:
        await decoder.decode(small, tmp_path / "warm.pcm")
    before = psutil.Process().num_fds()
    async with Decoder(LimitSettings(), forks_ahead=forks_ahead) as decoder:
        await asyncio.gather(*(decoder.decode(small, tmp_path / f"{i}.pcm") for i in range(4)))
    assert children() == []
    assert psutil.Process().num_fds() == before


def test_children_end_with_their_parent(tmp_path: Path) -> None:
    """A parent that is killed while a file is in work leaves neither its child nor the fork server behind."""
    source = hours_of_zeros(tmp_path / "zeros.wav")
    program = (
        "import asyncio\nfrom pathlib import Path\nfrom audio.decoding.decoder import Decoder\n"
        "from schemas.settings import LimitSettings\n"
        "async def main():\n  async with Decoder(LimitSettings()) as d:\n"
        f"    await d.decode(Path({str(source)!r}), Path({str(tmp_path / 'out.pcm')!r}))\n"
        "asyncio.run(main())\n"
    )
    with started([sys.executable, "-c", program]) as parent:
        found: list[psutil.Process] = []
        deadline = time.monotonic() + 60
        while len(found) < 2 or not (tmp_path / "out.pcm").exists():
            assert parent.poll() is None
            assert time.monotonic() < deadline
            found = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
        parent.wait(60)
        _, alive = psutil.wait_procs(found, timeout=5)
    assert alive == []


async def test_no_secret_reaches_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXIONS_API_KEY", "fx_secret")
    async with Decoder(LimitSettings()):
        async with asyncio.timeout(60):
            while not children():  # noqa: ASYNC110 - another process gives no event
                await asyncio.sleep(0.01)
        assert "FLUXIONS_API_KEY" not in children()[0].environ()
