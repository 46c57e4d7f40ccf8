"""Maintenance as a Prefect flow: runs one task in the ledger, over the operator API, and waits until it is done.

The work happens in the ledger's process, the one writer of the tables; the flow adds a schedule, a record and retries. If
the ledger dies during a task nothing is lost, and the next request starts the task again.
"""

from __future__ import annotations

import os
from typing import Any

from prefect import flow

from clients.connection import worker_key_file
from clients.operator import OperatorClient
from schemas.settings import Settings


@flow(name="maintenance", flow_run_name="{task}", retries=2, retry_delay_seconds=30, persist_result=False)
async def maintain(task: str) -> dict[str, Any]:
    """Run ``task`` (merge, retention, checkpoint, vacuum, orphans or all) and return its report."""
    settings = Settings()
    key = worker_key_file(settings.home).read_text().strip()
    client = OperatorClient(os.environ.get("FLUXIONS_URL", settings.server.url), key)
    try:
        return await client.maintain(task)
    finally:
        await client.close()
