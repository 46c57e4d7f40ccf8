"""Latency of reads through the whole gateway: proxy, FastAPI, the ledger's newest rows, and the tables."""

from __future__ import annotations

import time
from typing import Any

import httpx

from benchmarks.measure import Measure, percentile
from clients.public import Target
from schemas.errors import InvalidRequest, error_from_response

WARM_UP = 5


def measure(target: Target, rounds: int, query: str) -> list[Measure]:
    """Each read ``rounds`` times, alternating, on one connection. Raises InvalidRequest for an account without history."""
    with httpx.Client(base_url=target.url, headers={"Authorization": target.key}, trust_env=False, timeout=30) as http:
        reads = _reads(http, query)
        times: dict[str, list[float]] = {name: [] for name in reads}
        for turn in range(rounds + WARM_UP):
            for name, path in reads.items():
                began = time.perf_counter()
                _get(http, path)
                if turn >= WARM_UP:
                    times[name].append((time.perf_counter() - began) * 1e3)
    return [
        Measure(f"{name}, {label}", percentile(taken, share), "ms")
        for name, taken in times.items()
        for label, share in (("p50", 0.5), ("p95", 0.95))
    ]


def _reads(http: httpx.Client, query: str) -> dict[str, str]:
    listed = _get(http, "/transcriptions?limit=1")
    if not listed["transcriptions"]:
        raise InvalidRequest("this account has no transcriptions to read; choose another key")
    newest, total = listed["transcriptions"][0]["id"], listed["total"]
    deep = max(1, min(500, total // 20))
    return {
        "get by id": f"/history/transcriptions/{newest}",
        "list, page 1": "/history/transcriptions?limit=20",
        f"list, page {deep}": f"/history/transcriptions?limit=20&page={deep}",
        "list by status": "/history/transcriptions?limit=20&status=failed",
        "renders by voice": "/history/tts?limit=20&voice=maeve",
        "conversations": "/history/conversations?limit=20",
        "merged feed": "/history?limit=20",
        "search": f"/history/search?q={query}",
    }


def _get(http: httpx.Client, path: str) -> dict[str, Any]:
    response = http.get(path)
    if not response.is_success:
        raise error_from_response(response.status_code, response.json())
    return response.json()  # type: ignore[no-any-return]
