"""`fluxions maintain`: do now what the schedules do."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from serve.cli.options import HomeOption, JsonOption, KeyOption, UrlOption, locate
from serve.cli.output import note, print_json, print_table

_WAIT_SECS = 20


class Task(StrEnum):
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
    """Merge small files, forget old events, checkpoint, vacuum, remove orphaned objects. The server goes on meanwhile.

    The schedules in prefect.yaml do all of this by themselves; nothing is lost if it never runs by hand.
    """
    from serve.cli.client import Client

    with Client(locate(url, key, home, operator=True)) as client:
        while (body := client.post(f"/operator/maintenance/{task}?wait_secs={_WAIT_SECS}", {}))["state"] != "done":
            note(f"{task} is under way …")
    report = body["report"]
    if as_json:
        print_json(report)
        return
    rows = [[name.replace("_", " "), str(count)] for name, count in report["counts"].items()]
    print_table(f"{task}, {report['secs']:g} s", ["what", "count"], rows)
