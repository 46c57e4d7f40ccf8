"""`fluxions archive run`: starts the program that does the work, shows its progress, and handles Ctrl-C."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import typer

from cli.output import INTERRUPTED, note
from clients.archives import BASE
from clients.public import Client, Target
from flows.archives.launcher import ArchiveProcess
from flows.archives.protocol import ArchiveRequest, Mode
from schemas.errors import FluxionsError
from serve.supervisor.supervisor import instance


def estimate(mode: Mode, request: ArchiveRequest, target: Target, home: Path) -> dict[str, Any]:
    """The estimate of a run, as JSON; ``dry-run`` also looks for cached results. Raises the errors of that program."""
    note("reading the source …")
    with ArchiveProcess(mode, request, target, home, None) as process:
        for event in process.events():
            return {name: value for name, value in event.items() if name != "event"}
    raise FluxionsError("the estimate ended without a result")


def run(client: Client, request: ArchiveRequest, target: Target, home: Path, estimate: dict[str, Any]) -> dict[str, Any]:
    """Run the archive and return its report. Ctrl-C stops the run and prints how to continue it."""
    here = instance(home)
    prefect_api = here.prefect_api if here is not None and here.url == target.url else None
    archive_id: int | None = None
    with ProgressBar(target, estimate["files"]) as bar:
        try:
            with ArchiveProcess("run", request, target, home, prefect_api) as process:
                for event in process.events():
                    archive_id = event["archive"]
                    bar.watch(archive_id)
        except KeyboardInterrupt:
            note(f"stopped; finished files are kept (archive {archive_id}). Run the same command again to continue.")
            raise typer.Exit(INTERRUPTED) from None
    return dict(client.get(f"{BASE}/{archive_id}/report"))


class ProgressBar:
    """Shows the number of finished files, on stderr if stderr is a terminal. Asks the server once a second."""

    def __init__(self, target: Target, total: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failed]} failed"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(
            *columns, console=Console(stderr=True), redirect_stdout=False, redirect_stderr=False, transient=True
        )
        self._progress.disable = not sys.stderr.isatty()
        self._target, self._total = target, total
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5)
        self._progress.stop()

    def watch(self, archive_id: int) -> None:
        """Show the progress of the run from now on."""
        self._thread = threading.Thread(target=self._watch, args=(archive_id,), daemon=True)
        self._thread.start()

    def _watch(self, archive_id: int) -> None:
        task = self._progress.add_task(f"archive {archive_id}", total=self._total, failed=0)
        with Client(self._target) as client:
            while not self._stop.wait(1.0):
                try:
                    counts = client.get(f"{BASE}/{archive_id}")["counts"]
                except FluxionsError:
                    continue  # Only the display is affected: the run retries by itself, and reports when it gives up.
                settled = counts["completed"] + counts["failed"] + counts["skipped"]
                self._progress.update(task, completed=settled, total=max(self._total, settled), failed=counts["failed"])
