"""`fluxions bench maintenance`: whether maintenance keeps up with a day of rows. Time is simulated, the tables are real.

The rows of a day at 2,000 a second are 173 million. What is kept real: the number of commits (each as full as the ledger
makes them, `MAX_COMMIT_ROWS`), so of small files and log entries; the rounds of maintenance, by the schedules of
`prefect.yaml`; and the number and size ratio of the sorted runs. What is scaled by ``1/scale``: the rows of a commit, and
with them the rows of a full file (`MergePolicy.file_rows`). Commits follow one another without a pause, also while a round
runs; they wait for it only when the next round is due.

Whether a pause comes from the tables or from other programs is told by processor time: that of the thread that commits, and
that of the whole process for each simulated hour, in which commits and rounds are always as many.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil
import yaml

from benchmarks.measure import Measure, Note, percentile
from benchmarks.storage.webhooks import SimulatedClock
from benchmarks.storage.work import Work
from lakehouse.ledger.ledger import Ledger
from lakehouse.maintenance.merge import MergePolicy
from lakehouse.tables.file_replacement import data_files
from lakehouse.tables.group_commit import MAX_COMMIT_ROWS
from schemas.domain import Seconds
from schemas.records import TtsRender
from schemas.settings import ServerSettings, Settings, StorageSettings
from schemas.tables import table

_SCHEDULES: Final = Path(__file__).resolve().parents[2] / "prefect.yaml"
_TABLE: Final = "tts_renders"
_COMMITTER: Final = f"commit-{_TABLE}"
"""Name of the thread that commits."""
_ACCOUNTS: Final = 500
_HOUR: Final[Seconds] = 3600.0
_DAY: Final[Seconds] = 86_400.0
_WAIT_SECS: Final[Seconds] = 3600.0


@dataclass(frozen=True, slots=True)
class SimulatedLoad:
    """``hours`` at ``rows_per_sec``, with one row committed for ``scale`` rows."""

    hours: float
    rows_per_sec: float
    scale: int

    @property
    def rows(self) -> int:
        """Rows of a commit."""
        return max(1, MAX_COMMIT_ROWS // self.scale)

    @property
    def commit_secs(self) -> Seconds:
        """Simulated time between two commits."""
        return MAX_COMMIT_ROWS / self.rows_per_sec

    @property
    def policy(self) -> MergePolicy:
        """The platform's policy, with files of fewer rows."""
        return MergePolicy(file_rows=max(16, MergePolicy().file_rows // self.scale))


Pick = Callable[[Callable[[Seconds], bool]], Sequence[float]]
"""Values, s, of a part of the day, which is a condition on the simulated time."""


@dataclass(slots=True)
class _Round:
    """A round of maintenance: its simulated time, its duration, the longest commit meanwhile, and the files that it read
    and wrote."""

    task: str
    at: Seconds
    secs: Seconds = 0.0
    cpu_secs: Seconds = 0.0
    """Processor time of the whole process meanwhile, so of commits as well."""
    longest: _Commit | None = None
    files: int = 0

    @property
    def longest_secs(self) -> Seconds:
        return self.longest.secs if self.longest else 0.0

    @property
    def longest_cpu_secs(self) -> Seconds:
        return self.longest.work.cpu_secs if self.longest else 0.0

    @property
    def longest_queued_secs(self) -> Seconds:
        return self.longest.work.queued_secs if self.longest else 0.0


@dataclass(frozen=True, slots=True)
class _Commit:
    """Its simulated time, its latency, and the work of the thread that commits from its begin to its end. That thread also
    exchanges the files of a merge."""

    at: Seconds
    secs: Seconds
    work: Work


@dataclass(slots=True)
class _Day:
    commits: list[_Commit] = field(default_factory=list)
    rounds: list[_Round] = field(default_factory=list)
    stored: list[tuple[Seconds, int, int, int, int]] = field(default_factory=list)
    """(simulated time, files of the newest version, bytes of all data files, log entries, bytes of the log)."""
    memory: list[int] = field(default_factory=list)
    work: list[Work] = field(default_factory=list)
    """Of the whole process, in each hour."""


def measure(folder: Path, load: SimulatedLoad, note: Note) -> list[Measure]:
    """Measures a new ledger in ``folder``, whose disk matters: commits are flushed."""
    settings = Settings(server=ServerSettings(home=folder), storage=StorageSettings(storage_url="", fsync=True))
    return _measures(load, asyncio.run(_run(settings, load, note)))


async def _run(settings: Settings, load: SimulatedLoad, note: Note) -> _Day:
    clock, day, due = SimulatedClock(), _Day(), _Schedule(intervals(_SCHEDULES.read_text()))
    ledger = await Ledger.open(settings, clock=clock, merge_policy=load.policy)
    running: asyncio.Task[None] | None = None
    rows, before = _renders(load.rows), Work.of_process()
    try:
        while clock.secs < load.hours * _HOUR:
            clock.advance(load.commit_secs)
            meanwhile = running is not None and not running.done()
            commit = await _commit(ledger, next(rows), clock.secs)
            day.commits.append(commit)
            if meanwhile and commit.secs > day.rounds[-1].longest_secs:
                day.rounds[-1].longest = commit
            if task := due.next(clock.secs):
                # Simulated time passes faster than a round takes, so commits wait here for a round that is still running.
                if running is not None:
                    await running
                day.rounds.append(_Round(task, clock.secs))
                running = asyncio.create_task(_maintain(ledger, day.rounds[-1]))
            if clock.secs // _HOUR > len(day.stored):
                day.work.append(Work.of_process() - before)
                before = Work.of_process()
                day.stored.append((clock.secs, *await asyncio.to_thread(_stored, settings)))
                day.memory.append(psutil.Process().memory_info().rss)
                note(
                    f"hour {len(day.stored)} of {load.hours:g}: {day.stored[-1][1]} files, {day.stored[-1][3]} log entries"
                )
        if running is not None:
            await running
    finally:
        await ledger.close()
    return day


async def _commit(ledger: Ledger, rows: list[TtsRender], at: Seconds) -> _Commit:
    before, began = Work.of_thread(_COMMITTER), time.perf_counter()
    await ledger.records.add_renders(rows)
    return _Commit(at, time.perf_counter() - began, Work.of_thread(_COMMITTER) - before)


async def _maintain(ledger: Ledger, this: _Round) -> None:
    before, began = Work.of_process(), time.perf_counter()
    report = await ledger.maintenance.run(this.task, _WAIT_SECS)
    this.secs, this.cpu_secs = time.perf_counter() - began, (Work.of_process() - before).cpu_secs
    if report is not None:
        this.files = sum(report.counts.get(name, 0) for name in ("files_merged", "files_written"))


def intervals(text: str) -> dict[str, Seconds]:
    """Seconds between two runs of each maintenance task, by the schedules in ``text``, the contents of `prefect.yaml`.

    Schedules by cron are hourly or daily.
    """
    found: dict[str, Seconds] = {}
    for one in yaml.safe_load(text)["deployments"]:
        if one["entrypoint"].endswith(":maintain"):
            (schedule,) = one["schedules"]
            hourly = "cron" in schedule and schedule["cron"].split()[1] == "*"
            found[one["parameters"]["task"]] = float(schedule.get("interval") or (_HOUR if hourly else _DAY))
    return found


class _Schedule:
    """Which task is due. Of several, the one that has waited longest."""

    def __init__(self, every: Mapping[str, Seconds]) -> None:
        self._every = every
        # The daily tasks run within the first day, as their schedules do.
        self._at = {task: min(secs, _HOUR * 3) for task, secs in every.items()}

    def next(self, secs: Seconds) -> str | None:
        task = min(self._at, key=self._at.__getitem__)
        if self._at[task] > secs:
            return None
        self._at[task] += self._every[task]
        return task


def _renders(number: int) -> Iterator[list[TtsRender]]:
    texts = [f"Sentence {number} of those that an account had spoken." for number in range(97)]
    count = 0
    while True:
        rows = []
        for _ in range(number):
            count += 1
            account = f"account-{count * 7919 % _ACCOUNTS}"
            rows.append(TtsRender(account, "maeve", texts[count % 97], 50, 3.2, 0.0005, None, "bench", 0.7))
        yield rows


def _stored(settings: Settings) -> tuple[int, int, int, int]:
    folder = Path(settings.storage_url, "tables", _TABLE)
    log = [path.stat().st_size for path in (folder / "_delta_log").iterdir()]
    data = sum(path.stat().st_size for path in folder.glob("*.parquet"))
    return len(data_files(str(folder), table(_TABLE))), data, len(log), sum(log)


def _measures(load: SimulatedLoad, day: _Day) -> list[Measure]:
    end = load.hours * _HOUR
    found = [
        Measure("commits", len(day.commits), ""),
        Measure("rows committed", len(day.commits) * load.rows, ""),
        Measure("rounds of maintenance", len(day.rounds), ""),
    ]
    picks: list[tuple[str, float, Pick]] = [
        ("commit p50", 0.5, _commits(day, "secs")),
        ("commit p99", 0.99, _commits(day, "secs")),
        ("processor time of a commit p50", 0.5, _commits(day, "cpu_secs")),
        ("processor time of a commit p99", 0.99, _commits(day, "cpu_secs")),
        ("longest commit in a merge, p50", 0.5, _rounds(day, "merge", "longest_secs")),
        ("longest commit in a merge, longest", 1.0, _rounds(day, "merge", "longest_secs")),
        ("processor time of the longest commit in a merge, p50", 0.5, _rounds(day, "merge", "longest_cpu_secs")),
        ("processor time of the longest commit in a merge, longest", 1.0, _rounds(day, "merge", "longest_cpu_secs")),
        (
            "wait of the longest commit in a merge for a processor, longest",
            1.0,
            _rounds(day, "merge", "longest_queued_secs"),
        ),
        *((f"{task} p50", 0.5, _rounds(day, task, "secs")) for task in ("merge", "checkpoint", "vacuum")),
        *(
            (f"processor time of a {task} p50", 0.5, _rounds(day, task, "cpu_secs"))
            for task in ("merge", "checkpoint", "vacuum")
        ),
        ("merge, longest", 1.0, _rounds(day, "merge", "secs")),
        ("processor time of a merge, longest", 1.0, _rounds(day, "merge", "cpu_secs")),
    ]
    for name, share, pick in picks:
        for quarter, part in (("first", lambda at: at <= end / 4), ("last", lambda at: at > end * 3 / 4)):
            if values := pick(part):
                found.append(Measure(f"{name}, {quarter} quarter", percentile(values, share) * 1e3, "ms"))
    found += _work(day)
    for hour in sorted({0, len(day.stored) // 4, len(day.stored) // 2, len(day.stored) - 1} if day.stored else set()):
        at, files, data, entries, log = day.stored[hour]
        when = f"after {at / _HOUR:.0f} h"
        found += [
            Measure(f"files of the newest version {when}", files, ""),
            Measure(f"data files on disk {when}", data / 2**20, "MiB"),
            Measure(f"log entries {when}", entries, ""),
            Measure(f"log {when}", log / 2**20, "MiB"),
            Measure(f"resident memory {when}", day.memory[hour] / 2**20, "MiB"),
        ]
    return found


def _work(day: _Day) -> Iterator[Measure]:
    """The whole process, for a simulated hour of each quarter."""
    quarter, all_hours = max(1, len(day.work) // 4), len(day.work)
    for name, first, last in (("first", 0, quarter), ("last", all_hours - quarter, all_hours)):
        part = day.work[first:last]
        rounds = [one for one in day.rounds if first * _HOUR < one.at <= last * _HOUR]
        if part:
            hours = len(part)
            yield Measure(f"processor time of an hour, {name} quarter", sum(one.cpu_secs for one in part) / hours, "s")
            written = sum(one.written_bytes for one in part) / hours / 2**20
            yield Measure(f"bytes written in an hour, {name} quarter", written, "MiB")
            yield Measure(
                f"files that merges read and wrote in an hour, {name} quarter", sum(r.files for r in rounds) / hours, ""
            )


def _commits(day: _Day, name: str) -> Pick:
    return lambda part: [
        one.secs if name == "secs" else float(getattr(one.work, name)) for one in day.commits if part(one.at)
    ]


def _rounds(day: _Day, task: str, name: str) -> Pick:
    return lambda part: [float(getattr(one, name)) for one in day.rounds if one.task == task and part(one.at)]
