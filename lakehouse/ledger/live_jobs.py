"""Jobs in memory: unfinished ones, and finished ones that are not in ``transcriptions`` yet."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from schemas.domain import Job, NewJob


@dataclass(slots=True)
class LiveJob:
    """``job`` is the last committed state; ``lock`` is held while the next one is committed.

    ``submission`` is the account and the client's name for the submission. A deleted job no longer has this name itself.
    """

    job: Job
    submission: tuple[str, str] | None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class LiveJobs:
    """Jobs by id, by account and by submission."""

    def __init__(self) -> None:
        self._by_id: dict[int, LiveJob] = {}
        self._by_account: dict[str, dict[int, LiveJob]] = {}
        self._by_submission: dict[tuple[str, str], int] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[LiveJob]:
        return iter(self._by_id.values())

    def add(self, job: Job) -> LiveJob:
        """Add a job to memory, replacing an entry with its id."""
        submission = (job.account, job.import_key) if job.import_key is not None else None
        entry = LiveJob(job, submission)
        self._by_id[job.id] = entry
        self._by_account.setdefault(job.account, {})[job.id] = entry
        if submission is not None:
            self._by_submission[submission] = job.id
        return entry

    def submitted_as(self, account: str, submission: str | None) -> Job | None:
        """The job that this ``submission`` of the account made, if it is still in memory."""
        job_id = self._by_submission.get((account, submission)) if submission is not None else None
        return self._by_id[job_id].job if job_id is not None else None

    def under_way(self, new: NewJob) -> Job | None:
        """The oldest job of the account that waits or is processing for the same recording and options."""
        for entry in self._by_account.get(new.account, {}).values():
            job = entry.job
            if job.sha256 == new.sha256 and not job.status.is_final and job.options == new.options and not job.archive_id:
                return job
        return None

    def get(self, job_id: int) -> LiveJob | None:
        """The entry of a job; None if it is not in memory."""
        return self._by_id.get(job_id)

    def remove(self, job_id: int) -> None:
        """Drop a job from memory; harmless if it is not there."""
        entry = self._by_id.pop(job_id, None)
        if entry is not None:
            if entry.submission is not None:
                self._by_submission.pop(entry.submission, None)
            own = self._by_account[entry.job.account]
            del own[job_id]
            if not own:
                del self._by_account[entry.job.account]

    def of_account(self, account: str) -> list[Job]:
        """An account's jobs, newest first."""
        entries = self._by_account.get(account, {})
        return sorted((entry.job for entry in entries.values()), key=lambda job: job.id, reverse=True)

    def count_by_status(self) -> dict[str, int]:
        """The number of jobs in each status."""
        return dict(Counter(entry.job.status.value for entry in self._by_id.values()))
