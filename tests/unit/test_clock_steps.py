"""A step of the wall clock is noticed, and what goes by that clock is started again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from types import SimpleNamespace
from typing import cast

import pytest

from runtime.boot_clock import ClockSteps
from serve.supervisor.instance import MARKER, Instance
from serve.supervisor.serve_controller import end_controller
from tests.support.processes import started

pytestmark = pytest.mark.unit

WAITS = "import sys; print('begun', flush=True); sys.stdin.read()"


def test_steps_each_way_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now, ahead_secs = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: now() + ahead_secs[0])
    steps = ClockSteps(5.0)
    assert steps.look() == 0.0
    for ahead_secs[0], expected in ((3600.0, 3600.0), (3600.0, 0.0), (-3600.0, -7200.0), (-3599.0, 0.0), (0.0, 3599.0)):
        assert steps.look() == pytest.approx(expected, abs=1.0)


def test_the_controller_of_an_instance_is_killed_and_nothing_else() -> None:
    ours, others = uuid.uuid4().hex, uuid.uuid4().hex
    processes = [(ours, "ray::ServeController"), (ours, "ray::Gateway"), (others, "ray::ServeController")]
    running = []
    for marker, title in processes:
        begun = started(
            (sys.executable, "-c", WAITS, title),
            env=os.environ | {MARKER: marker},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        running.append(begun)
    with running[0] as controller, running[1] as gateway, running[2] as stranger:
        for one in (controller, gateway, stranger):
            assert one.stdout is not None
            assert one.stdout.readline() == b"begun\n"
        instance = cast("Instance", SimpleNamespace(marker=ours))
        assert end_controller(instance) == 1
        assert controller.wait(30) == -9
        assert [gateway.poll(), stranger.poll()] == [None, None]
