"""Starts the program of an archive run for `fluxions archive run`, and reads its events.

The command line itself uses HTTP only; sources, Prefect and Dask live in that program (`flows.archives.program`).
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from clients.public import Target
from flows.archives.home_environment import home_environment
from flows.archives.protocol import ArchiveRequest, Mode, read_events, write_request
from runtime.children import module_env, start, stop
from schemas.errors import FluxionsError

_STOP_SECS = 30.0
_LAST_LINES = 5


class ArchiveProcess:
    """``with ArchiveProcess(...) as process: for event in process.events()``; leaving the block stops what still runs.

    The key travels in the environment, never in arguments or the request. The program runs in HOME, because Prefect reads
    settings from files of the folder that it runs in, and a folder of recordings may come from strangers.
    """

    def __init__(self, mode: Mode, request: ArchiveRequest, target: Target, home: Path, prefect_api: str | None) -> None:
        self._log = home / "logs" / "archive.log"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._home, self._mode = home, mode
        source = request.source if request.reprocess else _absolute(request.source)
        self._request = request.model_copy(update={"source": source})
        self._env = module_env(
            {
                **home_environment(home, target.url, prefect_api),
                "FLUXIONS_OPERATOR_KEY": target.key,
            }
        )

    def __enter__(self) -> ArchiveProcess:
        self._errors: IO[bytes] = self._log.open("ab")
        self._log_start = self._errors.tell()
        argv = [sys.executable, "-m", "flows.archives.program", self._mode]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._errors}
        self._process = start(argv, self._env, cwd=self._home, **pipes)
        return self

    def __exit__(self, *_: object) -> None:
        stop(self._process, first=signal.SIGINT, grace_secs=_STOP_SECS)
        self._errors.close()

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._process.pid

    def ended(self) -> bool:
        """Whether the program has ended."""
        return self._process.poll() is not None

    def events(self) -> Iterator[dict[str, Any]]:
        """The program's events, until it ends. Raises the error it ended with; FluxionsError if it ended without one."""
        assert self._process.stdin is not None  # noqa: S101 - both are pipes by construction
        assert self._process.stdout is not None  # noqa: S101
        try:
            with self._process.stdin as stdin:
                write_request(stdin, self._request)
            yield from read_events(self._process.stdout)
        except (OSError, EOFError, ValueError) as error:
            raise FluxionsError(f"the run ended unexpectedly; the end of {self._log}: {self._log_end()}") from error
        if self._process.wait(_STOP_SECS) != 0:
            raise FluxionsError(f"the run ended unexpectedly; the end of {self._log}: {self._log_end()}")

    def _log_end(self) -> str:
        with self._log.open("rb") as file:
            file.seek(self._log_start)
            lines = file.read().decode(errors="replace").splitlines()
        return " / ".join(line.strip() for line in lines[-_LAST_LINES:]) or "nothing"


def _absolute(source: str) -> str:
    return source if "://" in source else str(Path(source).expanduser().absolute())
