"""Names of files and downloads: any bytes are shown, sent and stored, and a name that is too long is cut."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.archives.sources.entries import filename_of, local_path, location_of
from runtime.file_names import MAX_NAME_BYTES, download_name, fitting, readable

pytestmark = pytest.mark.unit

LATIN = os.fsdecode(b"caf\xe9.wav")


def test_bytes_that_are_no_utf8_are_read_as_latin1() -> None:
    assert readable(LATIN) == "café.wav"
    assert readable("café.wav") == "café.wav"
    assert readable("lone \ud800.wav") == "lone ?.wav"


@given(st.binary(min_size=1, max_size=300))
def test_any_name_on_a_disk_can_be_shown_and_found_again(name: bytes) -> None:
    content = b"/talks/" + name.replace(b"/", b"_").replace(b"\0", b"_")
    path = os.fsdecode(content)
    readable(path).encode()
    location = location_of(type(local_path("/"))(path))
    location.encode()
    filename_of(location).encode()
    found = local_path(location)
    assert found is not None
    assert os.fsencode(found) == os.fsencode(type(found)(path))


@pytest.mark.parametrize("stem", ["a" * 251, "ä" * 200, "🎉" * 100, os.fsdecode(b"\xe9" * 251)])
def test_a_name_that_gets_too_long_is_cut_between_characters(stem: str) -> None:
    name = fitting(stem, ".json")
    assert len(os.fsencode(name)) <= MAX_NAME_BYTES
    assert name.endswith(".json")
    assert stem.startswith(name.removesuffix(".json"))
    assert len(os.fsencode(name)) > MAX_NAME_BYTES - 4


@pytest.mark.parametrize(
    ("url", "disposition", "name"),
    [
        ("https://a.org/talk%20one.mp3?key=1", None, "talk one.mp3"),
        ("https://a.org/", None, "audio"),
        ("https://a.org/get", 'attachment; filename="board meeting.m4a"', "board meeting.m4a"),
        ("https://a.org/get", "attachment; filename*=UTF-8''caf%C3%A9.wav; filename=cafe.wav", "café.wav"),
        ("https://a.org/get", "attachment; filename=../../etc/passwd", "passwd"),
        ("https://a.org/get", r'attachment; filename="C:\talks\one.wav"', "one.wav"),
        ("https://a.org/get.mp3", "inline", "get.mp3"),
        ("https://a.org/get", "attachment; filename=a.wav; FileName*=iso-8859-1'en'caf%E9.wav", "café.wav"),
        ("https://a.org/get.mp3", 'attachment; filename=".."', "get.mp3"),
    ],
)
def test_the_name_of_a_download(url: str, disposition: str | None, name: str) -> None:
    assert download_name(url, disposition) == name
