"""Encoding: streams and complete files, read back by FFmpeg itself."""

from __future__ import annotations

import asyncio
import io
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from audio.encode import Encoder, Format, encode, encode_playback

pytestmark = pytest.mark.unit

RATES_HZ = [16_000, 22_050, 24_000, 44_100]


def tone(rate_hz: int, secs: float = 2.0) -> NDArray[np.int16]:
    return np.rint(12_000 * np.sin(2 * np.pi * 440 * np.arange(round(secs * rate_hz)) / rate_hz)).astype("<i2")


def heard(body: bytes) -> tuple[float, float]:
    """Length in seconds and loudest frequency in Hz."""
    with av.open(io.BytesIO(body)) as container:
        rate_hz = container.streams.audio[0].rate
        resampler = av.AudioResampler(format="flt", layout="mono")
        frames = [f.to_ndarray()[0] for frame in container.decode(audio=0) for f in resampler.resample(frame)]
    samples = np.concatenate(frames)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return len(samples) / rate_hz, float(spectrum.argmax() * rate_hz / len(samples))


def stream(fmt: Format, samples: NDArray[np.int16], rate_hz: int) -> list[bytes]:
    encoder = Encoder(fmt, rate_hz)
    block = rate_hz // 25
    parts = [encoder.feed(samples[i : i + block]) for i in range(0, len(samples), block)]
    return [*parts, encoder.finish()]


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("fmt", ["wav", "opus", "flac", "mp3"])
def test_a_stream_and_a_file_hold_the_same_tone(fmt: Format, rate_hz: int) -> None:
    for body in (b"".join(stream(fmt, tone(rate_hz), rate_hz)), encode(tone(rate_hz), fmt, rate_hz)):
        secs, pitch_hz = heard(body)
        # MP3 without a rewritten header keeps its encoder's delay.
        assert secs == pytest.approx(2.0, abs=0.15 if fmt == "mp3" else 0.02)
        assert pitch_hz == pytest.approx(440, abs=1)


def test_lossless_formats_give_the_samples_back() -> None:
    samples = tone(24_000)
    assert encode(samples, "pcm", 24_000) == b"".join(stream("pcm", samples, 24_000)) == samples.tobytes()
    assert encode(samples, "wav", 24_000)[44:] == b"".join(stream("wav", samples, 24_000))[44:] == samples.tobytes()
    with av.open(io.BytesIO(encode(samples, "flac", 24_000))) as container:
        decoded = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    np.testing.assert_array_equal(decoded, samples)


def test_wav_headers_tell_the_length_or_that_it_is_unknown() -> None:
    samples = tone(24_000)
    whole, live = encode(samples, "wav", 24_000), b"".join(stream("wav", samples, 24_000))
    assert struct.unpack("<I", whole[4:8])[0] == len(whole) - 8
    assert struct.unpack("<I", whole[40:44])[0] == len(whole) - 44
    assert live[4:8] == live[40:44] == b"\xff\xff\xff\xff"


@pytest.mark.parametrize(("fmt", "blocks"), [("wav", 1), ("pcm", 1), ("mp3", 3), ("opus", 5)])
def test_a_stream_gives_sound_early(fmt: Format, blocks: int) -> None:
    """Blocks of 40 ms until there is more than headers; Ogg's first page of sound comes with its second tenth."""
    parts = stream(fmt, tone(24_000), 24_000)
    headers = {"opus": 140, "wav": 44}.get(fmt, 0)
    assert len(b"".join(parts[:blocks])) > headers


def test_nothing_to_say_is_still_a_file() -> None:
    assert len(encode(np.zeros(0, np.int16), "wav", 24_000)) == 44
    assert b"".join(stream("pcm", np.zeros(0, np.int16), 24_000)) == b""


async def test_playback_copy(tmp_path: Path) -> None:
    source, target = tmp_path / "a.pcm", tmp_path / "a.opus"
    source.write_bytes(tone(16_000, 25.0).tobytes())
    await encode_playback(source, target)
    secs, pitch_hz = heard(target.read_bytes())
    assert secs == pytest.approx(25.0, abs=0.02)
    assert pitch_hz == pytest.approx(440, abs=1)
    assert target.stat().st_size < 25 * 40_000 / 8


async def test_playback_keeps_the_loop_free_and_stops_when_cancelled(tmp_path: Path) -> None:
    source, target = tmp_path / "a.pcm", tmp_path / "a.opus"
    source.write_bytes(tone(16_000, 3600.0).tobytes())
    loop = asyncio.get_running_loop()
    work = asyncio.create_task(encode_playback(source, target))
    late = 0.0
    async with asyncio.timeout(60):
        while not (target.exists() and target.stat().st_size):
            due = loop.time() + 0.01
            await asyncio.sleep(0.01)
            late = max(late, loop.time() - due)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        while target.exists():  # noqa: ASYNC110 - the thread tells nobody
            await asyncio.sleep(0.01)
    assert late < 0.5


async def test_a_missing_source_leaves_no_target(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await encode_playback(tmp_path / "none.pcm", tmp_path / "a.opus")
    assert not (tmp_path / "a.opus").exists()
