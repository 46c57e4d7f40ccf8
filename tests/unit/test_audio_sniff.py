"""What a file is by its first bytes: recordings by demuxer, everything else by a refusal that names it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio.decoding.demux import KINDS
from audio.decoding.refusals import reject_non_audio
from audio.decoding.sniff import HEAD_BYTES, sniff
from audio.encode import Format, encode
from schemas.errors import InvalidAudio

pytestmark = pytest.mark.unit

TONE = (8000 * np.sin(np.arange(16_000) * 0.2)).astype("<i2")


@pytest.mark.parametrize(("fmt", "demuxer"), [("wav", "wav"), ("flac", "flac"), ("mp3", "mp3"), ("opus", "ogg")])
def test_encoded_files_are_recognised(fmt: Format, demuxer: str) -> None:
    head = encode(TONE, fmt, 16_000)[:HEAD_BYTES]
    assert sniff(head) == demuxer
    reject_non_audio(head, 100_000)


def test_mp3_without_any_tag_is_found_by_its_frames() -> None:
    body = encode(TONE, "mp3", 16_000)
    assert body[:3] == b"ID3"
    bare = body[10 + int.from_bytes(body[8:10], "big") :]
    assert sniff(bare[:HEAD_BYTES]) == "mp3"
    assert sniff((bare[3:])[:HEAD_BYTES]) == "mp3"


def test_adts_behind_an_id3_tag_is_aac() -> None:
    adts = (b"\xff\xf1\x50\x80\x03\x1f\xfc" + bytes(17)) * 4
    assert sniff(adts) == "aac"
    assert sniff(b"ID3\x04\x00\x00\x00\x00\x00\x05hello" + adts) == "aac"


@pytest.mark.parametrize(
    ("head", "code", "said"),
    [
        (b"", "empty_audio", "empty"),
        (b"#EXTM3U\nhttp://127.0.0.1/secret.wav", "playlist", "playlist"),
        (b"\xef\xbb\xbf\n#EXTM3U\n#EXT-X-VERSION:3", "playlist", "playlist"),
        (b"[playlist]\nFile1=/etc/passwd", "playlist", "playlist"),
        (b"ffconcat version 1.0\nfile /etc/passwd", "playlist", "playlist"),
        (b'<?xml version="1.0"?>\n<smil><body/></smil>', "playlist", "playlist"),
        (b'<?xml version="1.0"?><playlist version="1" xmlns="http://xspf.org/ns/0/">', "playlist", "playlist"),
        (b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011">', "playlist", "playlist"),
        (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1", "playlist", "playlist"),
        (b'{"url": "https://example.com/a.wav"}', "not_audio", "JSON"),
        (b"<!doctype html><html>", "not_audio", "web page"),
        (b"hello there", "not_audio", "text"),
        (b"\x89PNG\r\n\x1a\n\0\0", "not_audio", "PNG"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(50), "not_audio", "JPEG"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "not_audio", "image"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "not_audio", "image"),
        (b"%PDF-1.7", "not_audio", "PDF"),
        (b"PK\x03\x04\x14\0", "not_audio", "ZIP"),
        (bytes(400), "not_audio", "zero bytes"),
        (b"\x01\x02\x03\x04" * 20, "not_audio", "unknown"),
        (b"\x01\x02\x03\x04" * 20, "not_audio", "format=s16le"),
        (bytes(400), "not_audio", "format=s16le"),
        (b'--a1\r\nContent-Disposition: form-data; name="file"\r\n\r\nRIFF', "not_audio", "send the bytes, not a form"),
        (
            b'--a1\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
            + (b"\xff\xf1\x50\x80\x03\x1f\xfc" + bytes(17)) * 4,
            "not_audio",
            "send the bytes, not a form",
        ),
        (b"data:audio/wav;base64,UklGRiQ", "not_audio", "base64"),
        (b"wvpk" + bytes(50), "not_audio", "WavPack"),
        (b".RMF" + bytes(50), "not_audio", "RealMedia"),
        (b"RIFF\x10\0\0\0QLCMfmt ", "not_audio", "QLCM"),
    ],
)
def test_what_is_no_recording_is_refused_by_name(head: bytes, code: str, said: str) -> None:
    with pytest.raises(InvalidAudio, match=said) as caught:
        reject_non_audio(head, len(head))
    assert caught.value.code == code


@given(st.binary(max_size=600))
def test_any_bytes_are_either_named_or_refused(head: bytes) -> None:
    demuxer = sniff(head)
    if demuxer is None:
        with pytest.raises(InvalidAudio):
            reject_non_audio(head, len(head))
    else:
        assert demuxer in KINDS


@pytest.mark.parametrize("level", [1, 30, 3_000, 30_000])
def test_raw_pcm_is_not_taken_for_a_stream(level: int) -> None:
    rng = np.random.default_rng(level)
    for _ in range(50):
        head = np.clip(rng.normal(0, level, HEAD_BYTES // 2), -32_768, 32_767).astype("<i2").tobytes()
        assert sniff(head) is None
