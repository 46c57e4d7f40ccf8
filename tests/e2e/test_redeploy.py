"""A new application under load: no request fails, and what is in hand is finished or handed over."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.e2e import recordings
from tests.e2e import stack as stacks
from tests.support.chaos_checks import settled
from tests.support.speech import SENTENCES, say

pytestmark = pytest.mark.e2e

REPLACED = ("LedgerActor", "flows.worker", "Gateway", "RecognizerDeployment", "SynthesizerDeployment")
SPEECH = {"voice": "maeve", "input": "The train leaves at nine.", "stream": True, "verify_chunks": False}


REALTIME = "/v1/realtime?model=fluxions"
SOCKETS = ("/v1/listen", REALTIME, "/vui/v1/tts/ws")
GOING_AWAY, SERVICE_RESTART = 1001, 1012
KEEP_ALIVE_SECS = 5.0
LEFT_SECS = 180.0
"""More than an old gateway may serve what it has."""


class Sockets:
    """One open socket of each kind; the live stream has heard speech."""

    def __init__(self, stack: stacks.Stack) -> None:
        self._url = stack.url.replace("http", "ws")
        self._key = stack.key()
        self._codes: dict[str, int | None] = {}
        self._last: dict[str, str | bytes] = {}

    @contextmanager
    def opened(self) -> Iterator[None]:
        """While this is open, each socket is read until the server closes it."""
        with ExitStack() as stack:
            for path in SOCKETS:
                socket = stack.enter_context(
                    connect(self._url + path, additional_headers={"Authorization": self._key}, open_timeout=60)
                )
                if path == "/v1/listen":
                    socket.send(json.dumps({"type": "start", "token": self._key}))
                    socket.send((say(SENTENCES[0]) * 32767).astype("<i2").tobytes())
                threading.Thread(target=self._read, args=(path, socket), daemon=True).start()
            yield

    def close_codes(self) -> dict[str, int | None]:
        """The code with which each was closed, by path, once all are."""
        stacks.until(lambda: len(self._codes) == len(SOCKETS), "sockets that are closed", LEFT_SECS)
        return self._codes

    def last(self, path: str) -> dict[str, Any]:
        """The last message of one of them."""
        return dict(json.loads(self._last[path]))

    def _read(self, path: str, socket: ClientConnection) -> None:
        try:
            while True:
                with suppress(TimeoutError):
                    self._last[path] = socket.recv(KEEP_ALIVE_SECS)
                    continue
                if path == "/v1/listen":
                    socket.send(json.dumps({"type": "keepalive"}))
        except ConnectionClosed:
            self._codes[path] = socket.close_code


@contextmanager
def repeated(
    stack: stacks.Stack, pause_secs: float, send: Callable[[httpx.Client, int], httpx.Response]
) -> Iterator[list[httpx.Response]]:
    """Answers to a request that is sent again and again while this is open. A request without an answer is an error."""
    answers: list[httpx.Response] = []
    errors: list[httpx.HTTPError] = []
    stop = threading.Event()

    def work() -> None:
        with stack.client() as client:
            try:
                while not stop.wait(pause_secs):
                    answers.append(send(client, len(answers)))
            except httpx.HTTPError as error:
                errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join(90)
    assert not thread.is_alive(), "a request has no answer"
    assert errors == []


def test_a_new_application_under_load_fails_no_request(stack: stacks.Stack, client: httpx.Client) -> None:
    def submit(client: httpx.Client, number: int) -> httpx.Response:
        content = recordings.sentence(number % 4, seed=8000 + number)
        return client.post("/submit", content=content, params={"cache": "false"})

    sockets = Sockets(stack)
    before = {name: {process.pid for process in stack.processes(name)} for name in REPLACED}
    with (
        repeated(stack, 0.1, lambda client, _: client.get("/transcriptions")) as lists,
        repeated(stack, 2.0, submit) as submits,
        repeated(stack, 0.5, lambda client, _: client.post("/vui/v1/tts", json=SPEECH)) as renders,
        sockets.opened(),
    ):
        stacks.until(lambda: lists and submits and renders, "the first answers")
        assert stack.fluxions("redeploy", secs=240)["secs"] > 0
        codes = sockets.close_codes()
    assert set(codes) == set(SOCKETS)
    assert set(codes.values()) <= {GOING_AWAY, SERVICE_RESTART}, codes
    assert codes[REALTIME] == GOING_AWAY
    assert sockets.last(REALTIME)["error"]["code"] == "server_going_away"
    counted = Counter(answer.status_code for answer in [*lists, *submits, *renders])
    assert counted.keys() == {200}, [answer.text for answer in [*lists, *submits, *renders] if answer.status_code != 200]
    for name, old in before.items():
        stacks.until(lambda name=name, old=old: {p.pid for p in stack.processes(name)} - old, f"a new {name}")  # type: ignore[misc]
    settled(stack)
    for answer in submits:
        assert client.get(f"/transcriptions/{answer.json()['id']}").json()["status"] == "completed"
