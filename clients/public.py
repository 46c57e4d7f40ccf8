"""A small synchronous client of the public API. Raises `schemas.errors`; retries where that is safe."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from clients import retry
from clients.retry import Patience
from schemas.errors import FluxionsError, error_from_response

TIMEOUT = httpx.Timeout(60.0, connect=5.0)
_IMPORT_TIMEOUT = httpx.Timeout(600.0, connect=5.0)
_CLONE_TIMEOUT = httpx.Timeout(300.0, connect=5.0)


@dataclass(frozen=True, slots=True)
class Target:
    """A server's URL and the API key to send; the key is left out of the representation."""

    url: str
    key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Upload:
    """A recording to upload, as a stream that is read once. ``size_bytes`` is None if it is not known.

    ``filename``: its name, if it is known once the recording is open.
    """

    content_type: str
    size_bytes: int | None
    chunks: Iterator[bytes]
    filename: str | None = None


class Interrupted(Exception):
    """Raised in threads that wait or upload after the user has asked to stop."""


class Client:
    """A connection to one server. Threads may share it.

    ``patience_secs``: how long a request that is safe to repeat is repeated. ``stop``: ends waits with Interrupted.
    """

    def __init__(self, target: Target, *, patience_secs: float = 2.0, stop: threading.Event | None = None) -> None:
        self.target = target
        self._patience = Patience(patience_secs)
        self._stop = stop or threading.Event()
        headers = {"Authorization": target.key} if target.key else {}
        self._http = httpx.Client(base_url=target.url, headers=headers, timeout=TIMEOUT)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def request(self, method: str, path: str, *, params: Mapping[str, Any], json: Any = None, idempotent: bool) -> Any:
        """The decoded answer of any request. ``idempotent``: whether it may be sent twice."""
        return self._call(lambda: self._http.request(method, path, params=params, json=json), idempotent=idempotent)

    def download(self, path: str, params: Mapping[str, Any]) -> bytes:
        """The bytes of a GET."""

        def once() -> bytes:
            return content(self._http.get(path, params=params))

        return retry.call(once, self._patience, idempotent=True, server=self.target.url, wait=self.wait)

    def lines(self, path: str) -> Iterator[str]:
        """The lines of a streamed response, as they arrive."""
        try:
            with self._http.stream("GET", path) as response:
                if not response.is_success:
                    response.read()
                    raise _refusal(response)
                yield from response.iter_lines()
        except httpx.TransportError as error:
            raise retry.unreachable(self.target.url, error) from error

    def get(self, path: str, **params: Any) -> Any:
        """The decoded answer of a GET."""
        return self._call(lambda: self._http.get(path, params=params), idempotent=True)

    def delete(self, path: str) -> Any:
        """The decoded answer of a DELETE."""
        return self._call(lambda: self._http.delete(path), idempotent=True)

    def post(self, path: str, body: Any) -> Any:
        """The decoded answer of a POST with ``body`` as JSON."""
        return self._call(lambda: self._http.post(path, json=body), idempotent=False)

    def post_lines(self, path: str, body: bytes, **params: Any) -> Any:
        """POST JSON Lines to a route that may safely receive them twice."""
        headers = {"Content-Type": "application/x-ndjson"}

        def send() -> httpx.Response:
            return self._http.post(path, params=params, content=body, headers=headers, timeout=_IMPORT_TIMEOUT)

        return self._call(send, idempotent=True)

    def speak(self, ask: dict[str, Any]) -> Iterator[bytes]:
        """The audio of `POST /vui/v1/tts` in pieces. Raises the server's error before the first piece."""
        try:
            with self._http.stream("POST", "/vui/v1/tts", json=ask) as response:
                if not response.is_success:
                    response.read()
                    raise _refusal(response)
                yield from response.iter_bytes()
        except httpx.TransportError as error:
            raise retry.unreachable(self.target.url, error) from error

    def clone(self, clip: Path, fields: dict[str, str]) -> Any:
        """Send a reference clip to `POST /vui/v1/voices`."""

        def send() -> httpx.Response:
            with clip.open("rb") as file:
                form: dict[str, Any] = {"files": {"audio": (clip.name, file)}, "data": fields, "timeout": _CLONE_TIMEOUT}
                return self._http.post("/vui/v1/voices", **form)

        return self._call(send, idempotent=False)

    def probe(self, path: str) -> tuple[int, Any]:
        """Status and body of a page that answers 503 on purpose (`/ready`). Raises ServerUnreachable."""
        try:
            response = self._http.get(path)
        except httpx.TransportError as error:
            raise retry.unreachable(self.target.url, error) from error
        return response.status_code, _decoded(response)

    def submit(self, source: Callable[[], AbstractContextManager[Upload]], **params: Any) -> Any:
        """Upload a recording; returns the job that the server created. ``source`` is opened again for each attempt.

        All attempts have the same Idempotency-Key, so a repeated attempt after a lost answer makes no second job.
        """
        key = uuid.uuid4().hex

        def send() -> httpx.Response:
            with source() as upload:
                headers = {"Content-Type": upload.content_type, "Idempotency-Key": key}
                if upload.size_bytes is not None:
                    headers["Content-Length"] = str(upload.size_bytes)
                named = params if upload.filename is None else {**params, "filename": upload.filename}
                return self._http.post("/submit", params=named, content=upload.chunks, headers=headers)

        return self._call(send, idempotent=True)

    def until_final(self, job_id: int) -> None:
        """Wait until a job is completed, failed or cancelled, by its event stream."""
        try:
            with self._http.stream("GET", f"/transcriptions/{job_id}/events") as response:
                if not response.is_success:
                    response.read()
                    raise _refusal(response)
                for _ in response.iter_raw():
                    self.wait(0)
        except httpx.TransportError as error:
            raise retry.unreachable(self.target.url, error) from error

    def wait(self, secs: float) -> None:
        """Wait ``secs`` seconds. Raises Interrupted as soon as the user asks to stop."""
        if self._stop.wait(secs):
            raise Interrupted

    def _call(self, send: Callable[[], httpx.Response], *, idempotent: bool) -> Any:
        """The decoded body of a response. Requests that are safe to repeat are retried (`clients.retry`)."""

        def once() -> Any:
            return answered(send())

        return retry.call(once, self._patience, idempotent=idempotent, server=self.target.url, wait=self.wait)


def answered(response: httpx.Response) -> Any:
    """The decoded body. Raises the server's error."""
    if not response.is_success:
        raise _refusal(response)
    return _decoded(response)


def content(response: httpx.Response) -> bytes:
    """The body's bytes. Raises the server's error."""
    if not response.is_success:
        raise _refusal(response)
    return response.content


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
