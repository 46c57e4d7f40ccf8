"""A small synchronous client of the public API: errors as `schemas.errors`, patience where trying again is safe."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from schemas.errors import FluxionsError, RateLimited, ServerUnreachable, error_from_response

_TIMEOUT = httpx.Timeout(60.0, connect=5.0)
_IMPORT_TIMEOUT = httpx.Timeout(600.0, connect=5.0)
_CLONE_TIMEOUT = httpx.Timeout(300.0, connect=5.0)
_PAUSE_MAX_SECS = 5.0


@dataclass(frozen=True, slots=True)
class Target:
    """A server and the key to show it; the key stays out of every representation."""

    url: str
    key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Upload:
    """A recording on its way: bytes once, never all in memory. ``size_bytes`` is None where the source does not say."""

    content_type: str
    size_bytes: int | None
    chunks: Iterator[bytes]


class Interrupted(Exception):
    """The user asked to stop; raised inside waiting and uploading threads."""


class Client:
    """``patience_secs`` bounds how long a request that may safely be repeated is repeated. Threads may share a client."""

    def __init__(self, target: Target, *, patience_secs: float = 2.0, stop: threading.Event | None = None) -> None:
        self.target = target
        self._patience_secs = patience_secs
        self._stop = stop or threading.Event()
        headers = {"Authorization": target.key} if target.key else {}
        self._http = httpx.Client(base_url=target.url, headers=headers, timeout=_TIMEOUT)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **params: Any) -> Any:
        return _decoded(self._patiently(lambda: self._http.get(path, params=params), idempotent=True))

    def delete(self, path: str) -> Any:
        return _decoded(self._patiently(lambda: self._http.delete(path), idempotent=True))

    def post(self, path: str, body: Any) -> Any:
        return _decoded(self._patiently(lambda: self._http.post(path, json=body), idempotent=False))

    def post_lines(self, path: str, body: bytes, **params: Any) -> Any:
        """JSON Lines to a route that may safely get them twice."""
        headers = {"Content-Type": "application/x-ndjson"}

        def send() -> httpx.Response:
            return self._http.post(path, params=params, content=body, headers=headers, timeout=_IMPORT_TIMEOUT)

        return _decoded(self._patiently(send, idempotent=True))

    def speak(self, ask: dict[str, Any]) -> Iterator[bytes]:
        """Sound of `POST /vui/v1/tts` as it comes. Raises before the first piece what the server refuses."""
        try:
            with self._http.stream("POST", "/vui/v1/tts", json=ask) as response:
                if not response.is_success:
                    response.read()
                    raise _refusal(response)
                yield from response.iter_bytes()
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def clone(self, clip: Path, fields: dict[str, str]) -> Any:
        """Sends a reference clip to `POST /vui/v1/voices`."""

        def send() -> httpx.Response:
            with clip.open("rb") as file:
                form: dict[str, Any] = {"files": {"audio": (clip.name, file)}, "data": fields, "timeout": _CLONE_TIMEOUT}
                return self._http.post("/vui/v1/voices", **form)

        return _decoded(self._patiently(send, idempotent=False))

    def probe(self, path: str) -> tuple[int, Any]:
        """Status and body of a page that answers 503 on purpose (`/ready`). Raises ServerUnreachable."""
        try:
            response = self._http.get(path)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        return response.status_code, _decoded(response)

    def submit(self, source: Callable[[], AbstractContextManager[Upload]], **params: Any) -> Any:
        """Uploads a recording and returns the job as the server acknowledged it. ``source`` is opened anew for each try."""

        def send() -> httpx.Response:
            with source() as upload:
                headers = {"Content-Type": upload.content_type}
                if upload.size_bytes is not None:
                    headers["Content-Length"] = str(upload.size_bytes)
                return self._http.post("/submit", params=params, content=upload.chunks, headers=headers)

        return _decoded(self._patiently(send, idempotent=False))

    def until_final(self, job_id: int) -> None:
        """Waits for a job to be completed, failed or cancelled by its events: nothing is asked in between."""
        try:
            with self._http.stream("GET", f"/transcriptions/{job_id}/events") as response:
                if not response.is_success:
                    response.read()
                    raise _refusal(response)
                for _ in response.iter_raw():
                    self.wait(0)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def wait(self, secs: float) -> None:
        """Waits, or raises Interrupted as soon as the user asks to stop."""
        if self._stop.wait(secs):
            raise Interrupted

    def _patiently(self, send: Callable[[], httpx.Response], *, idempotent: bool) -> httpx.Response:
        """Tries again what the server cannot have done: no connection, a rate limit; for idempotent calls any outage."""
        deadline = time.monotonic() + self._patience_secs
        pause_secs = 0.1
        while True:
            error: FluxionsError
            try:
                response = send()
            except (httpx.ConnectError, httpx.ConnectTimeout) as cause:
                error, again = self._unreachable(cause), True
            except httpx.TransportError as cause:
                error, again = self._unreachable(cause), idempotent
            else:
                if response.is_success:
                    return response
                error = _refusal(response)
                again = error.retryable and (idempotent or isinstance(error, RateLimited))
            pause_secs = max(pause_secs, error.retry_after_secs or 0.0)
            if not again or time.monotonic() + pause_secs > deadline:
                raise error
            self.wait(pause_secs)
            pause_secs = min(pause_secs * 2, _PAUSE_MAX_SECS)

    def _unreachable(self, cause: httpx.TransportError) -> ServerUnreachable:
        return ServerUnreachable(
            f"no answer from {self.target.url} ({type(cause).__name__}); is it running? `fluxions up` starts a server"
        )


def _decoded(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return response.text or None


def _refusal(response: httpx.Response) -> FluxionsError:
    body = _decoded(response)
    error = error_from_response(response.status_code, body)
    if error.status >= 500 and isinstance(body, dict) and body.get("request_id"):
        error.message += f" (request {body['request_id']})"
    retry_after = response.headers.get("Retry-After", "")
    error.retry_after_secs = float(retry_after) if retry_after.isdecimal() else None
    return error
