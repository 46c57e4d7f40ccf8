"""Two machines' HAProxies: each serves by its own gateway, or by the other's over TLS; no stranger gets in between."""

from __future__ import annotations

import asyncio
import http.server
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions

from serve.supervisor import haproxy
from serve.supervisor.cluster_secret import ClusterSecret, NodeCertificate
from serve.supervisor.haproxy_peers import Peers
from tests.support.processes import free_port, started

pytestmark = pytest.mark.security

LIMITS = haproxy.ConnectionLimits(
    trusted_proxies=(), header_secs=6.0, idle_secs=30.0, connections=64, connections_per_address=32
)
SECRET = "a secret that all machines of one cluster have"


class Gateway:
    """An HTTP server that answers with its name and what it is told of the client's address."""

    def __init__(self, name: str) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                said = f"{name} {self.headers.get('X-Forwarded-For', '')}".encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, format: str, *args: object) -> None:
                del format, args

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                del request, client_address  # a check of HAProxy's ends without reading the answer

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def machine(folder: Path, address: str, port: int, peer_port: int, own: Gateway, other: str) -> Iterator[None]:
    """HAProxy of a machine with this loopback address: its own gateway, and one that Ray says is at ``other``."""
    folder.mkdir()
    certificate = ClusterSecret(SECRET).certify(folder / "tls", address)
    limits = replace(
        LIMITS,
        listen=f"127.0.0.1:{port}",
        peers=Peers(address, peer_port, str(certificate.authority), str(certificate.pair)),
    )
    config = HAProxyConfig(
        http_options=HTTPOptions(host="127.0.0.1", port=free_port()),
        metrics_port=free_port(),
        stats_port=free_port(),
        socket_path=str(folder / "admin.sock"),
        server_state_base=str(folder),
        server_state_file=str(folder / "state"),
    )
    servers = [
        ServerConfig(name="own", host="127.0.0.1", port=own.port),
        ServerConfig(name="other", host=other, port=1),
    ]
    backend = BackendConfig(name="app", path_prefix="/", app_name="app", servers=servers)
    written = folder / "haproxy.cfg"
    HAProxyApi(config, {"app": backend}, str(written))._generate_config_file_internal()
    program = haproxy.install(folder, limits)
    with (folder / "out").open("wb") as out, started([str(program), "-db", "-f", str(written)], stdout=out, stderr=out):
        yield


def asked(port: int) -> str:
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/who", trust_env=False)
    except httpx.HTTPError:
        return ""
    return answer.text if answer.status_code == 200 else ""


def until_answered(port: int, by: str) -> None:
    deadline = time.monotonic() + 60
    while (said := asked(port)) != by:
        assert time.monotonic() < deadline, said
        time.sleep(0.05)


def tls(certificate: NodeCertificate | None, authority: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority))
    context.check_hostname = False
    if certificate is not None:
        context.load_cert_chain(certificate.pair)
    return context


async def test_a_machine_without_a_gateway_is_served_by_another_one(tmp_path: Path) -> None:
    await asyncio.to_thread(_check, tmp_path)


def _check(tmp_path: Path) -> None:
    first, second = Gateway("first"), Gateway("second")
    port, other_port, peer_port = free_port(), free_port(), free_port()
    with (
        machine(tmp_path / "a", "127.0.0.1", port, peer_port, first, "127.0.0.2"),
        machine(tmp_path / "b", "127.0.0.2", other_port, peer_port, second, "127.0.0.3"),
    ):
        until_answered(port, "first 127.0.0.1")
        until_answered(other_port, "second 127.0.0.1")
        first.close()
        until_answered(port, "second 127.0.0.1")  # the client's address, not the other proxy's
        authority = tmp_path / "a" / "tls" / "ca.pem"
        url = f"https://127.0.0.2:{peer_port}/who"
        known = ClusterSecret(SECRET).certify(tmp_path / "known", "127.0.0.9")
        assert httpx.get(url, verify=tls(known, authority), trust_env=False).text.startswith("second")
        stranger = ClusterSecret("a secret of quite another cluster, as long").certify(tmp_path / "stranger", "127.0.0.9")
        for certificate in (None, stranger):
            with pytest.raises(httpx.HTTPError):
                httpx.get(url, verify=tls(certificate, authority), trust_env=False)
        with pytest.raises(httpx.HTTPError):
            httpx.get(url.replace("https", "http"), trust_env=False)
        second.close()
        until_answered(port, "")
    # No replica of another machine is reached but through its HAProxy.
    assert "127.0.0.2:1 " not in (tmp_path / "a" / "haproxy.safe.cfg").read_text()
