"""Finds and ends the processes of an instance by an environment variable, no matter which process started them."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import psutil


def marked(variable: str, value: str) -> list[psutil.Process]:
    """Every process except this one whose environment contains ``variable=value``, and the descendants of these processes.

    Descendants are included because Ray's agents overwrite most of their environment with their process titles. Their
    parent, the raylet, does not.
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
    # Ray's processes overwrite the start of their environment with their titles, and psutil reads only up to the first
    # gap.
    return f"\0{variable}={value}\0".encode() in b"\0" + raw.read_bytes() + b"\0"


def end_marked(variable: str, value: str, grace_secs: float) -> int:
    """Ask every marked process to end, then kill the remaining ones. Returns the number of processes found."""
    processes = marked(variable, value)
    for process in processes:
        _send(process, signal.SIGTERM)
    _, alive = psutil.wait_procs(processes, timeout=grace_secs)
    while alive:
        for process in alive:
            _send(process, signal.SIGKILL)
        psutil.wait_procs(alive, timeout=2)
        alive = marked(variable, value)  # processes that were started meanwhile
    return len(processes)


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        pass
