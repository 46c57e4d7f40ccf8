"""Three hosts: a cluster is formed, works, and loses a cable and a machine; nothing acknowledged is lost or done twice.

Asked for by ``FLUXIONS_TEST_HOSTS=1``: three machines' worth of processes take minutes on a small one.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import connect

from tests.e2e.stack import until
from tests.support.hosts import network, why_not
from tests.support.hosts_archives import ARCHIVE_SECS, SETTINGS, Run, end, plant, shared_dask, works_on_long_file
from tests.support.hosts_jobs import Submitter, all_done, submit
from tests.support.hosts_platform import Machine, Platform, Program, platform
from tests.support.operations_page import exported
from tests.support.processes import STOP_SECS

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.environ.get("FLUXIONS_TEST_HOSTS") != "1", reason="set FLUXIONS_TEST_HOSTS=1 to run it"),
]

CUT_SECS = 12.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    if missing := why_not():
        pytest.skip(missing)
    # A run that is ended from outside, as by `timeout`, cleans up as after Ctrl-C.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(os.environ.get("FLUXIONS_TEST_HOSTS_FOLDER") or tmp_path_factory.mktemp("hosts"))
    try:
        with network(3) as net, platform(net, folder) as found:
            yield found
    finally:
        signal.signal(signal.SIGTERM, before)


def test_every_machine_serves_by_a_gateway_of_its_own(cluster: Platform) -> None:
    for machine in cluster.machines:
        assert cluster.request(machine, "GET", "/ready").status_code == 200
        until(lambda one=machine: one.has("ray::ServeReplica:fluxions:Gateway"), f"{machine.host.name} has a gateway")
    head, *others = cluster.machines
    assert not head.has("ray::LedgerActor")
    assert sum(machine.has("ray::LedgerActor") for machine in others) == 1
    assert not any((machine.home / "data").exists() for machine in cluster.machines), "storage is in the bucket"


def test_jobs_and_speech_work_from_any_machine(cluster: Platform) -> None:
    ids = [submit(cluster, machine) for machine in cluster.machines for _ in range(2)]
    for machine in cluster.machines:
        all_done(cluster, machine, ids)
        job = cluster.request(machine, "GET", f"/transcriptions/{ids[0]}").json()
        assert "river" in job["text"].lower()
        body = {"voice": "maeve", "input": "Good morning."}
        sound = cluster.request(machine, "POST", "/vui/v1/tts", json=body)
        assert sound.content[:4] == b"RIFF"


def test_a_conversation_on_a_machine_that_joined(cluster: Platform) -> None:
    events = asyncio.run(_converse(cluster.machines[2].url.replace("http", "ws"), cluster.key))
    sound = b"".join(base64.b64decode(e["delta"]) for e in events if e["type"] == "response.output_audio.delta")
    response = events[-1]["response"]
    # The model may say more than its 24 tokens.
    cut = (response.get("status_details") or {}).get("reason") == "max_output_tokens"
    assert response["status"] == ("incomplete" if cut else "completed"), response
    assert np.abs(np.frombuffer(sound, "<i2").astype(np.int32)).max() > 2000


async def _converse(url: str, key: str) -> list[dict[str, Any]]:
    offered: Any = ["realtime", f"openai-insecure-api-key.{key}"]
    events: list[dict[str, Any]] = []
    async with asyncio.timeout(90), connect(f"{url}/v1/realtime?model=fluxions", subprotocols=offered, max_size=None) as ws:
        said = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Say hello."}]}
        await ws.send(json.dumps({"type": "conversation.item.create", "item": said}))
        await ws.send(json.dumps({"type": "response.create", "response": {"max_output_tokens": 24}}))
        while not events or events[-1]["type"] != "response.done":
            events.append(json.loads(await ws.recv()))
            assert events[-1]["type"] != "error", events[-1]
    return events


def test_an_archive_from_a_deployment_on_a_machine_that_joined(cluster: Platform, tmp_path: Path) -> None:
    head, machine, _ = cluster.machines
    run = Run(cluster, tmp_path / "nightly", "calls")
    names = plant(run.source, short=3)
    out = tmp_path / "prefect.out"

    def prefect(one: Machine, *begin: str, **settings: str) -> Program:
        given = exported("PREFECT_API_URL", one.replaced()) | {"PREFECT_HOME": str(one.home / "prefect")}
        return one.typed(" ".join(["prefect", *begin]), out, source=run.source, **given, **settings)

    for command in ("work-pool create", "--no-prompt deploy"):
        assert prefect(head, command).wait(ARCHIVE_SECS) == 0, out.read_text()[-3000:]
    worker = prefect(machine, "worker", **SETTINGS)
    try:
        assert prefect(head, "deployment run").wait(ARCHIVE_SECS) == 0, out.read_text()[-3000:]
        until(lambda: run.has_ended(head), f"the archive: {out}", ARCHIVE_SECS)
    finally:
        end(worker)
    run.is_complete(names, head)


def test_a_cut_cable_loses_and_doubles_nothing(cluster: Platform) -> None:
    head, *others = cluster.machines
    keeper = cluster.keeper()
    (other,) = (machine for machine in others if machine is not keeper)
    with Submitter(cluster, head) as submitter:
        submitter.wait(2)
        other.host.cut()
        time.sleep(CUT_SECS)
        other.host.mend()
        assert cluster.request(other, "GET", "/ready").status_code == 200
        longest = submitter.wait(2)
    print(f"longest submit while a cable was cut: {longest:.1f} s")  # noqa: T201
    all_done(cluster, head, submitter.acknowledged)
    all_done(cluster, other, submitter.acknowledged)


def test_an_archive_and_the_ledger_outlive_their_machine(cluster: Platform, tmp_path: Path) -> None:
    head, *others = cluster.machines
    keeper = cluster.keeper()
    (other,) = (machine for machine in others if machine is not keeper)
    run = Run(cluster, tmp_path / "phone", "phone")
    names = plant(run.source, short=6, long=2)
    with shared_dask(head, others, tmp_path), Submitter(cluster, head) as submitter:
        process = run.start(head)
        until(lambda: works_on_long_file(keeper), f"work on the machine that is to die: {run.said}", ARCHIVE_SECS)
        submitter.wait(1)
        keeper.host.power_off()
        longest = submitter.wait(5)
        print(f"longest submit while the ledger moved: {longest:.1f} s")  # noqa: T201
        assert cluster.keeper() is other
        run.completes(process, names, head)
    all_done(cluster, head, submitter.acknowledged)
    all_done(cluster, other, submitter.acknowledged)
    run.is_complete(names, other)


def test_a_machine_comes_back_and_another_continues_its_archive(cluster: Platform, tmp_path: Path) -> None:
    head, *others = cluster.machines
    all_run(cluster)
    keeper = cluster.keeper()
    (machine,) = (one for one in others if one is not keeper)
    run = Run(cluster, tmp_path / "talks", "talks")
    names = plant(run.source, short=4)
    first = run.start(machine, FLUXIONS_DASK_ADDRESS="")
    until(lambda: run.completed(head) >= 1, f"a finished file: {run.said}", ARCHIVE_SECS)
    machine.host.power_off()
    first.wait(STOP_SECS)
    run.completes(run.start(keeper, FLUXIONS_DASK_ADDRESS=""), names, head)


def test_ctrl_c_leaves_the_cluster_and_then_ends_it(cluster: Platform) -> None:
    head, *others = cluster.machines
    all_run(cluster)
    keeper = cluster.keeper()
    (other,) = (machine for machine in others if machine is not keeper)
    ids = [submit(cluster, head)]
    for machine in (keeper, other, head):
        secs = machine.interrupt()
        print(f"Ctrl-C of {machine.host.name} took {secs:.1f} s")  # noqa: T201
        assert not machine.host.pids()
        if machine is keeper:  # Without the other there is no machine for the ledger.
            assert cluster.keeper() is other
            all_done(cluster, head, ids)


def all_run(cluster: Platform) -> None:
    """Start the machines again that were switched off."""
    for machine in cluster.machines:
        if not machine.host.pids():
            machine.start_again()
