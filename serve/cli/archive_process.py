"""The process that does an archive's work for `fluxions archive run`: it is told what to do, and says what it finds.

The command line itself speaks HTTP only; sources, Prefect and Dask live in that process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import typer

from schemas.errors import FluxionsError, error_from_response
from serve.cli.client import Client, Target
from serve.cli.output import INTERRUPTED, note

BASE = "/operator/archives"
_STOP_SECS = 30.0
_LAST_LINES = 5


class ArchiveProcess:
    """``with ArchiveProcess(...) as process: for event in process.events()``; leaving the block stops what still runs.

    ``mode`` is estimate, dry-run or run. The key travels in the environment, never in arguments or the request.
    """

    def __init__(self, mode: str, request: dict[str, Any], target: Target, home: Path, prefect_api: str | None) -> None:
        self._log = home / "logs" / "archive.log"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._mode, self._request = mode, request
        self._env = os.environ | {
            "FLUXIONS_URL": target.url,
            "FLUXIONS_OPERATOR_KEY": target.key,
            "PREFECT_HOME": str(home / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_TO_API_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }
        if prefect_api:
            self._env["PREFECT_API_URL"] = prefect_api

    def __enter__(self) -> ArchiveProcess:
        self._errors: IO[bytes] = self._log.open("ab")
        self._from = self._errors.tell()
        # A session of its own: the terminal's Ctrl-C reaches this program, which then asks that one to stop.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "flows.archive_run", self._mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=self._env,
            text=True,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_STOP_SECS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()
        if self._process.stdout is not None:
            self._process.stdout.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ended(self) -> bool:
        return self._process.poll() is not None

    def events(self) -> Iterator[dict[str, Any]]:
        """What it says, until it ends. Raises the error it ended with."""
        assert self._process.stdin is not None  # noqa: S101 - both are pipes by construction
        assert self._process.stdout is not None  # noqa: S101
        with self._process.stdin as stdin:
            stdin.write(json.dumps(self._request))
        for line in self._process.stdout:
            event = json.loads(line)
            if event["event"] == "error":
                raise error_from_response(event["status"], {"error": event})
            yield event
        if self._process.wait() != 0:
            raise FluxionsError(f"the run ended unexpectedly; the end of {self._log}: {self._last_words()}")

    def _last_words(self) -> str:
        with self._log.open("rb") as file:
            file.seek(self._from)
            lines = file.read().decode(errors="replace").splitlines()
        return " / ".join(line.strip() for line in lines[-_LAST_LINES:]) or "nothing"


def estimate(mode: str, request: dict[str, Any], target: Target, home: Path) -> dict[str, Any]:
    note("looking at the source …")
    with ArchiveProcess(mode, request, target, home, None) as process:
        for event in process.events():
            return {name: value for name, value in event.items() if name != "event"}
    raise FluxionsError("the estimate ended without a word")


def work(client: Client, request: dict[str, Any], target: Target, home: Path, estimate: dict[str, Any]) -> dict[str, Any]:
    """Do the work and give its report. Ctrl-C stops it, and says how to go on."""
    from serve.up import instance

    here = instance(home)
    prefect_api = here.prefect_api if here is not None and here.url == target.url else None
    archive_id: int | None = None
    with Bar(target, estimate["files"]) as bar:
        try:
            with ArchiveProcess("run", request, target, home, prefect_api) as process:
                for event in process.events():
                    archive_id = event["archive"]
                    bar.watch(archive_id)
        except KeyboardInterrupt:
            note(f"stopped; what is finished stays (archive {archive_id}). Run the same command again to go on.")
            raise typer.Exit(INTERRUPTED) from None
    return dict(client.get(f"{BASE}/{archive_id}/report"))


class Bar:
    """Files settled, on stderr where that is a terminal; asks the server once a second."""

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

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5)
        self._progress.stop()

    def watch(self, archive_id: int) -> None:
        self._thread = threading.Thread(target=self._watch, args=(archive_id,), daemon=True)
        self._thread.start()

    def _watch(self, archive_id: int) -> None:
        task = self._progress.add_task(f"archive {archive_id}", total=self._total, failed=0)
        with Client(self._target) as client:
            while not self._stop.wait(1.0):
                try:
                    counts = client.get(f"{BASE}/{archive_id}")["counts"]
                except FluxionsError:
                    continue  # The run itself is patient, and says when it is not any more.
                settled = counts["completed"] + counts["failed"] + counts["skipped"]
                self._progress.update(task, completed=settled, total=max(self._total, settled), failed=counts["failed"])
