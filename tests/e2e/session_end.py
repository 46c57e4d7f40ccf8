"""How a realtime session is ended by its server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.e2e import stack as stacks


class SessionEnd:
    """What a client of an open session is told last, and the code with which its socket is closed."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._last = ""
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def told(self, within_secs: float) -> tuple[str | None, int | None]:
        """The code of the last error, and of the closing, once the socket is closed."""
        self._reading.join(within_secs)
        assert not self._reading.is_alive(), "the socket is still open"
        last = json.loads(self._last)
        return last.get("error", {}).get("code"), self._socket.close_code

    def _read(self) -> None:
        try:
            while True:
                self._last = str(self._socket.recv())
        except ConnectionClosed:
            pass


@contextmanager
def open_session(stack: stacks.Stack) -> Iterator[SessionEnd]:
    """A session that is read until its server closes it."""
    url = stack.url.replace("http", "ws") + "/v1/realtime?model=fluxions"
    with connect(url, additional_headers={"Authorization": stack.key()}, open_timeout=60) as socket:
        json.loads(socket.recv(60))
        yield SessionEnd(socket)
