"""``python -m serve.leave``: has Ray move the actors of this machine to others, before the machine leaves its cluster.

The supervisor of a machine that joined a cluster starts this program when it stops. A ledger that runs here is closed, so
that the next ledger need not wait until the lease expires.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from typing import Final

import psutil
import ray

from serve.deploy import connect
from serve.ledger_actor import move_ledger
from serve.supervisor.instance import MARKER
from serve.supervisor.marked_processes import marked
from serve.supervisor.programs import program

_MOVE_SECS: Final = 10.0
_POLL_SECS: Final = 0.25

logger = logging.getLogger("fluxions.leave")


def main() -> None:
    """Drain this machine. Returns when none of its replicas is left, or after 10 s."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stdout)
    connect()
    node_id = ray.get_runtime_context().get_node_id()
    arguments = [f"--node-id={node_id}", "--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=it leaves"]
    subprocess.run(
        [program("ray"), "drain-node", *arguments, f"--deadline-remaining-seconds={_MOVE_SECS:.0f}"], check=False
    )
    asyncio.run(move_ledger(node_id))
    deadline = time.monotonic() + _MOVE_SECS
    while replicas := _replicas():
        if time.monotonic() > deadline:
            logger.warning("%d replicas are still here after %.0f s", replicas, _MOVE_SECS)
            return
        time.sleep(_POLL_SECS)


def _replicas() -> int:
    """Processes of this machine that serve requests: replicas of the gateway and of engines."""
    found = 0
    for process in marked(MARKER, os.environ[MARKER]):
        try:
            found += process.cmdline()[:1] != [] and process.cmdline()[0].startswith("ray::ServeReplica")
        except (psutil.Error, IndexError):
            continue
    return found


if __name__ == "__main__":
    main()
