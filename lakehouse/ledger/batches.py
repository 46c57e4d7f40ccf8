"""Changing many jobs in one commit: locked together, committed together, learnt one after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from lakehouse.ledger.live import LiveJob
from lakehouse.ledger.watching import JobWatching
from lakehouse.rows import event_row
from schemas.domain import Job, Transcript


class BatchedChanges(JobWatching):
    """Part of `lakehouse.ledger.Ledger`."""

    async def _commit_batch(self, changed: Sequence[Job]) -> list[tuple[int, Job]]:
        """Commit jobs that are new or locked; with their numbers, to be learnt before anything else is awaited."""
        # No await between numbers and queue; see `Ledger._commit`.
        numbered = [(self._ids.next_seq(), job) for job in changed]
        if numbered:
            await self._events.append([event_row(seq, job) for seq, job in numbered], numbered[-1][0])
        return numbered

    def _learn(self, seq: int, job: Job, transcript: Transcript | None = None) -> None:
        """Memory takes in a job that was committed, unless it knows better: it is deleted, or was final before."""
        entry = self._live.get(job.id)
        known = entry.job if entry is not None else None
        if job.id in self._deleted or (known is not None and known.status.is_final and known.revision >= job.revision):
            return
        if entry is None:
            self._live.add(job)
        else:
            entry.job = job
        self._after(seq, job, transcript)

    @asynccontextmanager
    async def _locked(self, found: Iterable[Job]) -> AsyncIterator[dict[int, LiveJob]]:
        """The jobs in memory, none of which changes meanwhile; in order of id, so that batches never wait in a circle."""
        entries: dict[int, LiveJob] = {}
        added: list[Job] = []
        async with AsyncExitStack() as stack:
            for job in sorted(found, key=lambda job: job.id):
                if self._live.get(job.id) is None:
                    added.append(job)
                entries[job.id] = entry = self._live.get(job.id) or self._live.add(job)
                await stack.enter_async_context(entry.lock)
            try:
                yield entries
            finally:
                for job in added:
                    if entries[job.id].job is job:
                        self._live.remove(job.id)

    def _is_still(self, entries: Mapping[int, LiveJob], job: Job) -> bool:
        return entries[job.id].job == job and job.id not in self._deleted
