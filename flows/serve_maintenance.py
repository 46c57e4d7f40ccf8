"""Serves the deployments of ``prefect.yaml`` on their schedules, each run in a process of its own.

Run as ``python -m flows.serve_maintenance`` with ``PREFECT_API_URL`` set.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import sys
from pathlib import Path
from typing import Any

import yaml
from prefect import aserve
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Schedule
from prefect.types.entrypoint import EntrypointType

from flows.maintenance import maintain

PREFECT_FILE = Path(__file__).resolve().parents[1] / "prefect.yaml"
_ENTRYPOINT = "flows/maintenance.py:maintain"


async def deployments(text: str) -> list[RunnerDeployment]:
    """What ``text``, a ``prefect.yaml``, says of the maintenance flow, for this process to serve."""
    described = yaml.safe_load(text)["deployments"]
    return [await _deployment(one) for one in described if one["entrypoint"] == _ENTRYPOINT]


async def _deployment(described: dict[str, Any]) -> RunnerDeployment:
    return await maintain.ato_deployment(
        described["name"],
        description=described["description"],
        parameters=described["parameters"],
        schedules=[_schedule(**one) for one in described["schedules"]],
        concurrency_limit=described["concurrency_limit"],
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def _schedule(interval: float | None = None, cron: str | None = None) -> Schedule:
    return Schedule(interval=dt.timedelta(seconds=interval) if interval else None, cron=cron)


async def main(text: str) -> None:
    # One at a time: the ledger does not do two together either. Schedules outlive a stop of this process.
    await aserve(*await deployments(text), limit=1, pause_on_shutdown=False, print_starting_message=False)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stdout)
    asyncio.run(main(PREFECT_FILE.read_text()))
