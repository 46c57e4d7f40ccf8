"""Child processes of the supervisor: started in their own session, logged to a file, ended for certain."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_BACKOFF_SECS = (0.5, 1.0, 2.0, 5.0, 10.0)
_HEALTHY_SECS = 60.0
_ROOT = str(Path(__file__).resolve().parents[1])


def module_env() -> dict[str, str]:
    """This process's environment, in which ``python -m`` finds our packages wherever it is started."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH"))))}


@dataclass
class Child:
    """A program that should run; ``start`` it, ask ``poll``, and it knows how long to wait before the next start."""

    name: str
    argv: list[str]
    env: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    failures: int = 0
    restart_at: float | None = field(default=None)

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            # An own session keeps the terminal's Ctrl-C from reaching children before the supervisor decides the order.
            self.process = subprocess.Popen(
                self.argv, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.started_at = time.monotonic()
        self.restart_at = None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process and self.process.poll() is None else None

    def exited(self) -> int | None:
        """Exit status if it runs no more."""
        return None if self.process is None else self.process.poll()

    def schedule_restart(self) -> float:
        """Seconds until it should be started again; grows while it keeps dying young."""
        if time.monotonic() - self.started_at > _HEALTHY_SECS:
            self.failures = 0
        pause = _BACKOFF_SECS[min(self.failures, len(_BACKOFF_SECS) - 1)]
        self.failures += 1
        self.restart_at = time.monotonic() + pause
        return pause

    def signal(self, number: signal.Signals) -> None:
        if self.pid is not None:
            os.kill(self.pid, number)

    def last_words(self, lines: int = 8) -> str:
        """The end of its log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""


def wait_gone(children: list[Child], timeout_secs: float) -> bool:
    """Wait until every child has ended; False if one outlives the time."""
    deadline = time.monotonic() + timeout_secs
    for child in children:
        if child.process is None:
            continue
        try:
            child.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
    return True


def marked(variable: str, value: str) -> list[psutil.Process]:
    """Every process, but this one, whose environment carries ``variable=value``, and all that these have started.

    Ray's agents clear most of their environment when they write their titles; the raylet above them does not.
    """
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and _carries(process, variable, value):
                found[process.pid] = process
        except (psutil.Error, OSError):
            continue
    for process in list(found.values()):
        with contextlib.suppress(psutil.Error):
            found |= {child.pid: child for child in process.children(recursive=True)}
    found.pop(os.getpid(), None)
    return list(found.values())


def _carries(process: psutil.Process, variable: str, value: str) -> bool:
    raw = Path(f"/proc/{process.pid}/environ")
    if not raw.parent.exists():
        return bool(process.environ().get(variable) == value)
    # Ray's processes write their titles over the start of their environment, and psutil reads to the first gap only.
    return f"\0{variable}={value}\0".encode() in b"\0" + raw.read_bytes() + b"\0"


def end_marked(variable: str, value: str, grace_secs: float) -> int:
    """Ask every marked process to end, then kill what is left. Returns how many there were."""
    processes = marked(variable, value)
    for process in processes:
        _send(process, signal.SIGTERM)
    _, alive = psutil.wait_procs(processes, timeout=grace_secs)
    while alive:
        for process in alive:
            _send(process, signal.SIGKILL)
        psutil.wait_procs(alive, timeout=2)
        alive = marked(variable, value)  # what they had started meanwhile
    return len(processes)


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        pass
