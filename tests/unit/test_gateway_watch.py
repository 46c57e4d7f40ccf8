"""The supervisor notices a gateway that answers no more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from serve.supervisor import gateway_watch
from serve.supervisor.gateway_watch import GatewayWatch

pytestmark = pytest.mark.unit


class Answering(BaseHTTPRequestHandler):
    """Answers 503, as a gateway whose models load, or as the proxy does when no gateway runs."""

    content_type = "application/json"

    def do_GET(self) -> None:
        self.send_response(503)
        self.send_header("Content-Type", type(self).content_type)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[GatewayWatch]:
    monkeypatch.setattr(gateway_watch, "_EVERY_SECS", 0.0)
    monkeypatch.setattr(Answering, "content_type", "application/json")
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield GatewayWatch(f"http://127.0.0.1:{server.server_port}/ready")
        server.shutdown()


def test_a_gateway_that_says_it_is_not_ready_is_not_lost(watch: GatewayWatch) -> None:
    assert not any(watch.lost() for _ in range(30))


def test_the_proxys_own_pages_are_no_answer(watch: GatewayWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Answering, "content_type", "text/plain")
    assert [watch.lost() for _ in range(12)] == [False] * 11 + [True]


def test_an_answer_begins_the_count_anew(watch: GatewayWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Answering, "content_type", "text/plain")
    assert not any(watch.lost() for _ in range(11))
    monkeypatch.setattr(Answering, "content_type", "application/json")
    assert not watch.lost()
    monkeypatch.setattr(Answering, "content_type", "text/plain")
    assert not any(watch.lost() for _ in range(11))


def test_a_cluster_that_starts_again_has_twice_as_many_checks(watch: GatewayWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Answering, "content_type", "text/plain")
    watch.restarted()
    assert [watch.lost() for _ in range(24)] == [False] * 23 + [True]
