"""Two machines, as Ray sees them, have nearly twice the throughput of one; asked for by ``FLUXIONS_TEST_HOSTS=1``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import started, without

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.environ.get("FLUXIONS_TEST_HOSTS") != "1", reason="set FLUXIONS_TEST_HOSTS=1 to run it"),
]

MEASURE_SECS = 400.0
COMMAND = "bench engines --part nodes --seconds 8 --rounds 1 --json"


def test_a_second_machine_nearly_doubles_the_throughput() -> None:
    argv = [str(Path(sys.executable).parent / "fluxions"), *COMMAND.split()]
    with started(argv, env=without("FLUXIONS_", "RAY_"), stdout=subprocess.PIPE, text=True) as program:
        said, _ = program.communicate(timeout=MEASURE_SECS)
    assert program.returncode == 0
    found = {one["name"]: one["value"] for one in json.loads(said)["measures"]}
    assert found["two machines by one"] > 1.5, found
    assert found["around the engine, another machine of a cluster, p50"] > 0, found
