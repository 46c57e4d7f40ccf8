"""Files that are no recordings, or broken ones: each is refused with its code, and nothing is left behind."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from audio.decoding.decoder import Decoder
from schemas.errors import InvalidAudio, Unavailable
from schemas.settings import LimitSettings
from tests.integration.test_decode import tone, wav, write

pytestmark = pytest.mark.integration

MALFORMED = Path(os.environ.get("FLUXIONS_TEST_AUDIO", Path(__file__).parents[3] / "shared" / "audio")) / "malformed"


@pytest.fixture
async def decoder() -> AsyncIterator[Decoder]:
    async with Decoder(LimitSettings()) as running:
        yield running


async def refusal(decoder: Decoder, source: Path) -> InvalidAudio:
    target = source.with_suffix(".pcm")
    with pytest.raises(InvalidAudio) as caught:
        await decoder.decode(source, target)
    assert not target.exists()
    return caught.value


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "empty_audio"),
        (wav(b""), "empty_audio"),
        (b"#EXTM3U\nfile:///etc/passwd\n", "playlist"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "playlist"),
        (b"<html><body>404</body></html>", "not_audio"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not_audio"),
        (b"OggS" + bytes(500), "empty_audio"),
        (b"fLaC" + b"\xff" * 500, "unreadable_audio"),
        (b"\x1a\x45\xdf\xa3" + b"\x81" * 500, "unreadable_audio"),
        (b"RIFF\x10\0\0\0WAVE", "unreadable_audio"),
        (wav(bytes(255 * 2 * 100), channels=255), "too_many_channels"),
        (wav(bytes(0), channels=0), "unreadable_audio"),
        (wav(bytes(2000), rate_hz=1_092_676), "unreadable_audio"),
        (wav(np.array([0.1, np.nan] * 500, "<f4").tobytes(), kind=3, bits=32), "invalid_samples"),
        (wav(np.full(1000, np.inf, "<f4").tobytes(), kind=3, bits=32), "invalid_samples"),
        (wav(np.full(1000, 1e300, "<f8").tobytes(), kind=3, bits=64), "invalid_samples"),
        (wav(bytes(32_000), declared=320_000), "truncated_audio"),
    ],
)
async def test_what_cannot_be_read_says_why(body: bytes, code: str, decoder: Decoder, tmp_path: Path) -> None:
    source = tmp_path / "sent"
    source.write_bytes(body)
    assert (await refusal(decoder, source)).code == code


async def test_a_truncated_wav_is_reported_with_the_missing_part(decoder: Decoder, tmp_path: Path) -> None:
    source = tmp_path / "cut.wav"
    source.write_bytes(wav(bytes(102_400), declared=320_000))
    assert "declares 10.0 s and holds 3.2 s" in (await refusal(decoder, source)).message
    decoded = await decoder.decode(source, tmp_path / "out.pcm", strict=False)
    assert decoded.duration_secs == pytest.approx(3.2)
    (warning,) = decoded.warnings
    assert (warning.code, warning.at_secs) == ("truncated_audio", pytest.approx(3.2))
    assert "declares 10.0 s and holds 3.2 s" in warning.message


@pytest.mark.parametrize(
    ("name", "muxer", "codec"),
    [
        ("a.flac", "flac", "flac"),
        ("a.m4a", "mp4", "aac"),
        ("a.mka", "matroska", "pcm_s16le"),
        ("a.aiff", "aiff", "pcm_s16be"),
        ("a.caf", "caf", "pcm_s16be"),
        ("a.w64", "w64", "pcm_s16le"),
    ],
)
async def test_a_file_that_knows_its_length_and_is_cut_is_refused_or_read_with_a_warning(
    name: str, muxer: str, codec: str, decoder: Decoder, tmp_path: Path
) -> None:
    source, target = tmp_path / name, tmp_path / "out.pcm"
    if codec == "aac":
        # With its index ahead of its sound, as files meant for the web have it: without an index nothing can be read.
        write(source, muxer, codec, 44_100, "mono", options={"movflags": "faststart"})
    else:
        write(source, muxer, codec, 44_100, "mono")
    assert not (await decoder.decode(source, target)).warnings
    whole = source.read_bytes()
    source.write_bytes(whole[: len(whole) * 3 // 5])
    assert (await refusal(decoder, source)).code == "truncated_audio"
    decoded = await decoder.decode(source, target, strict=False)
    assert 0.8 < decoded.duration_secs < 1.5
    (warning,) = decoded.warnings
    assert warning.code == "truncated_audio"
    assert warning.at_secs == pytest.approx(decoded.duration_secs, abs=0.1)


async def test_without_its_index_a_file_is_refused_whatever_is_asked(decoder: Decoder, tmp_path: Path) -> None:
    source = tmp_path / "a.m4a"
    write(source, "mp4", "aac", 44_100, "mono")
    whole = source.read_bytes()
    source.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidAudio) as caught:
        await decoder.decode(source, tmp_path / "out.pcm", strict=False)
    assert caught.value.code == "truncated_audio"


def aac_packets(source: Path) -> list[tuple[int, int]]:
    """(offset, size) of each packet of sound in an MP4 file."""
    with av.open(str(source)) as container:
        return [(p.pos, p.size) for p in container.demux(audio=0) if p.pos is not None and p.size]


async def test_a_damaged_packet_is_silence_with_a_warning(decoder: Decoder, tmp_path: Path) -> None:
    source, target = tmp_path / "a.m4a", tmp_path / "out.pcm"
    write(source, "mp4", "aac", 44_100, "mono")
    packets = aac_packets(source)
    middle = len(packets) // 2
    offset, size = packets[middle]
    body = bytearray(source.read_bytes())
    body[offset : offset + size] = b"\xff" * size
    source.write_bytes(body)
    assert (await refusal(decoder, source)).code == "damaged_audio"
    decoded = await decoder.decode(source, target, strict=False)
    assert decoded.duration_secs == pytest.approx(2.0, abs=0.1)
    (warning,) = decoded.warnings
    assert warning.code == "damaged_audio"
    assert warning.at_secs == pytest.approx(middle * 1024 / 44_100, abs=0.1)


async def test_a_recording_that_is_damaged_to_its_end_breaks_off_there(decoder: Decoder, tmp_path: Path) -> None:
    source, target = tmp_path / "a.m4a", tmp_path / "out.pcm"
    write(source, "mp4", "aac", 44_100, "mono")
    packets = aac_packets(source)
    body = bytearray(source.read_bytes())
    for offset, size in packets[len(packets) // 2 :]:
        body[offset : offset + size] = b"\xff" * size
    source.write_bytes(body)
    assert (await refusal(decoder, source)).code == "truncated_audio"
    (warning,) = (await decoder.decode(source, target, strict=False)).warnings
    assert warning.code == "truncated_audio"
    assert warning.at_secs == pytest.approx(1.0, abs=0.1)


async def test_a_recording_with_much_damage_is_refused_whatever_is_asked(decoder: Decoder, tmp_path: Path) -> None:
    source = tmp_path / "a.m4a"
    write(source, "mp4", "aac", 44_100, "mono")
    packets = aac_packets(source)
    body = bytearray(source.read_bytes())
    for offset, size in packets[10:-10:4] + packets[11:-10:4] + packets[12:-10:4]:
        body[offset : offset + size] = b"\xff" * size
    source.write_bytes(body)
    with pytest.raises(InvalidAudio, match="packets are damaged") as caught:
        await decoder.decode(source, tmp_path / "out.pcm", strict=False)
    assert caught.value.code == "unreadable_audio"


@pytest.mark.parametrize(
    ("name", "muxer", "codec"), [("a.mp3", "mp3", "libmp3lame"), ("a.aac", "adts", "aac"), ("a.ogg", "ogg", "flac")]
)
async def test_a_stream_may_end_anywhere(name: str, muxer: str, codec: str, decoder: Decoder, tmp_path: Path) -> None:
    source = tmp_path / name
    write(source, muxer, codec, 44_100, "mono")
    whole = source.read_bytes()
    source.write_bytes(whole[: len(whole) * 3 // 4])
    decoded = await decoder.decode(source, tmp_path / "out.pcm")
    assert 1.0 < decoded.duration_secs < 1.9


async def test_a_film_without_sound(decoder: Decoder, tmp_path: Path) -> None:
    source = tmp_path / "mute.mp4"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(10):
            container.mux(stream.encode(VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    assert (await refusal(decoder, source)).code == "no_audio_track"


async def test_random_damage_never_takes_the_decoder_down(decoder: Decoder, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    source, target = tmp_path / "sent", tmp_path / "out.pcm"
    for muxer, codec in [("wav", "pcm_s16le"), ("flac", "flac"), ("mp4", "aac"), ("ogg", "libopus"), ("webm", "libopus")]:
        write(source, muxer, codec, 48_000, "mono")
        whole = np.frombuffer(source.read_bytes(), np.uint8)
        for _ in range(4):
            damaged = whole.copy()
            where = rng.integers(0, min(len(whole), 2000), 20)
            damaged[where] = rng.integers(0, 256, 20)
            source.write_bytes(damaged.tobytes())
            # Damage may be inaudible, or be refused; anything else that is raised fails here.
            with contextlib.suppress(InvalidAudio):
                decoded = await decoder.decode(source, target)
                assert decoded.num_samples == target.stat().st_size // 2
    source.write_bytes(wav(np.rint(tone(16_000) * 32767).astype("<i2").tobytes()))
    assert (await decoder.decode(source, target)).num_samples == 32_000


@pytest.mark.skipif(not MALFORMED.is_dir(), reason=f"no malformed files in {MALFORMED}")
async def test_malformed_files_of_another_decoder(decoder: Decoder, tmp_path: Path) -> None:
    for source in sorted(MALFORMED.iterdir()):
        with pytest.raises(InvalidAudio) as caught:
            await decoder.decode(source, tmp_path / "out.pcm")
        assert caught.value.code in {"empty_audio", "unreadable_audio", "truncated_audio"}, source.name


async def test_the_machines_faults_are_not_the_files(decoder: Decoder, tmp_path: Path) -> None:
    source = tmp_path / "fine.wav"
    source.write_bytes(wav(bytes(32_000)))
    with pytest.raises(Unavailable):
        await decoder.decode(source, tmp_path / "no such folder" / "out.pcm")
