"""A worker's progress reports about a job: the stage, the share that is done, and the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from clients.operator import ClaimedJob, OperatorClient
from schemas.domain import Progress, Seconds, Segment

STAGES: dict[str, tuple[float, float]] = {
    "starting": (0.0, 0.0),
    "fetching": (0.0, 0.02),
    "listening": (0.02, 0.08),
    "waiting": (0.08, 0.08),
    "transcribing": (0.08, 0.94),
    "speakers": (0.94, 0.97),
    "finishing": (0.97, 1.0),
}
"""Begin and end of each stage as a share of the work, in [0, 1]; recognition takes nearly all of the time."""

_RATE_AFTER = 0.02
"""Share of a stage that must be done before its speed can be extrapolated."""


class Reporter:
    """Collects the progress of one job; `flush` reports it to the server if something has changed."""

    def __init__(self, client: OperatorClient, job: ClaimedJob, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._job = job
        self._clock = clock
        self._stage = "starting"
        self._done = self._skipped = 0.0
        self._began = clock()
        self._blocks: list[tuple[Segment, ...]] = []
        self._known_blocks = 0
        self._reported: tuple[Progress, int] | None = None

    def stage(self, stage: str) -> None:
        """Begin a stage."""
        self._stage, self._done, self._skipped, self._began = stage, 0.0, 0.0, self._clock()

    def done(self, share: float, skipped: float = 0.0) -> None:
        """``share`` of the stage is done, in [0, 1]; ``skipped`` of it was done in an earlier attempt and took no time."""
        self._done, self._skipped = min(share, 1.0), skipped

    def blocks(self, finished: Sequence[tuple[Segment, ...]]) -> None:
        """Set the segments of all finished blocks from the first one on, without a gap."""
        self._blocks = list(finished)

    @property
    def progress(self) -> Progress:
        """The stage and the share of the work that is done."""
        first, last = STAGES[self._stage]
        return Progress(self._stage, round(first + (last - first) * self._done, 4), self._eta_secs())

    async def flush(self) -> None:
        """Report what has changed. Raises Conflict(code="lease_lost"), Unavailable, ServerUnreachable."""
        progress = self.progress
        news = (Progress(progress.stage, progress.fraction), len(self._blocks))
        if news == self._reported:
            return
        blocks = self._blocks[self._known_blocks :]
        self._known_blocks = await self._client.report(self._job, progress, self._known_blocks, blocks)
        # A server that was restarted has no earlier blocks; the next report sends them again.
        self._reported = news if self._known_blocks >= news[1] else None

    def _eta_secs(self) -> Seconds | None:
        paid = self._done - self._skipped
        if self._stage != "transcribing" or paid < _RATE_AFTER:
            return None
        return (self._clock() - self._began) * (1.0 - self._done) / paid
