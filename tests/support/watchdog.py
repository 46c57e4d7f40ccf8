"""Ends the programs of a test run that was killed: ``python -m tests.support.watchdog VALUE``.

Standard input is a pipe whose other end the test run alone holds, so it ends with the run, however that ends. Then every
process that has `MARK` with this value in its environment is asked to end, with all that it started, and killed if it does
not. The watchdog is nobody's child and in a session of its own, so that tests that count their children do not see it, and
what ends the test run does not end it.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from functools import cache

from runtime.children import module_env
from serve.supervisor.marked_processes import end_marked

MARK = "TEST_RUN_MARK"
GRACE_SECS = 30.0
"""A whole platform takes some seconds to end what it has started, in its own order."""
START_SECS = 60.0


@cache
def mark() -> dict[str, str]:
    """What to add to the environment of a program, so that it ends with this process. Starts the watchdog."""
    value = secrets.token_hex(8)
    ours, its = os.pipe()
    try:
        argv = [sys.executable, "-m", __name__, value]
        subprocess.run(argv, env=module_env(), stdin=ours, timeout=START_SECS, check=True)
    finally:
        os.close(ours)
    # `its` stays open until this process ends; programs that it starts do not inherit it.
    os.set_inheritable(its, False)
    return {MARK: value}


def main(value: str) -> None:
    """Wait for the end of the test run in a process of its own, and end what it left."""
    if os.fork():
        return
    os.setsid()
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)  # Whoever reads the output of the test run must not wait for this process.
    os.dup2(quiet, 2)
    while os.read(0, 1024):
        pass
    end_marked(MARK, value, GRACE_SECS)


if __name__ == "__main__":
    main(sys.argv[1])
