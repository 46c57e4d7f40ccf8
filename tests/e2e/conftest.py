"""One start of the real stack for all end-to-end tests; its end is checked too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from serve.instance import MARKER, Instance
from serve.processes import marked
from tests.e2e import stack as stacks

UPLOAD_LIMIT_BYTES = 420 * 1024 * 1024


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stacks.Stack]:
    home: Path = tmp_path_factory.mktemp("stack") / "home"
    running = stacks.start(
        home, FLUXIONS_MAX_UPLOAD_BYTES=str(UPLOAD_LIMIT_BYTES), FLUXIONS_LEASE_SECS="3", FLUXIONS_CLAIM_WAIT_SECS="5"
    )
    instance = Instance.read(home)
    assert instance is not None
    try:
        yield running
    finally:
        family = psutil.Process(running.process.pid).children(recursive=True)
        took = running.stop()
        left = [p for p in [*family, *marked(MARKER, instance.marker)] if p.is_running()]
    assert took < stacks.STOP_SECS, f"Ctrl-C took {took:.0f} s"
    assert not left, f"still running after Ctrl-C: {left}"


@pytest.fixture
def client(stack: stacks.Stack) -> Iterator[httpx.Client]:
    with stack.client() as client:
        yield client
