"""Random kills and pauses of the processes of a real instance under load: ``python -m scripts.chaos --kills 200 --seed
1``.

Prints a line for each round and a summary as JSON. The exit code is 1 if anything was lost, duplicated, left over or
damaged.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from tests.e2e import recordings
from tests.e2e import stack as stacks
from tests.support import chaos, chaos_checks
from tests.support.stepped_clock import SteppedClock

VICTIMS = (
    "flows.worker",
    "LedgerActor",
    "Gateway",
    "RecognizerDeployment",
    "DiarizerDeployment",
    "SynthesizerDeployment",
    "serve.supervisor.prefect_server",
    "haproxy",
    "flows.archives.program",
    "multiprocessing.forkserver",
)
CLOCK_STEPS_SECS = (-3600, 0, 3600)
CLUSTER = ("gcs_server", "raylet")
"""The whole Ray cluster, whose return takes half a minute: one kill in twenty."""
KILLS_A_ROUND = 10
ROUNDS_A_FAILURE = 4
"""In one of this number of rounds everything is also killed at once."""
LONGEST_STOP_SECS = 30.0
ARCHIVE_FILES = 4
ARCHIVE_SECS = 300.0


@contextmanager
def archives(home: Path, folder: Path, journal: chaos.Journal) -> Iterator[None]:
    """Within the block archives run one after the other, each repeatedly until it has succeeded."""
    stop = threading.Event()

    def run_all() -> None:
        number = 0
        while not stop.is_set():
            calls = folder / f"archive-{number}"
            calls.mkdir()
            names = [f"archive-{number}-{one}.wav" for one in range(ARCHIVE_FILES)]
            for one, name in enumerate(names):
                (calls / name).write_bytes(recordings.sentence(one, seed=7000 + ARCHIVE_FILES * number + one))
            deadline = time.monotonic() + ARCHIVE_SECS
            while _archive(home, calls, folder / "archive.log"):
                if time.monotonic() > deadline:
                    journal.permanent.append(f"{calls.name} did not end within {ARCHIVE_SECS:.0f} s")
                    return
            journal.archived += names
            number += 1

    thread = threading.Thread(target=run_all, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(ARCHIVE_SECS)


def _archive(home: Path, calls: Path, log: Path) -> int:
    with log.open("ab") as file:
        command = [stacks.FLUXIONS, "archive", "run", str(calls), "--home", str(home)]
        return subprocess.run(command, stdout=file, stderr=file, timeout=ARCHIVE_SECS, check=False).returncode


def run(
    stack: stacks.Stack, kills: int, seed: int, secs: float, *, with_archives: bool, clock: SteppedClock | None
) -> dict[str, object]:
    """Rounds of kills until ``kills`` or ``secs`` are reached. Raises AssertionError.

    With archives, which go on from round to round, nothing is checked until the end, and not everything is killed at once.
    """
    chance, journal = random.Random(seed), chaos.Journal()
    began, settling, number, removed = time.monotonic(), 0.0, 0, 0
    restarts: list[float] = []

    def is_over() -> bool:
        return len(journal.disturbed) >= kills or time.monotonic() - began >= secs

    with tempfile.TemporaryDirectory() as folder:
        with archives(stack.home, Path(folder), journal) if with_archives else nullcontext():
            while not is_over():
                with chaos.Clients(stack, journal, speech=True, prefix=f"round-{seed}-{number}").at_work():
                    goal = len(journal.disturbed) + KILLS_A_ROUND
                    while len(journal.disturbed) < goal and not is_over():
                        victim = chance.choice(CLUSTER if chance.random() < 0.05 else VICTIMS)
                        if clock is not None:
                            clock.step(chance.choice(CLOCK_STEPS_SECS))
                        chaos.disturb(stack, victim, chance, journal, longest_stop_secs=LONGEST_STOP_SECS)
                        time.sleep(chance.uniform(0.2, 3.0))
                    if number % ROUNDS_A_FAILURE == ROUNDS_A_FAILURE - 1 and not with_archives:
                        restarts.append(chaos.fail_whole_machine(stack, journal))
                number += 1
                if clock is not None:
                    clock.step(0)
                if not with_archives:
                    settling = max(settling, chaos_checks.settled(stack))
                    chaos_checks.check(stack, journal)
                    removed += chaos_checks.check_stored(stack)
                print(f"round {number}: {len(journal.disturbed)} disturbed, {len(journal.accepted)} accepted", flush=True)
        settling = max(settling, chaos_checks.settled(stack))
        counted = chaos_checks.check(stack, journal)
        removed += chaos_checks.check_stored(stack)
    return {
        "disturbed": len(journal.disturbed),
        "which": dict(Counter(journal.disturbed).most_common()),
        **counted,
        "longest_settling_secs": round(settling, 1),
        "restarts_to_ready_secs": [round(secs, 1) for secs in restarts],
        "orphans_removed": removed,
        "secs": round(time.monotonic() - began, 1),
    }


def running(folder: Path, clock: SteppedClock | None) -> AbstractContextManager[stacks.Stack]:
    """A stack without a limit on the attempts of a job, because workers die often here."""
    stepped = {} if clock is None else clock.environment
    return stacks.running(folder / "home", FLUXIONS_MAX_ATTEMPTS="100", FLUXIONS_LEASE_SECS="5", **stepped)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--secs", type=float, default=3600.0, help="longest time, however many kills that is")
    parser.add_argument("--archives", action="store_true", help="run archives meanwhile")
    parser.add_argument("--clock", action="store_true", help="step the wall clock an hour each way; needs a C compiler")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fluxions-chaos-") as folder:
        clock = SteppedClock(Path(folder) / "clock") if given.clock else None
        with running(Path(folder), clock) as stack:
            summary = run(stack, given.kills, given.seed, given.secs, with_archives=given.archives, clock=clock)
    print(json.dumps(summary, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
