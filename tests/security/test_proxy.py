"""HAProxy with Ray's configuration, hardened as by the platform."""

from __future__ import annotations

import asyncio
import json
import re
import select
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from serve.supervisor import haproxy
from tests.support.processes import free_port
from tests.support.proxied import LIMITS, Proxied

pytestmark = pytest.mark.security


async def who(request: Request) -> JSONResponse:
    assert request.client is not None
    heads = {"client": request.client.host, "scheme": request.url.scheme}
    return JSONResponse(heads | {name: value for name, value in request.headers.items() if name == "forwarded"})


@pytest.fixture
async def backend() -> AsyncIterator[int]:
    port = free_port()
    app = Starlette(routes=[Route("/who", who), Route("/-/healthz", who)])
    config = uvicorn.Config(app, port=port, log_level="error", ws="none", forwarded_allow_ips="127.0.0.1,127.0.0.2")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    yield port
    server.should_exit = True
    await task


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have one loopback address")
async def test_the_connection_limits_apply_to_a_real_server(backend: int, tmp_path: Path) -> None:
    proxied = Proxied(tmp_path, [backend])
    await asyncio.to_thread(check, proxied)


def check(proxied: Proxied) -> None:
    with proxied.running() as process:
        # X-Forwarded-For of a client is ignored, that of a trusted proxy is used.
        lie = {"X-Forwarded-For": "9.9.9.9", "X-Forwarded-Proto": "https", "Forwarded": "for=9.9.9.9"}
        for source in ("127.0.0.5", "127.0.0.1"):  # the server itself believes what comes from 127.0.0.1
            assert proxied.asked_from(source, **lie) == {"client": source, "scheme": "http"}
        assert proxied.asked_from("127.0.0.2", **lie) == {"client": "9.9.9.9", "scheme": "https"}
        with socket.create_connection(("127.0.0.1", proxied.port), timeout=20) as http2:
            http2.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))  # and its first frame
            assert http2.recv(4096).startswith(b"HTTP/1.1 400 ")
        # All of its ports are for this machine, and its socket for this user.
        assert {c.laddr.ip for c in process.net_connections() if c.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
        assert (proxied.folder / "admin.sock").stat().st_mode & 0o777 == 0o600
        with ExitStack() as stack:
            opened = [connection(proxied.port, "127.0.0.9") for _ in range(20)]
            silent = [stack.enter_context(one) for one in opened if one is not None]
            began = time.monotonic()
            while len(open_of(silent)) > LIMITS.connections_per_address:
                assert time.monotonic() - began < LIMITS.header_secs / 2
            assert len(open_of(silent)) == LIMITS.connections_per_address
            assert proxied.asked_from("127.0.0.5")["client"] == "127.0.0.5"
            # Accepted connections without a request are closed too.
            assert all(ended(one, 20) for one in silent)
            assert time.monotonic() - began < 20
    written = proxied.config.with_suffix(".safe.cfg").read_text()
    assert not re.search(r"\b514\b", written)
    assert "option httplog" not in written  # its format has the query
    lines = [line.strip() for line in written.splitlines()]
    expected = {
        "maxconn": [f"maxconn {LIMITS.connections}"],
        "timeout client": [f"timeout client {LIMITS.idle_secs * 1000:.0f}ms"],
        "timeout http-request": [f"timeout http-request {LIMITS.header_secs * 1000:.0f}ms"],
    }
    assert {name: [line for line in lines if line.startswith(f"{name} ")] for name in expected} == expected


def connection(port: int, source: str) -> socket.socket | None:
    """None if it is refused while it is made."""
    try:
        return socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(source, 0))
    except ConnectionResetError:
        return None


def open_of(connections: list[socket.socket]) -> list[socket.socket]:
    """Those that the other end has not closed; nothing is sent on any."""
    closed, _, _ = select.select(connections, [], [], 0.05)
    return [one for one in connections if one not in closed]


def ended(connection: socket.socket, secs: float) -> bool:
    """Whether the other end closes within ``secs``; an answer of 408 may come first."""
    connection.settimeout(secs)
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return False
    except ConnectionResetError:
        pass
    return True


def test_a_configuration_of_another_shape_is_refused(tmp_path: Path) -> None:
    written = Proxied(tmp_path, [1]).config.read_text()
    assert haproxy.hardened(written, LIMITS)
    for line in ("    option httplog\n", "mode 666 ", "    bind :"):
        with pytest.raises(ValueError, match="not one"):
            haproxy.hardened(written.replace(line, "", 1), LIMITS)


def test_the_program_reads_its_limits_from_a_file(tmp_path: Path) -> None:
    program = haproxy.install(tmp_path, LIMITS)
    assert program.stat().st_mode & 0o777 == 0o700
    assert json.loads((tmp_path / "limits.json").read_text())["trusted_proxies"] == ["127.0.0.2"]
