"""Limits that a decoding child sets on itself before it opens a file; none of them can be raised again."""

from __future__ import annotations

import contextlib
import math
import resource
import sys
from pathlib import Path

_MAX_OPEN_FILES = 32


def limit(memory_bytes: int, cpu_secs: float, file_bytes: int) -> None:
    """Bound address space (on top of what is mapped now), CPU time from now, written files, threads and open files."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_limit = math.ceil(used.ru_utime + used.ru_stime + cpu_secs)
    _set(resource.RLIMIT_CPU, cpu_limit, cpu_limit + 1)
    _set(resource.RLIMIT_FSIZE, file_bytes, file_bytes)
    _set(resource.RLIMIT_NOFILE, _MAX_OPEN_FILES, _MAX_OPEN_FILES)
    _set(resource.RLIMIT_CORE, 0, 0)
    if sys.platform == "linux":
        # On other systems the first limit is not enforced, and the second would count an existing thread.
        _set(resource.RLIMIT_AS, *[_mapped_bytes() + memory_bytes] * 2)
        _set(resource.RLIMIT_NPROC, 0, 0)


def _set(which: int, soft: int, hard: int) -> None:
    _, ceiling = resource.getrlimit(which)
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    # A system may refuse to lower a limit below the present use. The other limits still hold.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(which, (soft, hard))


def _mapped_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
