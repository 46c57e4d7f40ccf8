"""Child processes: their environment, their start and end, and the restart of a child that died.

All our child programs are started here or by `runtime.child_program`, which adds requests and answers. A child leads its
own Unix session, so that Ctrl-C in a terminal reaches only this process, which then ends its children in its own order.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

ROOT: Final = Path(__file__).resolve().parents[1]
"""The folder that contains our packages."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_HARMLESS: Final = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")


def module_env(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment with ``changes``, with which ``python -m`` finds our packages from any folder.

    Modules in the folder that a command was started in are not found: others may have put them there.
    """
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1", **(changes or {})}


def harmless_env(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """As `module_env`, without this process's settings and secrets: for children that read untrusted files."""
    passed_on = {name: os.environ[name] for name in _HARMLESS if name in os.environ}
    return {**passed_on, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", **(changes or {})}


def start(argv: Sequence[str], env: Mapping[str, str], **pipes: Any) -> subprocess.Popen[bytes]:
    """Start a program in a new session; ``pipes`` are arguments of subprocess.Popen. Raises OSError."""
    return subprocess.Popen(argv, env=env, start_new_session=True, **pipes)


def stop(process: subprocess.Popen[bytes], *, first: signal.Signals = signal.SIGKILL, grace_secs: float = 10.0) -> int:
    """End a program and return its exit status: send ``first``, then SIGKILL if it still runs after ``grace_secs``."""
    if process.poll() is None:
        process.send_signal(first)
    try:
        status = process.wait(grace_secs)
    except subprocess.TimeoutExpired:
        process.kill()
        status = process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):  # The pipe's buffer has input that the program never read.
                pipe.close()
    return status


def claim_stdout() -> BinaryIO:
    """Reserve standard output for this program's answers: everything printed from now on goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def die_with_parent(parent_pid: int) -> None:
    """End this process when its parent ends for any reason. Must be called by the child.

    On Linux the kernel sends SIGKILL when the thread that started the child is gone (prctl(2), PR_SET_PDEATHSIG), so that
    thread must outlive the child. Elsewhere a thread compares the parent's process id each second.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    else:
        threading.Thread(target=_exit_after, args=(parent_pid,), daemon=True).start()
    # The parent may have ended before the request above was made.
    if os.getppid() != parent_pid:
        os._exit(1)


def _exit_after(parent_pid: int) -> None:
    never = threading.Event()
    while os.getppid() == parent_pid:
        never.wait(1.0)
    os._exit(1)


@dataclass
class RestartPolicy:
    """The pause before a program that ended is started again. The pause grows while the program keeps ending early."""

    pauses_secs: tuple[float, ...] = (0.5, 1.0, 2.0, 5.0, 10.0)
    healthy_secs: float = 60.0
    """After a run of this length the next failure counts as the first one."""
    failures: int = 0

    def pause_secs(self, lived_secs: float) -> float:
        """The pause after a life of ``lived_secs``; counts one failure."""
        if lived_secs > self.healthy_secs:
            self.failures = 0
        pause = self.pauses_secs[min(self.failures, len(self.pauses_secs) - 1)]
        self.failures += 1
        return pause


@dataclass
class ServiceProcess:
    """A program that runs until it is told to stop, writes to a log file, and is started again when it ends by itself.

    The owner calls `start`, checks `exited` periodically, and starts the program again at `restart_at`.
    """

    name: str
    argv: list[str]
    env: dict[str, str]
    log: Path
    folder: Path | None = None
    """The folder that it runs in; None for that of this process."""
    policy: RestartPolicy = field(default_factory=RestartPolicy)
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    """Time of the start by time.monotonic(); `restart_at` uses the same clock."""
    restart_at: float | None = None

    def start(self) -> None:
        """Raises OSError."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = start(self.argv, self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder)
        self.started_at = time.monotonic()
        self.restart_at = None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self.process.pid if self.process and self.process.poll() is None else None

    def exited(self) -> int | None:
        """Its exit status once it has ended."""
        return None if self.process is None else self.process.poll()

    def schedule_restart(self) -> float:
        """Set `restart_at`, and return the seconds until then."""
        pause = self.policy.pause_secs(time.monotonic() - self.started_at)
        self.restart_at = time.monotonic() + pause
        return pause

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def last_lines(self, count: int = 8) -> str:
        """The last ``count`` lines of its log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])
        except FileNotFoundError:
            return ""


def wait_ended(services: Iterable[ServiceProcess], timeout_secs: float) -> bool:
    """Wait until every program has ended; False if one still runs after ``timeout_secs``."""
    deadline = time.monotonic() + timeout_secs
    for service in services:
        if service.process is None:
            continue
        try:
            service.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
    return True
