"""What must hold once everything is quiet after random deaths and pauses, see `tests.support.chaos`."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import psutil

from serve.supervisor.instance import MARKER
from serve.supervisor.marked_processes import marked
from tests.e2e.stack import Stack, until
from tests.support.chaos import SETTLE_SECS, Journal

ONE_EACH = ("LedgerActor", "flows.worker", "serve.deploy", "serve.supervisor.prefect_server", "flows.scheduler")
"""Processes of which an instance has exactly one."""


def settled(stack: Stack) -> float:
    """Seconds until every accepted job was final and nothing was waiting or leased. Fails after `SETTLE_SECS`."""
    began = time.monotonic()
    with stack.client(stack.key("operator")) as operator:

        def quiet() -> bool:
            with contextlib.suppress(httpx.TransportError, ValueError, KeyError):
                answer = operator.get("/operator/status")
                jobs: dict[str, Any] = answer.json()["jobs"] if answer.is_success else {}
                return bool(jobs) and not any(jobs[name] for name in ("queue_length", "leases", "unleased", "unprojected"))
            return False

        until(quiet, "an end of all jobs", SETTLE_SECS)
        until(lambda: _ready(operator), "ready", SETTLE_SECS)
    return time.monotonic() - began


def _ready(client: httpx.Client) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return client.get("/ready").status_code == 200
    return False


def check(stack: Stack, journal: Journal) -> dict[str, Any]:
    """Assert what must hold once everything is quiet; gives what was counted."""
    with stack.client() as client:
        found = list(_all_jobs(client))
    ours = [job for job in found if job["filename"] in journal.accepted]
    named = Counter(job["filename"] for job in found)
    assert {name: count for name, count in named.items() if name in journal.accepted and count > 1} == {}, "doubled"
    assert {job["filename"]: job["id"] for job in ours} == journal.accepted, "lost, or not the job that was acknowledged"
    unfinished = [job for job in ours if job["status"] != "completed"]
    assert unfinished == [], "not completed"
    assert {name: named[name] for name in journal.archived if named[name] != 1} == {}, "lost or doubled by an archive"
    assert len({job["id"] for job in found}) == len(found), "an id is listed twice"
    assert journal.permanent == [], f"errors that did not pass: {journal.permanent[:5]}"
    deadline = time.monotonic() + SETTLE_SECS
    while strays := _strays(stack):
        assert time.monotonic() < deadline, f"processes that are missing or belong to nothing: {strays}"
        time.sleep(0.5)
    return {"jobs": len(ours), "archived": len(journal.archived), "answered": dict(journal.answered)}


def check_stored(stack: Stack) -> int:
    """Assert that nothing that is stored is wrong, left or in excess a day later; gives how many objects were removed then.

    To be called when everything is quiet: what was written is made to look two days old.
    """
    long_ago = time.time() - 2 * 86_400
    data = stack.home / "data"
    for path in (*(data / "objects").rglob("*"), *(data / "tables").rglob("*#*")):
        with contextlib.suppress(FileNotFoundError):  # of a process that tidies up meanwhile
            os.utime(path, (long_ago, long_ago))
    removed = stack.fluxions("maintain", "orphans")["counts"]
    assert stack.fluxions("check", "--all")["findings"] == []
    return int(sum(removed.values()))


def _strays(stack: Stack) -> list[str]:
    """Processes of the instance whose parents have ended, and those of which there is more than one."""
    found = marked(MARKER, stack.instance().marker)
    ours = {stack.process.pid, *(process.pid for process in psutil.Process(stack.process.pid).children(recursive=True))}
    alone = [f"{process.pid} {process.name()}" for process in found if process.pid not in ours and process.is_running()]
    counted = {name: len(stack.processes(name)) for name in ONE_EACH}
    return alone + [f"{count} of {name}" for name, count in counted.items() if count != 1]


def _all_jobs(client: httpx.Client) -> Iterator[dict[str, Any]]:
    offset = 0
    while (
        page := client.get("/transcriptions", params={"limit": 100, "offset": offset})
        .raise_for_status()
        .json()["transcriptions"]
    ):
        yield from page
        offset += len(page)
