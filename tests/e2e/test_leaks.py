"""Requests that are given up leave nothing open in any process of the platform: `fluxions bench leaks` in short."""

from __future__ import annotations

import pytest

from benchmarks.platform import leaks
from clients.public import Target
from serve.supervisor.instance import MARKER
from serve.supervisor.marked_processes import marked
from tests.e2e import stack as stacks

pytestmark = pytest.mark.e2e

CYCLES = 60
"""Of each kind. What is kept of each, or of every second one, is more than pools of connections and threads come to."""


def test_requests_that_are_given_up_leave_no_descriptor_thread_or_child(stack: stacks.Stack) -> None:
    marker = stack.instance().marker
    found = leaks.measure(Target(stack.url, stack.key()), lambda: marked(MARKER, marker), CYCLES, lambda _: None)
    values = {one.name: one.value for one in found}
    assert {f"done: {kind}": CYCLES for kind in leaks.CYCLES}.items() <= values.items()
    counted = {name: grown for name, grown in values.items() if name.endswith((": descriptors", ": threads", ": children"))}
    assert {"Gateway: descriptors", "LedgerActor: threads", "flows.worker: children"} <= counted.keys()
    assert {name: grown for name, grown in counted.items() if grown >= CYCLES / 2} == {}
