"""Tags in front, headers that understate, and files that were joined: all of the sound is read."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from audio.decoding.decoder import Decoder
from audio.decoding.mixing import Mixer
from audio.pcm import to_int16
from schemas.settings import LimitSettings
from tests.integration.test_decode import wav
from tests.integration.test_decode_clock import decoded
from tests.support.media import encode, staircase

pytestmark = pytest.mark.integration

RATE = 16_000


@pytest.fixture
async def decoder() -> AsyncIterator[Decoder]:
    async with Decoder(LimitSettings()) as running:
        yield running


def pcm(rate_hz: int = RATE) -> bytes:
    return to_int16(staircase(3, rate_hz)).tobytes()


def id3(cover_bytes: int) -> bytes:
    """A tag with a picture. https://id3.org/id3v2.3.0"""
    size = bytes(cover_bytes >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + size + (b"APIC\x89PNG" * (cover_bytes // 8 + 1))[:cover_bytes]


def encoded(folder: Path, name: str, muxer: str, codec: str, rate_hz: int) -> bytes:
    return encode(folder / name, muxer, codec, rate_hz, staircase(3, rate_hz)).read_bytes()


@pytest.mark.parametrize("cover_bytes", [100, 20_000, 300_000])
@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "aac", "opus"])
async def test_a_tag_in_front_is_passed_over(kind: str, cover_bytes: int, decoder: Decoder, tmp_path: Path) -> None:
    bodies = {
        "wav": wav(pcm()),
        "flac": encoded(tmp_path, "a.flac", "flac", "flac", RATE),
        "mp3": encoded(tmp_path, "a.mp3", "mp3", "libmp3lame", RATE),
        "aac": encoded(tmp_path, "a.aac", "adts", "aac", RATE),
        "opus": encoded(tmp_path, "a.opus", "ogg", "libopus", 48_000),
    }
    (path := tmp_path / "sent").write_bytes(id3(cover_bytes) + id3(50) + bodies[kind])
    report, seconds = await decoded(decoder, path)
    assert (seconds, report.warnings) == ([0, 1, 2], ())
    assert report.container == {"opus": "ogg"}.get(kind, kind)


UNDERSTATED: dict[str, tuple[str, str, bytes, int, str]] = {
    "wav": ("wav", "pcm_s16le", b"data", 4, "<I"),
    "rf64": ("wav", "pcm_s16le", b"ds64", 16, "<Q"),
    "aiff": ("aiff", "pcm_s16be", b"SSND", 4, ">I"),
    "caf": ("caf", "pcm_s16be", b"data", 4, ">Q"),
    "w64": ("w64", "pcm_s16le", b"data", 16, "<Q"),
    "au": ("au", "pcm_s16be", b".snd", 8, ">I"),
    "avi": ("avi", "pcm_s16le", b"movi", -4, "<I"),
    "mp4": ("mp4", "aac", b"mdat", -4, ">I"),
    "wma": ("asf", "wmav2", bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c"), 16, "<Q"),
    "mkv": ("matroska", "aac", b"\x18\x53\x80\x67", 4, ">Q"),
}
"""Muxer and codec, and where which size is: so many bytes behind a marker."""


def understating(folder: Path, kind: str) -> bytes:
    """A file whose header declares a third of its sound."""
    muxer, codec, marker, offset, form = UNDERSTATED[kind]
    rate = 44_100 if codec == "wmav2" else RATE
    options = {"rf64": "always"} if kind == "rf64" else {}
    sound = staircase(3, rate)
    layout, bit_rate = ("stereo", 96_000) if codec == "wmav2" else ("mono", None)
    body = bytearray(
        encode(folder / "a", muxer, codec, rate, sound, layout=layout, bit_rate=bit_rate, options=options).read_bytes()
    )
    at = body.index(marker) + offset
    (size,) = struct.unpack_from(form, body, at)
    # Matroska writes the width of the number into its first byte.
    width = size & (0xFF << 56) if kind == "mkv" else 0
    struct.pack_into(form, body, at, width | (size - width) // 3)
    return bytes(body)


@pytest.mark.parametrize("kind", UNDERSTATED)
async def test_a_header_that_understates_is_read_on_with_a_warning(kind: str, decoder: Decoder, tmp_path: Path) -> None:
    (path := tmp_path / "sent").write_bytes(understating(tmp_path, kind))
    report, seconds = await decoded(decoder, path)
    assert seconds == [0, 1, 2]
    (warning,) = report.warnings
    assert warning.code == "wrong_header"
    assert "all of them were read" in warning.message
    # Nothing is lost, so it does not fail where a recording must be whole.
    await decoder.decode(path, tmp_path / "strict.pcm")


@pytest.mark.parametrize(
    ("muxer", "marker", "offset", "value"),
    [
        ("matroska", b"\x44\x89\x88", 3, struct.pack(">d", 1000.0)),
        ("flv", b"duration\0", 9, struct.pack(">d", 1.0)),
        ("mp4", b"mdhd", 20, struct.pack(">I", RATE)),
    ],
)
async def test_a_length_that_is_too_short_is_read_on_with_a_warning(
    muxer: str, marker: bytes, offset: int, value: bytes, decoder: Decoder, tmp_path: Path
) -> None:
    rate = 44_100 if muxer == "flv" else RATE
    body = encode(path := tmp_path / "sent", muxer, "aac", rate, staircase(3, rate)).read_bytes()
    at = body.index(marker) + offset
    path.write_bytes(body[:at] + value + body[at + len(value) :])
    report, seconds = await decoded(decoder, path)
    assert (seconds[:3], [w.code for w in report.warnings]) == ([0, 1, 2], ["wrong_header"])
    assert "declares 1.0 s and 3." in report.warnings[0].message


async def test_a_cut_off_rf64_file_says_so(decoder: Decoder, tmp_path: Path) -> None:
    path = encode(tmp_path / "a.wav", "wav", "pcm_s16le", RATE, staircase(4, RATE), options={"rf64": "always"})
    path.write_bytes(b"BW64" + path.read_bytes()[4 : path.stat().st_size // 2])
    report, seconds = await decoded(decoder, path)
    assert (seconds, [w.code for w in report.warnings]) == ([0, 1], ["truncated_audio"])


@pytest.mark.parametrize("trailer", [b"LIST\x04\0\0\0INFO", b"ID3\x04" + b"\xff" * 6000, bytes(9000)])
async def test_what_stands_behind_the_samples_is_no_sound(trailer: bytes, decoder: Decoder, tmp_path: Path) -> None:
    (path := tmp_path / "sent").write_bytes(wav(pcm()) + trailer)
    report, seconds = await decoded(decoder, path)
    assert (seconds, report.warnings, report.duration_secs) == ([0, 1, 2], (), 3.0)


@pytest.mark.parametrize(
    "kind",
    [
        *("wav", "lying wav", "rf64", "flac", "mp3", "aac", "opus", "ogg of two rates", "ogg of two codecs"),
        *("au", "amr", "m4a", "flv", "wma", "mkv", "live mkv"),
    ],
)
async def test_joined_files_are_read_one_after_another(kind: str, decoder: Decoder, tmp_path: Path) -> None:
    def ogg(codec: str, rate_hz: int) -> bytes:
        return encoded(tmp_path, "a.ogg", "ogg", codec, rate_hz)

    def wide() -> bytes:
        path = encode(tmp_path / "w.wav", "wav", "pcm_s16le", RATE, staircase(3, RATE), options={"rf64": "always"})
        return path.read_bytes()

    bodies = {
        "wav": lambda: wav(pcm()) + wav(pcm(44_100), rate_hz=44_100),
        "lying wav": lambda: wav(pcm(), declared=1000) + wav(pcm(8_000), rate_hz=8_000),
        "flac": lambda: b"".join(encoded(tmp_path, "a.flac", "flac", "flac", rate) for rate in (RATE, 44_100)),
        "mp3": lambda: id3(50_000).join(encoded(tmp_path, "a.mp3", "mp3", "libmp3lame", rate) for rate in (44_100, RATE)),
        "aac": lambda: encoded(tmp_path, "a.aac", "adts", "aac", RATE) * 2,
        "opus": lambda: ogg("libopus", 48_000) * 2,
        "ogg of two rates": lambda: ogg("flac", RATE) + ogg("flac", 44_100),
        "ogg of two codecs": lambda: ogg("flac", RATE) + ogg("libopus", 48_000),
        "rf64": lambda: wide() + wav(pcm(44_100), rate_hz=44_100) + wide(),
        "au": lambda: (
            encoded(tmp_path, "a.au", "au", "pcm_s16be", RATE) + encoded(tmp_path, "b.au", "au", "pcm_alaw", 8_000)
        ),
        "amr": lambda: encoded(tmp_path, "a.amr", "amr", "libopencore_amrnb", 8_000) * 2,
        "m4a": lambda: b"".join(encoded(tmp_path, "a.m4a", "mp4", "aac", rate) for rate in (RATE, 44_100)),
        "flv": lambda: encoded(tmp_path, "a.flv", "flv", "aac", 44_100) * 2,
        "wma": lambda: encoded(tmp_path, "a.wma", "asf", "aac", 44_100) * 2,
        "mkv": lambda: (
            encoded(tmp_path, "a.mka", "matroska", "libopus", 48_000) + encoded(tmp_path, "b.mka", "matroska", "flac", RATE)
        ),
        "live mkv": lambda: (
            encode(
                tmp_path / "l.mka", "matroska", "libopus", 48_000, staircase(3, 48_000), options={"live": "1"}
            ).read_bytes()
            * 2
        ),
    }
    (path := tmp_path / "sent").write_bytes(bodies[kind]())
    report, seconds = await decoded(decoder, path)
    assert seconds[:6] == [0, 1, 2, 0, 1, 2]
    assert report.duration_secs == pytest.approx(9.0 if kind == "rf64" else 6.0, abs=0.2)
    # The first frame of the second MP3 file needs bits of frames before it.
    expected = {"lying wav": {"wrong_header"}, "mp3": {"damaged_audio", "missing_audio"}}
    assert {w.code for w in report.warnings} <= expected.get(kind, set())


@pytest.mark.parametrize("kind", ["asf", "avi", "flv", "mpegts", "m4b", "ac3", "mp2"])
async def test_further_containers_are_read(kind: str, decoder: Decoder, tmp_path: Path) -> None:
    muxer, codec = {
        "asf": ("asf", "wmav2"),
        "avi": ("avi", "libmp3lame"),
        "flv": ("flv", "libmp3lame"),
        "mpegts": ("mpegts", "mp2"),
        "m4b": ("ipod", "aac"),
        "ac3": ("ac3", "ac3"),
        "mp2": ("mp2", "mp2"),
    }[kind]
    path = encode(
        tmp_path / "a",
        muxer,
        codec,
        44_100,
        staircase(3, 44_100),
        layout="stereo",
        bit_rate=96_000 if kind == "asf" else None,
    )
    report, seconds = await decoded(decoder, path)
    assert seconds[:3] == [0, 1, 2]
    assert report.warnings == ()


@pytest.mark.parametrize("gains", [(1, -1), (1, -0.5), (0.3, -1), (1, 1, -1, -1), (1, 0.9), (0, 1)])
def test_channels_never_cancel(gains: tuple[float, ...]) -> None:
    tone = staircase(1, RATE)
    offsets = np.linspace(-0.3, 0.3, len(gains), dtype=np.float32)[:, None]
    channels = np.stack([gain * tone for gain in gains]).astype(np.float32) + offsets
    mixer = Mixer()
    mixed = np.concatenate([mixer.mix(channels[:, at : at + 1024], RATE) for at in range(0, RATE, 1024)])
    loud = np.abs(np.array(gains)).mean() * np.std(tone)
    assert np.std(mixed - mixed.mean()) == pytest.approx(loud, rel=0.02)


def test_unrelated_channels_are_mixed_as_they_are() -> None:
    channels = np.random.default_rng(3).standard_normal((2, RATE)).astype(np.float32)
    np.testing.assert_allclose(Mixer().mix(channels, RATE), channels.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("factor", [4.0, 30.0])
async def test_floating_point_samples_beyond_full_scale_are_turned_down(
    factor: float, decoder: Decoder, tmp_path: Path
) -> None:
    samples = factor * staircase(3, RATE)
    (path := tmp_path / "loud.wav").write_bytes(wav(samples.astype("<f4").tobytes(), kind=3, bits=32))
    report, seconds = await decoded(decoder, path)
    assert (seconds, report.warnings) == ([0, 1, 2], ())
    found = np.frombuffer(path.with_suffix(".pcm").read_bytes(), "<i2").astype(float)
    # A sine has .707 of its peak; with a flat top it has more.
    assert found.std() / np.abs(found).max() == pytest.approx(np.sqrt(0.5), rel=0.05)
    assert np.abs(found).max() > 20_000
