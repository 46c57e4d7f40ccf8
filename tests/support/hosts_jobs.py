"""Jobs on a platform of several hosts: clients that submit them, and the check that each is done once."""

from __future__ import annotations

import itertools
import threading
import time

from tests.e2e import recordings
from tests.support.hosts_platform import Machine, Platform

JOB_SECS = 240.0
seeds = itertools.count(1)
"""Numbers that make recordings differ."""


class Submitter:
    """Submits one recording a second to one machine, until it is told to stop."""

    def __init__(self, cluster: Platform, machine: Machine) -> None:
        self.cluster, self.machine = cluster, machine
        self.acknowledged: list[int] = []
        self.longest_secs = 0.0
        self.problem: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Submitter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(JOB_SECS)
        assert not self._thread.is_alive()
        assert self.problem is None, self.problem

    def wait(self, more: int) -> float:
        """Wait for so many more; returns the longest wait of one for its answer since the last call, s."""
        count, deadline = len(self.acknowledged), time.monotonic() + JOB_SECS
        while len(self.acknowledged) < count + more:
            assert self.problem is None, self.problem
            assert time.monotonic() < deadline
            time.sleep(0.1)
        longest, self.longest_secs = self.longest_secs, 0.0
        return longest

    def _run(self) -> None:
        while not self._stop.wait(1.0):
            began = time.monotonic()
            try:
                self.acknowledged.append(submit(self.cluster, self.machine))
            except BaseException as problem:
                self.problem = problem
                return
            self.longest_secs = max(self.longest_secs, time.monotonic() - began)


def submit(cluster: Platform, machine: Machine) -> int:
    seed = next(seeds)
    answer = cluster.request(
        machine,
        "POST",
        "/akro/submit",
        content=recordings.sentence(0, seed),
        params={"filename": f"{seed}.wav"},
        headers={"Content-Type": "audio/wav"},
    )
    assert answer.status_code == 200, answer.text
    cluster.acknowledged.append(int(answer.json()["id"]))
    return cluster.acknowledged[-1]


def all_done(cluster: Platform, machine: Machine, ids: list[int]) -> None:
    """Wait until these jobs are completed; of all that were accepted none is missing, and there are no others."""
    deadline = time.monotonic() + JOB_SECS
    while True:
        jobs = history(cluster, machine, cluster.key)
        found = {job["id"]: job["status"] for job in jobs}
        if all(found.get(one) == "completed" for one in ids):
            break
        assert time.monotonic() < deadline, {one: found.get(one) for one in ids}
        time.sleep(0.5)
    accepted = list(cluster.acknowledged)
    assert len(jobs) == len(found)
    assert len(accepted) == len(set(accepted))
    assert set(found) == set(accepted)


def history(cluster: Platform, machine: Machine, key: str) -> list[dict[str, object]]:
    """All transcriptions of the key's account, newest first."""
    found: list[dict[str, object]] = []
    cursor: dict[str, str] = {}
    while True:
        params = {"limit": 100, **cursor}
        page = cluster.request(machine, "GET", "/transcriptions", params=params, headers={"Authorization": key}).json()
        found += page["transcriptions"]
        if not page.get("next_cursor"):
            return found
        cursor = {"cursor": page["next_cursor"]}
