"""`fluxions maintain`: run maintenance tasks now, as the schedules do."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from cli.options import HomeOption, JsonOption, KeyOption, UrlOption, locate
from cli.output import note, print_json, print_table

_WAIT_SECS = 20


class Task(StrEnum):
    """Maintenance tasks."""

    MERGE = "merge"
    RETENTION = "retention"
    CHECKPOINT = "checkpoint"
    VACUUM = "vacuum"
    ORPHANS = "orphans"
    ALL = "all"


def maintain(
    task: Annotated[Task, typer.Argument(help="What to do.")] = Task.ALL,
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Merge small files, remove old events, checkpoint, vacuum, or remove orphaned objects, while the server runs.

    The schedules in prefect.yaml run each task regularly, so this command is never required.
    """
    from clients.public import Client

    with Client(locate(url, key, home, operator=True)) as client:
        while (body := client.post(f"/operator/maintenance/{task}?wait_secs={_WAIT_SECS}", {}))["state"] != "done":
            note(f"{task} is running …")
    report = body["report"]
    if as_json:
        print_json(report)
        return
    rows = [[name.replace("_", " "), str(count)] for name, count in report["counts"].items()]
    print_table(f"{task}, {report['secs']:g} s", ["what", "count"], rows)
