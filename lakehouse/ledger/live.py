"""Jobs the ledger holds in memory: those under way, and the finished ones that are not in ``transcriptions`` yet."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from schemas.domain import Job


@dataclass(slots=True)
class LiveJob:
    """``job`` is the last committed state; ``lock`` is held while the next one is being committed.

    ``submission`` names the sending that made it, with its account; the job itself forgets it when it is deleted.
    """

    job: Job
    submission: tuple[str, str] | None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class LiveJobs:
    """By id, and by account."""

    def __init__(self) -> None:
        self._by_id: dict[int, LiveJob] = {}
        self._by_account: dict[str, dict[int, LiveJob]] = {}
        self._by_submission: dict[tuple[str, str], int] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[LiveJob]:
        return iter(self._by_id.values())

    def add(self, job: Job) -> LiveJob:
        submission = (job.account, job.import_key) if job.import_key is not None else None
        entry = LiveJob(job, submission)
        self._by_id[job.id] = entry
        self._by_account.setdefault(job.account, {})[job.id] = entry
        if submission is not None:
            self._by_submission[submission] = job.id
        return entry

    def sent_as(self, account: str, submission: str | None) -> Job | None:
        """The job this very sending made, if it is still here."""
        job_id = self._by_submission.get((account, submission)) if submission is not None else None
        return self._by_id[job_id].job if job_id is not None else None

    def get(self, job_id: int) -> LiveJob | None:
        return self._by_id.get(job_id)

    def remove(self, job_id: int) -> None:
        entry = self._by_id.pop(job_id, None)
        if entry is not None:
            if entry.submission is not None:
                self._by_submission.pop(entry.submission, None)
            mine = self._by_account[entry.job.account]
            del mine[job_id]
            if not mine:
                del self._by_account[entry.job.account]

    def of_account(self, account: str) -> list[Job]:
        """Newest first."""
        entries = self._by_account.get(account, {})
        return sorted((entry.job for entry in entries.values()), key=lambda job: job.id, reverse=True)

    def count_by_status(self) -> dict[str, int]:
        return dict(Counter(entry.job.status.value for entry in self._by_id.values()))
