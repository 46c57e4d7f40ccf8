"""Random deaths and pauses of a running instance's processes while clients use it.

Clients behave as documentation asks: they repeat what failed for a passing reason, and a submit under one Idempotency-Key.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import psutil

from serve.supervisor.instance import MARKER
from serve.supervisor.marked_processes import marked
from tests.e2e import recordings
from tests.e2e.stack import Stack

SETTLE_SECS = 120.0
"""Every job ends within this time after the last kill."""
UNDER_WAY = 3
"""Jobs that one client has under way at once."""
_PAUSE_SECS = 0.2
_TEXTS = ("Good morning.", "The train leaves at nine.", "Thank you, and goodbye.")


@dataclass
class Journal:
    """What clients were told and what they met. Every list is appended to by several threads."""

    accepted: dict[str, int] = field(default_factory=dict)
    """Ids of acknowledged submits, by file name, each of which is used once."""
    answered: Counter[str] = field(default_factory=Counter)
    permanent: list[str] = field(default_factory=list)
    """Errors that a client must not meet: those that repeating does not overcome."""
    disturbed: list[str] = field(default_factory=list)
    archived: list[str] = field(default_factory=list)
    """Files of archive runs that ended well."""


class Clients:
    """Threads that submit, stream speech, search and list until they are stopped."""

    def __init__(self, stack: Stack, journal: Journal, *, speech: bool, prefix: str) -> None:
        self._stack = stack
        self._journal = journal
        self._prefix = prefix
        self._stop = threading.Event()
        work = [self._submit, self._read] + ([self._speak] if speech else [])
        self._threads = [threading.Thread(target=self._guarded, args=(one,), daemon=True) for one in work]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """While this is open, the clients work; a request under way is carried to its end."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(SETTLE_SECS)
            assert not any(thread.is_alive() for thread in self._threads), "a client never got its answer"

    def _guarded(self, work: Callable[[httpx.Client], None]) -> None:
        try:
            with self._stack.client() as client:
                work(client)
        except Exception as error:  # a broken client is a finding, not a quiet thread
            self._journal.permanent.append(f"{work.__name__}: {error!r}")

    def _submit(self, client: httpx.Client) -> None:
        open_ids: set[int] = set()
        for number in itertools.count():
            while len(open_ids) >= UNDER_WAY and not self._stop.is_set():
                open_ids -= {one for one in open_ids if _is_final(client, one)}
                self._stop.wait(_PAUSE_SECS)
            if self._stop.is_set():
                return
            name = f"{self._prefix}-{number}.wav"
            content = recordings.sentence(number % 4, seed=zlib.crc32(name.encode()) % 10**6)
            answer = self._patiently(
                "submit",
                lambda name=name, content=content: client.post(  # type: ignore[misc]
                    "/submit",
                    content=content,
                    params={"cache": "false", "filename": name},
                    headers={"Idempotency-Key": name},
                ),
            )
            if answer is not None:
                self._journal.accepted[name] = answer.json()["id"]
                open_ids.add(answer.json()["id"])

    def _speak(self, client: httpx.Client) -> None:
        for text in itertools.cycle(_TEXTS):
            if self._stop.is_set():
                return
            body = {"voice": "maeve", "input": text, "stream": True, "verify_chunks": False}
            self._patiently("speech", lambda body=body: client.post("/vui/v1/tts", json=body))  # type: ignore[misc]
            self._stop.wait(_PAUSE_SECS)

    def _read(self, client: httpx.Client) -> None:
        for path in itertools.cycle(
            ("/transcriptions", "/history/search?q=wav", "/history/conversations/search?q=morning")
        ):
            if self._stop.is_set():
                return
            self._patiently("read", lambda path=path: client.get(path))  # type: ignore[misc]
            self._stop.wait(_PAUSE_SECS)

    def _patiently(self, what: str, send: Callable[[], httpx.Response]) -> httpx.Response | None:
        """The answer, after repetitions while a part is away; None for an error that does not pass, which is recorded."""
        deadline = time.monotonic() + SETTLE_SECS
        while True:
            with contextlib.suppress(httpx.TransportError):
                response = send()
                if not _passes(response):
                    if response.is_success:
                        self._journal.answered[what] += 1
                        return response
                    self._journal.permanent.append(f"{what}: {response.status_code} {response.text[:200]}")
                    return None
            if time.monotonic() > deadline:
                self._journal.permanent.append(f"{what}: no answer within {SETTLE_SECS:.0f} s")
                return None
            time.sleep(_PAUSE_SECS)


def _passes(response: httpx.Response) -> bool:
    """Whether a failure passes by itself: the server says so, or the proxy answers in the place of a dead gateway."""
    if response.is_success:
        return False
    if not response.headers.get("content-type", "").startswith("application/json"):
        return response.status_code == 404 or response.status_code >= 500
    return response.headers.get("x-should-retry") == "true"


def _is_final(client: httpx.Client, job_id: int) -> bool:
    with contextlib.suppress(httpx.TransportError, ValueError, KeyError):
        answer = client.get(f"/transcriptions/{job_id}")
        return answer.is_success and answer.json()["status"] in ("completed", "failed")
    return False


def disturb(stack: Stack, victim: str, chance: random.Random, journal: Journal, *, longest_stop_secs: float) -> None:
    """Kill a process whose command line has ``victim``, or stop it for a while; nothing if there is none now."""
    found = stack.processes(victim)
    if not found:
        return
    process = chance.choice(found)
    is_stopped = chance.random() < 0.25
    journal.disturbed.append(f"{'stop' if is_stopped else 'kill'} {victim}")
    with contextlib.suppress(psutil.NoSuchProcess):
        if not is_stopped:
            process.kill()
            return
        process.suspend()
        try:
            # Most stops are short; a process that is away for longer is taken for dead by some of the others.
            time.sleep(chance.triangular(0.5, longest_stop_secs, 0.5))
        finally:
            process.resume()


def fail_whole_machine(stack: Stack, journal: Journal) -> float:
    """Kill everything at once and start it again; gives the seconds until it was ready."""
    journal.disturbed.append("kill everything")
    marker = stack.instance().marker
    stack.kill_all()
    assert marked(MARKER, marker) == [], "outlived the whole instance"
    return stack.start_again()
