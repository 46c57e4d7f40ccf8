"""Serves the deployments of ``prefect.yaml`` on their schedules, each run in a process of its own.

Run as ``python -m flows.scheduler`` with ``PREFECT_API_URL`` set.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path

import yaml
from prefect.runner import Runner
from prefect.schedules import Schedule
from prefect.types.entrypoint import EntrypointType

from flows.maintenance import maintain
from schemas.settings import ServerSettings
from telemetry.log_lines import configure

PREFECT_FILE = Path(__file__).resolve().parents[1] / "prefect.yaml"
_ENTRYPOINT = "flows/maintenance.py:maintain"


def _schedule(interval: float | None = None, cron: str | None = None) -> Schedule:
    return Schedule(interval=dt.timedelta(seconds=interval) if interval else None, cron=cron)


async def main(text: str) -> None:
    """Serve the deployments of ``text``, the contents of `prefect.yaml`, until cancelled.

    The flow is this process's own object: no run takes code or a place of code from Prefect's API.
    """
    # One run at a time, because the ledger runs one task at a time. Schedules stay active when this process stops.
    runner = Runner(limit=1, pause_on_shutdown=False)
    for described in yaml.safe_load(text)["deployments"]:
        if described["entrypoint"] == _ENTRYPOINT:
            await runner.aadd_flow(
                maintain,
                described["name"],
                description=described["description"],
                parameters=described["parameters"],
                schedules=[_schedule(**one) for one in described["schedules"]],
                concurrency_limit=described["concurrency_limit"],
                entrypoint_type=EntrypointType.MODULE_PATH,
            )
    await runner.start()


if __name__ == "__main__":
    configure(ServerSettings().log_format)
    asyncio.run(main(PREFECT_FILE.read_text()))
