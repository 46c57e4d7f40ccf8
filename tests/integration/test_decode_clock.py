"""The file's own clock: what is late, missing or damaged is silence, and everything after it keeps its time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from audio.decoding.decoder import Decoder
from audio.decoding.protocol import Decoded
from audio.pcm import PcmFile, to_float
from schemas.errors import InvalidAudio
from schemas.settings import LimitSettings
from tests.support.media import encode, packets, seconds_in, staircase

pytestmark = pytest.mark.integration

SECS = 8
ALL = list(range(SECS))
STREAMS: dict[str, tuple[str, str, int]] = {
    "a.flac": ("flac", "flac", 16_000),
    "a.mp3": ("mp3", "libmp3lame", 44_100),
    "a.mp2": ("mp2", "mp2", 44_100),
    "a.aac": ("adts", "aac", 44_100),
    "a.ac3": ("ac3", "ac3", 48_000),
    "a.m4a": ("mp4", "aac", 44_100),
    "a.opus": ("ogg", "libopus", 48_000),
    "a.ogg": ("ogg", "flac", 16_000),
    "a.ts": ("mpegts", "aac", 44_100),
    "a.mpg": ("mpeg", "mp2", 44_100),
    "a.flv": ("flv", "aac", 44_100),
    "a.avi": ("avi", "pcm_s16le", 16_000),
    "a.mka": ("matroska", "libopus", 48_000),
}


@pytest.fixture
async def decoder() -> AsyncIterator[Decoder]:
    async with Decoder(LimitSettings()) as running:
        yield running


async def decoded(decoder: Decoder, path: Path, track: int | None = None) -> tuple[Decoded, list[int | None]]:
    target = path.with_suffix(".pcm")
    report = await decoder.decode(path, target, strict=False, audio_track=track)
    return report, seconds_in(to_float(PcmFile(target).as_int16()))


def overwritten(path: Path, start: int, content: bytes) -> None:
    body = bytearray(path.read_bytes())
    body[start : start + len(content)] = content
    path.write_bytes(body)


@pytest.mark.parametrize("name", STREAMS)
async def test_a_second_that_is_damaged_is_silent_and_later_ones_keep_their_time(
    name: str, decoder: Decoder, tmp_path: Path
) -> None:
    muxer, codec, rate = STREAMS[name]
    # Short clusters, as recorders in browsers write them: what is behind a damaged one can be found again.
    options = {"cluster_time_limit": "500"} if muxer == "matroska" else {}
    path = encode(tmp_path / name, muxer, codec, rate, staircase(SECS, rate), options=options)
    report, seconds = await decoded(decoder, path)
    assert (seconds, report.warnings) == (ALL, ())
    size = path.stat().st_size
    noise = np.random.default_rng(1).integers(0, 256, size // 8, dtype=np.uint8).tobytes()
    overwritten(path, size // 2, noise)
    report, seconds = await decoded(decoder, path)
    assert seconds[:4] == ALL[:4]
    # A page or cluster may be longer than the damage.
    assert seconds[6:7] == [6]
    assert seconds[7:] in ([7], [])
    assert 5 not in seconds[:5]
    assert {w.code for w in report.warnings} <= {"damaged_audio", "missing_audio"}
    assert report.warnings
    assert any(w.at_secs is not None and 3.5 < w.at_secs < 5.1 for w in report.warnings)


@pytest.mark.parametrize("name", sorted(STREAMS.keys() - {"a.flv"}))
async def test_one_damaged_packet_refuses_no_recording(name: str, decoder: Decoder, tmp_path: Path) -> None:
    muxer, codec, rate = STREAMS[name]
    path = encode(tmp_path / name, muxer, codec, rate, staircase(6, rate))
    found = packets(path)
    position, size = found[len(found) // 2]
    overwritten(path, position, b"\xff" * size)
    report, seconds = await decoded(decoder, path)
    assert report.duration_secs == pytest.approx(6.0, abs=0.15)
    assert [seconds[0], seconds[5]] == [0, 5]


FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "500000"}


@pytest.mark.parametrize(
    "lost", ["index", "name of the index", "length of the index", "fragments", "header of the samples", "all"]
)
async def test_fragments_behind_a_damaged_header_are_read(lost: str, decoder: Decoder, tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", "mp4", "aac", 48_000, staircase(SECS, 48_000), options=FRAGMENTED)
    report, seconds = await decoded(decoder, path)
    assert (seconds, report.warnings) == (ALL, ())
    body = path.read_bytes()
    starts = [at - 4 for at in range(len(body)) if body.startswith(b"moof", at)]
    # One of 16 fragments, half a second long, behind four seconds.
    at = starts[8]
    samples = body.index(b"mdat", at) - 4
    start, content = {
        "index": (at, bytes(8)),
        "name of the index": (at + 4, b"\xff\xfe\xfd\xfc"),
        "length of the index": (at, b"\x7f\xff\xff\xff"),
        "fragments": (at, bytes(starts[12] - at)),
        "header of the samples": (samples, b"\xff" * 8),
        "all": (at, b"\xff" * (len(body) - at)),
    }[lost]
    overwritten(path, start, content)
    report, seconds = await decoded(decoder, path)
    codes = [w.code for w in report.warnings]
    if lost == "all":
        assert (seconds, codes) == (ALL[:4], ["truncated_audio"])
    elif lost == "fragments":
        assert (seconds, codes) == ([0, 1, 2, 3, None, None, 6, 7], ["damaged_audio", "missing_audio"])
    else:
        assert seconds == ALL
        assert codes == ([] if lost == "header of the samples" else ["damaged_audio", "missing_audio"])


@pytest.mark.parametrize("header", [bytes(4) + b"mdat", b"\xff" * 8])
@pytest.mark.parametrize("flags", ["", "faststart"])
async def test_an_index_is_found_behind_samples_whose_header_is_damaged(
    header: bytes, flags: str, decoder: Decoder, tmp_path: Path
) -> None:
    options = {"movflags": flags} if flags else {}
    path = encode(tmp_path / "a.m4a", "mp4", "aac", 48_000, staircase(3, 48_000), options=options)
    overwritten(path, path.read_bytes().index(b"mdat") - 4, header)
    report, seconds = await decoded(decoder, path)
    assert (seconds[:3], report.warnings) == ([0, 1, 2], ())


@pytest.mark.parametrize(
    ("name", "muxer", "codec", "rate"),
    [
        ("late.mp4", "mp4", "aac", 44_100),
        ("late.mov", "mov", "aac", 44_100),
        ("late.mka", "matroska", "libopus", 48_000),
        ("late.flv", "flv", "aac", 44_100),
        ("late.opus", "ogg", "libopus", 48_000),
    ],
)
async def test_a_track_that_starts_late_is_preceded_by_silence(
    name: str, muxer: str, codec: str, rate: int, decoder: Decoder, tmp_path: Path
) -> None:
    path = encode(tmp_path / name, muxer, codec, rate, staircase(3, rate), start_secs=3.0)
    report, seconds = await decoded(decoder, path)
    assert seconds == [None, None, None, 0, 1, 2]
    assert report.warnings == ()


async def test_a_live_stream_that_was_joined_late_counts_from_its_start(decoder: Decoder, tmp_path: Path) -> None:
    path = encode(tmp_path / "a.opus", "ogg", "libopus", 48_000, staircase(3, 48_000), start_secs=7200.0)
    report, seconds = await decoded(decoder, path)
    assert (seconds, report.warnings) == ([0, 1, 2], ())


async def test_a_header_without_sound_says_so_in_our_words(decoder: Decoder, tmp_path: Path) -> None:
    path = encode(tmp_path / "a.webm", "webm", "libopus", 48_000, staircase(1, 48_000))
    body = path.read_bytes()
    path.write_bytes(body[: body.index(b"\x1f\x43\xb6\x75")])
    with pytest.raises(InvalidAudio, match="holds no sound; record it again") as caught:
        await decoded(decoder, path)
    assert caught.value.code == "empty_audio"


async def test_every_audio_track_can_be_chosen_and_the_default_one_is_taken(decoder: Decoder, tmp_path: Path) -> None:
    rate = 48_000
    silent, spoken = np.zeros(2 * rate, np.float32), staircase(2, rate)
    path = encode(tmp_path / "a.mkv", "matroska", "libopus", rate, silent, spoken, default=1)
    report, seconds = await decoded(decoder, path)
    assert (report.audio_track, report.audio_tracks, report.default_track, seconds) == (1, 2, 1, [0, 1])
    report, seconds = await decoded(decoder, path, 0)
    assert (report.audio_track, seconds) == (0, [None, None])
    with pytest.raises(InvalidAudio, match="audio_track 2: the file has 2 audio tracks") as caught:
        await decoded(decoder, path, 2)
    assert caught.value.code == "no_such_track"
