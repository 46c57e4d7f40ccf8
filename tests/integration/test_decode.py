"""Every container and codec a user may send, encoded by FFmpeg and found again by length and pitch."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from audio.decoding.decoder import Decoder
from audio.pcm import PcmFile
from schemas.settings import LimitSettings
from tests.support.processes import python

pytestmark = pytest.mark.integration

PITCH_HZ = 440.0
SECS = 2.0

# name of the file, muxer, codec, sample rate, layout
RECORDINGS: list[tuple[str, str, str, int, str]] = [
    ("u8.wav", "wav", "pcm_u8", 8_000, "mono"),
    ("s16.wav", "wav", "pcm_s16le", 44_100, "stereo"),
    ("s16-mono.wav", "wav", "pcm_s16le", 16_000, "mono"),
    ("s24.wav", "wav", "pcm_s24le", 48_000, "mono"),
    ("s32.wav", "wav", "pcm_s32le", 96_000, "stereo"),
    ("f32.wav", "wav", "pcm_f32le", 16_000, "mono"),
    ("f64.wav", "wav", "pcm_f64le", 22_050, "mono"),
    ("mulaw.wav", "wav", "pcm_mulaw", 8_000, "mono"),
    ("surround.wav", "wav", "pcm_s16le", 48_000, "5.1"),
    ("long.w64", "w64", "pcm_s16le", 44_100, "mono"),
    ("apple.aiff", "aiff", "pcm_s16be", 44_100, "stereo"),
    ("apple.caf", "caf", "pcm_s16be", 44_100, "mono"),
    ("sun.au", "au", "pcm_s16be", 16_000, "mono"),
    ("lossless.flac", "flac", "flac", 44_100, "stereo"),
    ("speech.mp3", "mp3", "libmp3lame", 44_100, "stereo"),
    ("speech8k.mp3", "mp3", "libmp3lame", 8_000, "mono"),
    ("voice.opus", "ogg", "libopus", 48_000, "mono"),
    ("voice.ogg", "ogg", "flac", 16_000, "mono"),
    ("voice.m4a", "mp4", "aac", 44_100, "stereo"),
    ("alac.m4a", "mp4", "alac", 44_100, "mono"),
    ("voice.mov", "mov", "pcm_s16le", 48_000, "mono"),
    ("voice.aac", "adts", "aac", 44_100, "mono"),
    ("browser.webm", "webm", "libopus", 48_000, "mono"),
    ("film.mka", "matroska", "pcm_s16le", 48_000, "stereo"),
    ("phone.amr", "amr", "libopencore_amrnb", 8_000, "mono"),
]


def tone(rate_hz: int, secs: float = SECS) -> np.ndarray[Any, np.dtype[np.float32]]:
    return (0.5 * np.sin(2 * np.pi * PITCH_HZ * np.arange(round(secs * rate_hz)) / rate_hz)).astype(np.float32)


def write(
    path: Path,
    muxer: str,
    codec: str,
    rate_hz: int,
    layout: str,
    *,
    video: bool = False,
    options: dict[str, str] | None = None,
) -> None:
    with av.open(str(path), "w", format=muxer, options=options or {}) as container:
        picture = container.add_stream("mpeg4", rate=10) if video else None
        stream: Any = container.add_stream(codec, rate=rate_hz, layout=layout)
        channels = stream.codec_context.channels
        if picture is not None:
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
            for i in range(int(SECS * 10)):
                container.mux(
                    picture.encode(VideoFrame.from_ndarray(np.full((48, 64, 3), i * 10, np.uint8), format="rgb24"))
                )
            container.mux(picture.encode(None))
        whole, step = tone(rate_hz), rate_hz // 10
        # Some encoders make one packet of a frame, whatever its length.
        for start in range(0, len(whole), step):
            part = np.repeat(whole[None, start : start + step], channels, axis=0)
            sound = AudioFrame.from_ndarray(part, format="fltp", layout=layout)
            sound.sample_rate, sound.pts = rate_hz, start
            container.mux(stream.encode(sound))
        container.mux(stream.encode(None))


def check(pcm: Path, *, clean: bool = True) -> None:
    """Two seconds of the tone: as long, as high and as loud as it was."""
    samples = PcmFile(pcm).as_int16().astype(float) / 32768
    assert abs(len(samples) / 16_000 - SECS) < 0.05
    middle = samples[4_000:28_000]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert abs(spectrum.argmax() * 16_000 / len(middle) - PITCH_HZ) < 1.0
    if clean:
        assert np.sqrt((middle**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


@pytest.fixture
async def decoder() -> AsyncIterator[Decoder]:
    async with Decoder(LimitSettings()) as running:
        yield running


@pytest.mark.parametrize(("name", "muxer", "codec", "rate_hz", "layout"), RECORDINGS, ids=[r[0] for r in RECORDINGS])
async def test_a_tone_survives(
    name: str, muxer: str, codec: str, rate_hz: int, layout: str, decoder: Decoder, tmp_path: Path
) -> None:
    source, target = tmp_path / name, tmp_path / "out.pcm"
    write(source, muxer, codec, rate_hz, layout)
    decoded = await decoder.decode(source, target)
    check(target, clean=codec != "libopencore_amrnb")
    assert decoded.num_samples == target.stat().st_size // 2
    assert decoded.duration_secs == decoded.num_samples / 16_000
    assert decoded.channels == {"mono": 1, "stereo": 2, "5.1": 6}[layout]
    assert decoded.codec.removeprefix("lib") in codec or codec.startswith("lib")
    # Opus is always 48 kHz inside.
    assert decoded.source_rate_hz == (48_000 if codec == "libopus" else rate_hz)


def test_a_decoding_child_carries_no_settings() -> None:
    """What is loaded is copied for every file: a fork with Pydantic takes twice as long."""
    program = "import sys, audio.decoding.fork_server; print(*sys.modules)"
    loaded = python(program, text=True).stdout.split()
    assert "av" in loaded
    assert not {"pydantic", "asyncio", "torch", "httpx"}.intersection(loaded)


async def test_vorbis(decoder: Decoder, tmp_path: Path) -> None:
    codec = "libvorbis" if "libvorbis" in av.codecs_available else "vorbis"
    source, target = tmp_path / "voice.ogg", tmp_path / "out.pcm"
    with av.open(str(source), "w", format="ogg") as container:
        # FFmpeg's own encoder takes two channels only and is marked experimental.
        stream: Any = container.add_stream(codec, rate=44_100, layout="stereo", options={"strict": "-2"})
        sound = AudioFrame.from_ndarray(np.repeat(tone(44_100)[None], 2, axis=0), format="fltp", layout="stereo")
        sound.sample_rate, sound.pts = 44_100, 0
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    decoded = await decoder.decode(source, target)
    assert (decoded.container, decoded.codec) == ("ogg", "vorbis")
    check(target)


async def test_the_sound_of_a_film_is_taken_and_its_pictures_left(decoder: Decoder, tmp_path: Path) -> None:
    source, target = tmp_path / "film.mp4", tmp_path / "out.pcm"
    write(source, "mp4", "aac", 44_100, "stereo", video=True)
    assert (await decoder.decode(source, target)).codec == "aac"
    check(target)


async def test_channels_are_mixed_by_their_mean(decoder: Decoder, tmp_path: Path) -> None:
    source, target = tmp_path / "left.wav", tmp_path / "out.pcm"
    left = np.rint(tone(16_000) * 32767).astype("<i2")
    body = np.stack([left, np.zeros_like(left)], axis=1).tobytes()
    source.write_bytes(wav(body, channels=2))
    await decoder.decode(source, target)
    np.testing.assert_allclose(PcmFile(target).as_int16(), left / 2, atol=1)


@pytest.mark.parametrize("declared", [0, 0xFFFFFFFF, 0x7FFFF000])
async def test_a_wav_written_to_a_pipe_is_read_to_its_end(declared: int, decoder: Decoder, tmp_path: Path) -> None:
    source, target = tmp_path / "live.wav", tmp_path / "out.pcm"
    source.write_bytes(wav(np.rint(tone(16_000) * 32767).astype("<i2").tobytes(), declared=declared))
    await decoder.decode(source, target)
    check(target)


async def test_an_mp3_with_a_damaged_middle_keeps_its_time(decoder: Decoder, tmp_path: Path) -> None:
    source, target = tmp_path / "scratched.mp3", tmp_path / "out.pcm"
    write(source, "mp3", "libmp3lame", 44_100, "mono")
    body = bytearray(source.read_bytes())
    middle = len(body) // 2
    body[middle : middle + 300] = bytes(300)
    source.write_bytes(body)
    decoded = await decoder.decode(source, target, strict=False)
    assert abs(decoded.duration_secs - SECS) < 0.1
    (warning,) = decoded.warnings
    assert warning.code == "damaged_audio"
    assert warning.at_secs == pytest.approx(SECS / 2, abs=0.15)


def wav(
    body: bytes, *, rate_hz: int = 16_000, channels: int = 1, kind: int = 1, bits: int = 16, declared: int | None = None
) -> bytes:
    """A RIFF file around ``body``, with whatever length it should claim."""
    frame = channels * bits // 8
    size = len(body) if declared is None else declared
    riff = struct.pack("<4sI4s", b"RIFF", min(36 + size, 0xFFFFFFFF), b"WAVE")
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, kind, channels, rate_hz, rate_hz * frame, frame, bits)
    return riff + fmt + struct.pack("<4sI", b"data", size) + body
