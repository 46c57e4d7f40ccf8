"""Load on `/submit`: many connections that send different recordings and wait for each acknowledgement.

Uses the standard library's HTTP client in threads, whose cost is a fraction of the server's for the same request, so the
server is measured and not this program.
"""

from __future__ import annotations

import http.client
import itertools
import os
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from benchmarks.measure import Measure, percentile
from clients.public import Client, Target
from schemas.domain import SAMPLE_RATE_HZ
from schemas.errors import error_from_response

_TIMEOUT_SECS = 60.0
_UNIQUE_BYTES = 24


@dataclass(slots=True)
class Load:
    """Result of a run. ``latencies_secs``: from first byte sent to acknowledgement read, of each accepted submit."""

    size_bytes: int
    wall_secs: float = 0.0
    latencies_secs: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def measures(self) -> list[Measure]:
        acked = len(self.latencies_secs)
        found = [
            Measure("acknowledged submits", acked, "submits"),
            Measure("rate", acked / self.wall_secs, "submits/s"),
            Measure("throughput", acked * self.size_bytes / self.wall_secs / 1e6, "MB/s"),
            Measure("errors", sum(self.errors.values()), "submits"),
        ]
        if acked:
            found += [
                Measure(f"ack p{round(share * 100)}", percentile(self.latencies_secs, share) * 1000, "ms")
                for share in (0.5, 0.99)
            ]
        return found


def measure(target: Target, *, clients: int, seconds: float, size_bytes: int) -> Load:
    """Submits from ``clients`` connections for ``seconds``. Raises the error of a first request, such as a wrong key."""
    with Client(target) as client:
        client.get("/transcriptions", limit=1)
    load = Load(size_bytes)
    lock = threading.Lock()
    together = threading.Barrier(clients + 1)
    deadline: list[float] = []

    def run(stream: Iterator[bytes]) -> None:
        latencies: list[float] = []
        errors: Counter[str] = Counter()
        together.wait()
        _submit_until(deadline[0], target, stream, latencies, errors)
        with lock:
            load.latencies_secs += latencies
            load.errors += errors

    threads = [threading.Thread(target=run, args=(recordings(size_bytes),), daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    began = time.perf_counter()
    deadline.append(began + seconds)
    together.wait()
    for thread in threads:
        thread.join()
    load.wall_secs = time.perf_counter() - began
    return load


def recordings(size_bytes: int) -> Iterator[bytes]:
    """An endless stream of WAV files of ``size_bytes``, s16le 16 kHz mono noise, all different, also across processes."""
    data_bytes = (size_bytes - 44) // 2 * 2
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(
            b"RIFF",
            36 + data_bytes,
            b"WAVE",
            b"fmt ",
            16,
            1,
            1,
            SAMPLE_RATE_HZ,
            2 * SAMPLE_RATE_HZ,
            2,
            16,
            b"data",
            data_bytes,
        ),
    )
    noise = os.urandom(data_bytes - _UNIQUE_BYTES)
    stream_id = os.urandom(_UNIQUE_BYTES - 8)
    for number in itertools.count():
        yield b"".join((header, stream_id, struct.pack("<Q", number), noise))


def _submit_until(
    deadline: float, target: Target, stream: Iterator[bytes], latencies: list[float], errors: Counter[str]
) -> None:
    parts = urlsplit(target.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT_SECS)
    headers = {"Authorization": target.key, "Content-Type": "audio/wav"}
    path = f"{parts.path.rstrip('/')}/submit?filename=bench.wav"
    while time.perf_counter() < deadline:
        began = time.perf_counter()
        try:
            connection.request("POST", path, next(stream), headers)
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            errors[type(error).__name__] += 1
            # Avoids a busy loop of broken connections; a refused connection ends this client's run.
            if isinstance(error, ConnectionRefusedError):
                return
            continue
        if response.status == 200:
            latencies.append(time.perf_counter() - began)
        else:
            errors[error_from_response(response.status, None).message] += 1
    connection.close()
