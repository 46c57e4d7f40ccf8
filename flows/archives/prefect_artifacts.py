"""What Prefect stores about an archive run: its name, its progress, and its report as Markdown and as a table."""

from __future__ import annotations

import os
import socket
import time
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.context import FlowRunContext
from prefect.states import Crashed

from clients.archives import ArchiveClient
from flows.archives.report import markdown, to_json
from runtime.boot_clock import is_running, start_of
from schemas.archives import ArchiveCounts
from schemas.domain import Seconds

_UPDATE_SECS: Seconds = 10.0
"""Prefect takes 40 ms to update an artifact."""


async def claim(archive_id: int) -> None:
    """Name the run after its archive, and close earlier runs of it whose process is gone: Prefect would not notice."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    name, own = f"archive {archive_id}", context.flow_run.id
    unfinished = FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING])
    runs = FlowRunFilter(name=FlowRunFilterName(any_=[name]), state=FlowRunFilterState(type=unfinished))
    async with get_client() as client:
        for run in await client.read_flow_runs(flow_run_filter=runs):
            if run.id != own and any(_is_gone(tag) for tag in run.tags):
                await client.set_flow_run_state(run.id, Crashed(message="its process ended"), force=True)
        await _rename(client, own, name, [*context.flow_run.tags, _process_tag()])


async def _rename(client: PrefectClient, run: UUID, name: str, tags: list[str]) -> None:
    await client.update_flow_run(run, name=name, tags=tags)


def _process_tag() -> str:
    pid = os.getpid()
    return f"process:{socket.gethostname()}:{pid}:{start_of(pid)}"


def _is_gone(tag: str) -> bool:
    """Whether a tag names a process of this machine that does not run any more."""
    if not tag.startswith(f"process:{socket.gethostname()}:"):
        return False
    _, _, pid, start = tag.rsplit(":", 3)
    return not is_running(int(pid), start)


class ProgressArtifact:
    """Progress of a run as a Prefect artifact: the share of the files found so far that are settled."""

    def __init__(self, archive_id: int) -> None:
        self._key = f"archive-{archive_id}-progress"
        self._artifact: UUID | None = None
        self._shown = 0.0

    async def show(self, counts: ArchiveCounts, seen: int) -> None:
        """Update the artifact, at most every 10 s; ``seen`` counts the files that the source listed so far."""
        now = time.monotonic()
        if now - self._shown < _UPDATE_SECS:
            return
        self._shown = now
        settled = counts.completed + counts.failed + counts.skipped
        share = 100.0 * settled / max(counts.total, seen, 1)
        if self._artifact is None:
            self._artifact = await acreate_progress_artifact(share, key=self._key, description="Files settled")
        else:
            await aupdate_progress_artifact(self._artifact, share)


async def publish(client: ArchiveClient, archive_id: int) -> dict[str, Any]:
    """Store the report with the run; returns it as JSON."""
    report = await client.archive_report(archive_id)
    await acreate_markdown_artifact(markdown(report), key=f"archive-{archive_id}")
    if report.failures:
        rows = to_json(report)["failures"]
        await acreate_table_artifact(rows, key=f"archive-{archive_id}-failures", description="Why files were not done")
    return to_json(report)
