"""Leaks: resources of a running instance's processes before and after many cycles of aborted requests."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import httpx
import psutil
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from benchmarks.measure import Measure, Note
from benchmarks.platform.submit import recordings
from clients.public import Target
from schemas.errors import Unavailable

_ROLES: Final = (
    *("Gateway", "LedgerActor", "RecognizerDeployment", "SynthesizerDeployment", "ServeController", "raylet", "gcs_server"),
    *("haproxy", "flows.worker", "serve.supervisor.prefect_server"),
)
SIZE_BYTES: Final = 40_000
_REST_SECS: Final = 15.0
"""Streams that were dropped are noticed within seconds; threads for files (tokio's) end ten after they were last used."""
_AT_ONCE: Final = 4
RENDER: Final = {"voice": "maeve", "input": "One, two, three, four, five.", "verify_chunks": False}


@dataclass(frozen=True, slots=True)
class Held:
    """Resources of all processes of one role together."""

    descriptors: int
    threads: int
    children: int
    rss_mib: float


def measure(target: Target, processes: Callable[[], list[psutil.Process]], cycles: int, note: Note) -> list[Measure]:
    """Growth of descriptors, threads, children and memory by role, after ``cycles`` of each kind.

    ``processes`` gives the instance's processes. A tenth as many cycles precede the first count, because data that are
    loaded or cached once are no leak. Raises Unavailable if the server refuses all cycles of a kind.
    """
    _all_kinds(target, max(1, cycles // 10), note)
    before = held(processes())
    done = _all_kinds(target, cycles, note)
    after = held(processes())
    return [Measure(f"done: {name}", number, "") for name, number in done.items()] + [
        Measure(f"{role}: {what}", round(getattr(after[role], what) - getattr(before[role], what), 2), unit)
        for role in before
        if role in after
        for what, unit in (("descriptors", ""), ("threads", ""), ("children", ""), ("rss_mib", "MiB"))
    ]


def _all_kinds(target: Target, count: int, note: Note) -> Mapping[str, int]:
    """``count`` cycles of each kind; returns how many of them the server accepted."""
    done: dict[str, int] = {}
    for name, cycle in CYCLES.items():
        note(f"{count} times: {name}")
        done[name] = _repeat(target, cycle, count)
        if not done[name]:
            raise Unavailable(f"{name}: the server refused all {count}")
    time.sleep(_REST_SECS)
    return done


def held(found: list[psutil.Process]) -> Mapping[str, Held]:
    """Present resources of the processes of each role."""
    by_role: dict[str, list[psutil.Process]] = {}
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            line = " ".join(process.cmdline())
            role = next((role for role in _ROLES if role in line), None)
            if role is not None:
                by_role.setdefault(role, []).append(process)
    return {
        role: Held(
            sum(one.num_fds() for one in some),
            sum(one.num_threads() for one in some),
            sum(len(one.children()) for one in some),
            sum(one.memory_info().rss for one in some) / 2**20,
        )
        for role, some in by_role.items()
    }


Cycle = Callable[[httpx.Client, Iterator[bytes]], bool]
"""Carries out one cycle, given different recordings; returns whether the server accepted it. Raises httpx.HTTPError,
WebSocketException, OSError.
"""


def _render_and_leave(client: httpx.Client, _: Iterator[bytes]) -> bool:
    with client.stream("POST", "/vui/v1/tts", json={"stream": True, **RENDER}) as response:
        return response.is_success and next(response.iter_raw(), None) is not None


def _submit_and_cancel(client: httpx.Client, bodies: Iterator[bytes]) -> bool:
    answer = client.post("/submit", content=next(bodies), params={"cache": "false"})
    if answer.is_success:
        client.post(f"/transcriptions/{answer.json()['id']}/cancel")
    return answer.is_success


def _upload_half(client: httpx.Client, bodies: Iterator[bytes]) -> bool:
    body = next(bodies)

    def half() -> Iterator[bytes]:
        yield body[: len(body) // 2]
        raise ConnectionAbortedError

    try:
        client.post("/submit", content=half(), headers={"Content-Length": str(len(body))})
    except ConnectionAbortedError:
        return True
    return False


def _follow_and_leave(client: httpx.Client, _: Iterator[bytes]) -> bool:
    newest = client.get("/transcriptions", params={"limit": 1}).raise_for_status().json()["transcriptions"]
    if not newest:
        return False
    with client.stream("GET", f"/transcriptions/{newest[0]['id']}/events") as response:
        return response.is_success and next(response.iter_raw(), None) is not None


def _socket_and_leave(client: httpx.Client, _: Iterator[bytes]) -> bool:
    address = f"{client.base_url}".replace("http", "ws", 1).rstrip("/") + "/vui/v1/tts/ws"
    with connect(address, open_timeout=60) as socket:
        socket.send(json.dumps({"type": "speak", "token": client.headers["Authorization"], **RENDER}))
        return any(isinstance(message, bytes) for message in socket)  # up to the first audio


CYCLES: Final[Mapping[str, Cycle]] = {
    "submit, cancel": _submit_and_cancel,
    "an upload cut in the middle": _upload_half,
    "events opened and dropped": _follow_and_leave,
    "a render begun and dropped": _render_and_leave,
    "a socket opened, a render begun, both dropped": _socket_and_leave,
}


def _repeat(target: Target, cycle: Cycle, count: int) -> int:
    """``count`` cycles from `_AT_ONCE` connections; returns how many the server accepted."""

    def run(times: int) -> int:
        bodies, done = recordings(SIZE_BYTES), 0
        headers = {"Authorization": target.key}
        with httpx.Client(base_url=target.url, headers=headers, timeout=60, trust_env=False) as client:
            for _ in range(times):
                with contextlib.suppress(httpx.HTTPError, WebSocketException, OSError):
                    done += cycle(client, bodies)
        return done

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return sum(pool.map(run, (len(range(first, count, _AT_ONCE)) for first in range(_AT_ONCE))))
