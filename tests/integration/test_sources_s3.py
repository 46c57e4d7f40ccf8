"""Buckets and web addresses as sources: moto's server and a small file server on loopback; rights, absence, versions."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import boto3
import pytest

from flows.archives.sources import s3
from flows.archives.sources.entries import Entry, Problem
from flows.archives.sources.factory import open_source
from flows.archives.sources.fetch import fetch, opened, redact_url, version
from schemas.domain import JobOptions
from schemas.errors import Forbidden, InvalidRequest, NotFound, Unavailable
from tests.support.processes import s3_environment, s3_server

pytestmark = pytest.mark.integration

BUCKET = "calls-of-may"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, value in s3_environment(endpoint).items():
        monkeypatch.setenv(name, value)
    s3.bucket_store.cache_clear()
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket=BUCKET)
    for key in ("may/a.wav", "may/deep/b c.mp3", "maybe/other.wav", "june.wav"):
        client.put_object(Bucket=BUCKET, Key=key, Body=key.encode() * 100)
    yield BUCKET
    s3.bucket_store.cache_clear()


def locations(source: str) -> list[str]:
    found = list(open_source(source, JobOptions()))
    assert not [one for one in found if isinstance(one, Problem)]
    return sorted(one.location for one in found if isinstance(one, Entry))


async def test_a_prefix_is_listed_by_whole_segments_and_read(bucket: str, tmp_path: Path) -> None:
    assert locations(f"s3://{bucket}/may") == [f"s3://{bucket}/may/a.wav", f"s3://{bucket}/may/deep/b c.mp3"]
    assert len(locations(f"s3://{bucket}")) == 4
    (only,) = open_source(f"s3://{bucket}/june.wav", JobOptions())
    assert isinstance(only, Entry)
    assert (only.filename, len(only.version) > 10) == ("june.wav", True)
    # What a listing tells and what a question tells are one.
    assert await version(Entry(only.location, "june.wav")) == only.version
    fetched = await fetch(only, tmp_path / "copy", 10_000)
    assert (tmp_path / "copy").read_bytes() == b"june.wav" * 100
    assert fetched.size_bytes == 800
    with opened(only) as found:
        assert found is not None
        read, size = found
        assert (size, read(796, 10), read(900, 10)) == (800, b".wav", b"")


async def test_the_error_for_an_absent_object_names_bucket_and_key(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=rf"key august of bucket {bucket}"):
        locations(f"s3://{bucket}/august")
    with pytest.raises(NotFound, match="bucket no-such-bucket"):
        locations("s3://no-such-bucket/may")
    with pytest.raises(NotFound, match=r"key may/gone\.wav"):
        await fetch(Entry(f"s3://{bucket}/may/gone.wav", "gone.wav"), tmp_path / "copy", 10_000)


class _Refusing(http.server.BaseHTTPRequestHandler):
    """A store that refuses every credential, as S3 spells it."""

    def do_GET(self) -> None:
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the base class calls it so

    def log_message(self, *_: object) -> None:
        pass


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        s3.bucket_store.cache_clear()
        yield
        s3.bucket_store.cache_clear()
        server.shutdown()
        thread.join(20)


async def test_the_error_for_a_forbidden_bucket_names_it(refusing: None, tmp_path: Path) -> None:
    with pytest.raises(Forbidden, match="no right to read bucket vault"):
        locations("s3://vault")
    with pytest.raises(Forbidden, match=r"no right to read key may/a\.wav of bucket vault"):
        await fetch(Entry("s3://vault/may/a.wav", "a.wav"), tmp_path / "copy", 10_000)
    with pytest.raises(Forbidden):
        await version(Entry("s3://vault/may/a.wav", "a.wav"))


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("FLUXIONS_FETCH_PRIVATE", "true")  # the web is on this machine
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "a.wav").write_bytes(b"sound" * 100)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=tmp_path / "web")) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(20)


async def test_a_web_address_is_downloaded_and_shown_without_its_secret(web: str, tmp_path: Path) -> None:
    entry = Entry(f"{web}/a.wav?signature=secret", "a.wav")
    fetched = await fetch(entry, tmp_path / "copy", 10_000)
    assert fetched.size_bytes == 500
    first = await version(entry)
    assert "500" in first
    os.utime(tmp_path / "web" / "a.wav", (1, 1))
    assert await version(entry) != first
    with pytest.raises(NotFound) as caught:
        await fetch(Entry(f"{web}/gone.wav?signature=secret", "gone.wav"), tmp_path / "copy", 10_000)
    assert "gone.wav" in caught.value.message
    assert "secret" not in caught.value.message
    assert redact_url("https://ann:word@example.org/a.wav?x=1#y") == "https://example.org/a.wav"


async def test_an_unreachable_server_is_retried_and_then_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.archives.sources.fetch._FIRST_PAUSE_SECS", 0.01)
    monkeypatch.setenv("FLUXIONS_FETCH_PRIVATE", "true")
    with pytest.raises(Unavailable, match="does not answer"):
        await fetch(Entry("http://127.0.0.1:1/a.wav", "a.wav"), tmp_path / "copy", 10_000)
    with pytest.raises(InvalidRequest, match="UnsupportedProtocol"):
        await fetch(Entry("ftp://127.0.0.1/a.wav", "a.wav"), tmp_path / "copy", 10_000)
