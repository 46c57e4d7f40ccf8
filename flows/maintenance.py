"""Maintenance as a Prefect flow: asks the ledger, over the operator API, to do one task and waits until it is done.

The work itself happens in the ledger's process, the one writer of the tables; the flow gives it a schedule, a record and
retries. A ledger that dies in the middle loses nothing, and the next question starts the task anew.
"""

from __future__ import annotations

import os
from typing import Any

from prefect import flow

from flows.client import OperatorClient
from schemas.settings import Settings


@flow(name="maintenance", flow_run_name="{task}", retries=2, retry_delay_seconds=30, persist_result=False)
async def maintain(task: str) -> dict[str, Any]:
    """Do ``task`` (merge, retention, checkpoint, vacuum, orphans or all) and give its report."""
    settings = Settings()
    key = (settings.home / "keys" / "operator").read_text().strip()
    client = OperatorClient(os.environ.get("FLUXIONS_URL", settings.server.url), key)
    try:
        return await client.maintain(task)
    finally:
        await client.close()
