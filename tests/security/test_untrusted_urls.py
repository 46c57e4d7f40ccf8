"""Untrusted URLs lead only to public addresses, and paths of manifests only into the manifest's folder."""

from __future__ import annotations

import json
import select
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from cli.main import main
from flows.archives.sources.entries import Entry, Problem
from flows.archives.sources.fetch import fetch, version
from flows.archives.sources.manifest import ManifestSource
from runtime import untrusted_urls
from runtime.untrusted_urls import AddressRefused, async_client, client, is_public
from schemas.domain import JobOptions
from schemas.errors import Forbidden, InvalidRequest
from tests.support.api_server import KEY, Server
from tests.support.processes import free_port

pytestmark = pytest.mark.security

TIMEOUT = httpx.Timeout(10.0)
PRIVATE = [
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "192.88.99.1",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_no_address_of_a_network_of_ours_is_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_of_the_internet_are(address: str) -> None:
    assert is_public(address)


class Web:
    """A server on loopback as a public one: names resolve to it, and its address counts as public."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.port = free_port()
        self.resolved: list[str] = []
        self.asked: list[str] = []
        self.names = {"good.example": ["127.0.0.1"], "metadata.example": ["169.254.169.254"], "two.example": []}
        self.names["two.example"] = ["127.0.0.1", "10.0.0.1"]
        monkeypatch.setattr(untrusted_urls, "is_public", lambda address: address == "127.0.0.1")
        monkeypatch.setattr(socket, "getaddrinfo", self.resolve)

    def resolve(self, host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
        name = host.decode() if isinstance(host, bytes) else str(host)
        self.resolved.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in self.names.get(name, [name])]

    def url(self, path: str, host: str = "good.example") -> str:
        return f"http://{host}:{self.port}{path}"

    async def answer(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        if request.url.path == "/talk.mp3":
            return PlainTextResponse("sound")
        if request.url.path == "/loop":
            return RedirectResponse("/loop")
        return RedirectResponse(request.query_params["to"])


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    import threading

    found = Web(monkeypatch)
    listening = socket.socket()
    listening.bind(("127.0.0.1", found.port))
    app = Starlette(routes=[Route("/{path:path}", found.answer)])
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield found
    server.should_exit = True
    thread.join(20)
    listening.close()


async def test_a_name_that_cannot_be_a_name_has_no_address() -> None:
    url = f"http://{'a' * 64}.example/"
    with client(allow_private=False, timeout=TIMEOUT) as fetching, pytest.raises(httpx.ConnectError):
        fetching.get(url)
    async with async_client(allow_private=False, timeout=TIMEOUT) as also:
        with pytest.raises(httpx.ConnectError):
            await also.get(url)


def test_every_hop_is_judged_and_goes_where_it_was_judged(web: Web) -> None:
    with client(allow_private=False, timeout=TIMEOUT) as fetching:
        assert fetching.get(web.url("/talk.mp3")).text == "sound"
        # The name was resolved once, and the connection went to what was found then.
        assert [name for name in web.resolved if name != "127.0.0.1"] == ["good.example"]
        for to in (
            f"http://metadata.example:{web.port}/",
            "http://169.254.169.254/latest/meta-data",
            "http://[::1]/",
            web.url(f"/r?to=http://metadata.example:{web.port}/"),
            web.url("/talk.mp3", "two.example"),
        ):
            with pytest.raises(AddressRefused):
                fetching.get(web.url("/r"), params={"to": to})
        for to in ("file:///etc/passwd", "ftp://good.example/"):
            with pytest.raises((httpx.UnsupportedProtocol, httpx.InvalidURL)):
                fetching.get(web.url("/r"), params={"to": to})
        with pytest.raises(httpx.TooManyRedirects):
            fetching.get(web.url("/loop"))
        assert web.asked.count("/loop") <= 10


async def test_the_asynchronous_client_judges_alike(web: Web, tmp_path: Path) -> None:
    async with async_client(allow_private=False, timeout=TIMEOUT) as fetching:
        assert (await fetching.get(web.url("/talk.mp3"))).text == "sound"
        assert [name for name in web.resolved if name != "127.0.0.1"] == ["good.example"]
        with pytest.raises(AddressRefused):
            await fetching.get(web.url("/r"), params={"to": f"http://metadata.example:{web.port}/"})
    fetched = await fetch(entry(web.url("/talk.mp3")), tmp_path / "a", 100)
    assert (fetched.path.read_text(), fetched.size_bytes) == ("sound", 5)
    with pytest.raises(Forbidden) as refusal:
        await fetch(entry(web.url("/r?to=http://metadata.example/")), tmp_path / "b", 100)
    assert refusal.value.code == "address_refused"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have one loopback address")
async def test_a_manifest_s_url_reaches_no_private_server_at_all(web: Web, tmp_path: Path) -> None:
    web.names["inner.example"] = ["127.0.0.2"]
    with socket.create_server(("127.0.0.2", web.port)) as inner:
        asked = entry(web.url("/a.mp3", "inner.example"))
        assert await version(asked) == ""
        with pytest.raises(Forbidden):
            await fetch(asked, tmp_path / "a", 100)
        assert select.select([inner], [], [], 0)[0] == []


async def test_what_is_no_url_is_refused_also_behind_a_redirect(web: Web, tmp_path: Path) -> None:
    for location in ("http://xn--a/", "http://xn--/?key=secret", "http://[::1/?key=secret", web.url("/r?to=http://xn--a/")):
        with pytest.raises(InvalidRequest) as refusal:
            await fetch(entry(location), tmp_path / "a", 100)
        assert refusal.value.code == "download_failed", location
        assert "secret" not in refusal.value.message
        assert await version(entry(location)) == ""


def entry(location: str) -> Entry:
    return Entry(location, "a.mp3", None, None, {}, "line 2")


def test_the_command_line_forwards_nothing_of_this_network(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with Server() as server:
        monkeypatch.setenv("FLUXIONS_URL", server.url)
        monkeypatch.setenv("FLUXIONS_API_KEY", KEY)
        monkeypatch.setenv("FLUXIONS_HOME", str(tmp_path))
        assert main(["transcribe", f"{server.url}/files/talk.mp3"]) != 0
        assert "FLUXIONS_FETCH_PRIVATE" in capsys.readouterr().err
        assert not server.uploads
        monkeypatch.setenv("FLUXIONS_FETCH_PRIVATE", "true")
        assert main(["transcribe", f"{server.url}/files/talk.mp3"]) == 0
        assert json.dumps(server.uploads[0]["filename"]) == '"talk.mp3"'


def test_a_manifest_stays_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, outside = tmp_path / "in", tmp_path / "secret.wav"
    inside.mkdir()
    outside.write_bytes(b"x")
    (inside / "a.wav").write_bytes(b"x")
    (inside / "link.wav").symlink_to(outside)
    rows = ["path", "a.wav", "../secret.wav", str(outside), "link.wav", "/etc/passwd", "b/../a.wav"]
    (inside / "m.csv").write_text("\n".join(rows) + "\n")
    found = list(ManifestSource(inside / "m.csv", JobOptions()))
    assert [isinstance(one, Problem) for one in found] == [False, True, True, True, True, True]
    assert all("outside" in one.message for one in found[1:5] if isinstance(one, Problem))
    monkeypatch.setenv("FLUXIONS_MANIFEST_ANYWHERE", "true")
    assert sum(isinstance(one, Problem) for one in ManifestSource(inside / "m.csv", JobOptions())) == 3  # twice
