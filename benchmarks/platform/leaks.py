"""Leaks: resources of a running instance's processes before and after many cycles of aborted requests."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
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
from schemas.errors import InvalidParameter, Unavailable

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


def measure(
    target: Target, processes: Callable[[], list[psutil.Process]], cycles: int, note: Note, kind: str = ""
) -> list[Measure]:
    """Growth of descriptors, threads, children and memory by role, after ``cycles`` of each kind that has ``kind`` in its
    name; of memory also in the second half of them, because what is bounded grows less there.

    ``processes`` gives the instance's processes. A tenth as many cycles precede the first count, because data that are
    loaded or cached once are no leak. Raises Unavailable if the server refuses all cycles of a kind, and InvalidParameter
    if there is no such kind.
    """
    chosen = {name: cycle for name, cycle in CYCLES.items() if kind in name}
    if not chosen:
        raise InvalidParameter(f"no kind of cycle has {kind!r} in its name: {'; '.join(CYCLES)}", param="kind")
    _repeat_each(target, chosen, max(1, cycles // 10), note)
    before, done = held(processes()), Counter[str]()
    done.update(_repeat_each(target, chosen, cycles // 2, note))
    halfway = held(processes())
    done.update(_repeat_each(target, chosen, cycles - cycles // 2, note))
    after = held(processes())
    found = [Measure(f"done: {name}", number, "") for name, number in done.items()]
    for role in (role for role in before if role in halfway and role in after):
        found += [
            Measure(f"{role}: {what}", getattr(after[role], what) - getattr(before[role], what), "")
            for what in ("descriptors", "threads", "children")
        ]
        for part, since in (("memory", before[role]), ("memory, second half", halfway[role])):
            found.append(Measure(f"{role}: {part}", round(after[role].rss_mib - since.rss_mib, 2), "MiB"))
    return found


def _repeat_each(target: Target, kinds: Mapping[str, Cycle], count: int, note: Note) -> Mapping[str, int]:
    """``count`` cycles of each kind, then a rest; returns how many of them the server accepted."""
    done: dict[str, int] = {}
    for name, cycle in kinds.items():
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
