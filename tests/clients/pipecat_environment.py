"""An environment with pipecat beside ours, since its versions of protobuf, soxr and others exclude those that we need.

`python -m tests.clients.pipecat_environment` makes it (526 MB) unless it is there; tests that need it are skipped where it
is missing.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import started_async, without

VERSION = "1.14.0"
FOLDER = Path(sys.prefix).parent / ".venv-pipecat"
PYTHON = FOLDER / "bin" / "python"
PROGRAM_SECS = 170.0
_READY = FOLDER / f"pipecat-{VERSION}"


def is_ready() -> bool:
    return _READY.exists()


def make() -> None:
    venv.create(FOLDER, with_pip=True, clear=True)
    subprocess.run([PYTHON, "-m", "pip", "install", "-q", f"pipecat-ai[openai]=={VERSION}"], check=True, timeout=900)
    _READY.touch()


needed = pytest.mark.skipif(
    not is_ready(),
    reason="pipecat has no environment here; make it with `python -m tests.clients.pipecat_environment`",
)


async def run(program: str, *arguments: str, stdin: bytes = b"") -> Any:
    """The last line that a program of this folder writes in pipecat's environment, which is JSON."""
    command = (str(PYTHON), str(Path(__file__).with_name(program)), *arguments)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    async with started_async(*command, env=without("PYTHON"), **pipes) as process, asyncio.timeout(PROGRAM_SECS):
        out, err = await process.communicate(stdin)
    assert process.returncode == 0, err.decode()[-4000:]
    return json.loads(out.splitlines()[-1])


if __name__ == "__main__" and not is_ready():
    make()
