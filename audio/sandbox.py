"""Limits a decoding child lays on itself before it looks at a file; none of them can be raised again."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import resource
import signal
import sys
import threading
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_MAX_OPEN_FILES = 32


def die_with_parent(parent_pid: int) -> None:
    """End this process when its parent ends, however that ends.

    On Linux the kernel sends SIGKILL when the thread that started the child is gone. Elsewhere the watch on the parent's
    process id is a thread, because standard input is free to be read by the program.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    else:
        threading.Thread(target=_watch, args=(parent_pid,), daemon=True).start()
    # The parent may have ended before the request above was made.
    if os.getppid() != parent_pid:
        os._exit(1)


def _watch(parent_pid: int) -> None:
    never = threading.Event()
    while os.getppid() == parent_pid:
        never.wait(1.0)
    os._exit(1)


def limit(memory_bytes: int, cpu_secs: float, file_bytes: int) -> None:
    """Bound address space (on top of what is mapped now), CPU time from now, written files, threads and open files."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_limit = math.ceil(used.ru_utime + used.ru_stime + cpu_secs)
    _set(resource.RLIMIT_CPU, cpu_limit, cpu_limit + 1)
    _set(resource.RLIMIT_FSIZE, file_bytes, file_bytes)
    _set(resource.RLIMIT_NOFILE, _MAX_OPEN_FILES, _MAX_OPEN_FILES)
    _set(resource.RLIMIT_CORE, 0, 0)
    if sys.platform == "linux":
        # Elsewhere the first is not enforced, and the second would count a thread that is already there.
        _set(resource.RLIMIT_AS, *[_mapped_bytes() + memory_bytes] * 2)
        _set(resource.RLIMIT_NPROC, 0, 0)


def _set(which: int, soft: int, hard: int) -> None:
    _, ceiling = resource.getrlimit(which)
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    # A system may refuse to lower a limit below what is in use; the others still hold.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(which, (soft, hard))


def _mapped_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
