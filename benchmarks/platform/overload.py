"""Overload: many times the clients that a server can serve, and the recovery afterwards.

Accepted submits must stay fast, the rest must be refused at once (429 or 503), and the server must recover within
seconds.
"""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import psutil

from benchmarks.measure import Measure, percentile
from benchmarks.platform import leaks
from benchmarks.platform.submit import recordings
from clients.public import Target
from schemas.errors import Unavailable

_REFUSED = frozenset({429, 503})
_TIMEOUT_SECS = 60.0
_RECOVERED = 3.0
"""A submit counts as fast again up to this multiple of the median without load."""
_LONGEST_RECOVERY_SECS = 60.0
_SAMPLE_SECS = 5.0
_BASE_SHARE = 0.25
"""Length of the load before the overload, as a share of the overload's."""

Processes = Callable[[], list[psutil.Process]]
"""Gives the processes of the server."""


@dataclass(slots=True)
class Answers:
    """Seconds to the answer of accepted and of refused submits, and other outcomes."""

    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


def measure(
    target: Target, processes: Processes, *, clients: int, times: int, seconds: float, size_bytes: int
) -> tuple[list[Measure], int]:
    """(numbers, count of errors that were no refusals): ``clients`` for `_BASE_SHARE` of ``seconds``, then ``times`` as
    many, then one.

    Raises Unavailable if none is accepted.
    """
    base = _load(target, clients, seconds * _BASE_SHARE, size_bytes)
    if not base.accepted:
        raise Unavailable(f"no submit was accepted before there was any overload: {dict(base.errors)}")
    with _memory_during(processes) as memory:
        over = _load(target, clients * times, seconds, size_bytes)
    quick = _RECOVERED * percentile(base.accepted, 0.5)
    recovery = _recovery_secs(target, quick, size_bytes)
    wrong = sum(base.errors.values()) + sum(over.errors.values())
    found = [
        *_measures(f"{clients} clients", base, seconds * _BASE_SHARE),
        *_measures(f"{clients * times} clients", over, seconds),
        *_peaks(memory),
        Measure("recovery", recovery, "s"),
        Measure("errors that are no refusal", wrong, "submits"),
    ]
    return found, wrong


@contextlib.contextmanager
def _memory_during(processes: Processes) -> Iterator[list[Mapping[str, float]]]:
    """Collects resident MiB by role, one mapping each `_SAMPLE_SECS`, while the context is open."""
    found: list[Mapping[str, float]] = []
    over = threading.Event()

    def run() -> None:
        while not over.wait(_SAMPLE_SECS):
            found.append({role: held.rss_mib for role, held in leaks.held(processes()).items()})

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def _peaks(memory: list[Mapping[str, float]]) -> list[Measure]:
    """The highest memory of each role in the first and in the second half of the overload: equal if it does not grow."""
    middle = len(memory) // 2
    return [
        Measure(f"{role}: most memory, {half} half", max(sample.get(role, 0.0) for sample in samples), "MiB")
        for role in (memory[-1] if memory else ())
        for half, samples in (("first", memory[:middle]), ("second", memory[middle:]))
        if samples
    ]


def _measures(who: str, answers: Answers, seconds: float) -> list[Measure]:
    found = [
        Measure(f"{who}: accepted", len(answers.accepted) / seconds, "submits/s"),
        Measure(f"{who}: refused", len(answers.refused) / seconds, "submits/s"),
    ]
    for name, secs in (("accepted", answers.accepted), ("refused", answers.refused)):
        found += [Measure(f"{who}: {name} p{round(s * 100)}", percentile(secs, s) * 1e3, "ms") for s in (0.5, 0.99) if secs]
    return found


def _load(target: Target, clients: int, seconds: float, size_bytes: int) -> Answers:
    found, lock = Answers(), threading.Lock()
    deadline = time.perf_counter() + seconds

    def run() -> None:
        own = _submits(target, recordings(size_bytes), deadline)
        with lock:
            found.accepted += own.accepted
            found.refused += own.refused
            found.errors += own.errors

    threads = [threading.Thread(target=run, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _submits(target: Target, bodies: Iterator[bytes], deadline: float) -> Answers:
    """Submits one after the other; after a refusal, waits for the answer's ``Retry-After``."""
    found = Answers()
    connection = _connection(target)
    while time.perf_counter() < deadline:
        began = time.perf_counter()
        try:
            status, wait_secs = _submit(connection, target, next(bodies))
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            found.errors[type(error).__name__] += 1
            continue
        secs = time.perf_counter() - began
        if status == 200:
            found.accepted.append(secs)
        elif status in _REFUSED:
            found.refused.append(secs)
            time.sleep(min(wait_secs, max(0.0, deadline - time.perf_counter())))
        else:
            found.errors[f"HTTP {status}"] += 1
    connection.close()
    return found


def _recovery_secs(target: Target, quick_secs: float, size_bytes: int) -> float:
    """Seconds until three submits in a row were accepted within ``quick_secs`` each; `_LONGEST_RECOVERY_SECS` at most."""
    began, good, bodies = time.perf_counter(), 0, recordings(size_bytes)
    connection = _connection(target)
    while good < 3 and time.perf_counter() - began < _LONGEST_RECOVERY_SECS:
        sent = time.perf_counter()
        try:
            status, _ = _submit(connection, target, next(bodies))
        except (OSError, http.client.HTTPException):
            connection.close()
            status = 0
        good = good + 1 if status == 200 and time.perf_counter() - sent <= quick_secs else 0
    connection.close()
    return min(time.perf_counter() - began, _LONGEST_RECOVERY_SECS)


def _submit(connection: http.client.HTTPConnection, target: Target, body: bytes) -> tuple[int, float]:
    """(status, seconds to wait before the next)."""
    headers = {"Authorization": target.key, "Content-Type": "audio/wav"}
    connection.request("POST", f"{urlsplit(target.url).path.rstrip('/')}/submit?filename=bench.wav", body, headers)
    response = connection.getresponse()
    response.read()
    return response.status, float(response.headers.get("Retry-After", 0))


def _connection(target: Target) -> http.client.HTTPConnection:
    parts = urlsplit(target.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=_TIMEOUT_SECS)
