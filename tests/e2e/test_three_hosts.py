"""Three hosts: a cluster is formed, works, and loses a cable and a machine; nothing acknowledged is lost or done twice.

Asked for by ``FLUXIONS_TEST_HOSTS=1``: three machines' worth of processes take minutes on a small one.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import connect

from tests.e2e import recordings
from tests.e2e.stack import until
from tests.support.hosts import network, why_not
from tests.support.hosts_platform import Machine, Platform, platform
from tests.support.processes import ROOT

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.environ.get("FLUXIONS_TEST_HOSTS") != "1", reason="set FLUXIONS_TEST_HOSTS=1 to run it"),
]

JOB_SECS = 240.0
ARCHIVE_SECS = 540.0
"""An archive run starts a Prefect flow and a Dask cluster, each minutes away on a small machine that is three already."""
CUT_SECS = 12.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    if missing := why_not():
        pytest.skip(missing)
    folder = Path(os.environ.get("FLUXIONS_TEST_HOSTS_FOLDER") or tmp_path_factory.mktemp("hosts"))
    with network(3) as net, platform(net, folder) as found:
        yield found


class Submitter:
    """Submits one recording after the other to machines in turn, until it is told to stop."""

    def __init__(self, cluster: Platform, machines: list[Machine]) -> None:
        self.cluster, self.machines = cluster, machines
        self.acknowledged: list[int] = []
        self.longest_secs = 0.0
        self.problem: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Submitter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        assert self.problem is None, self.problem

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(1.0):
            began = time.monotonic()
            try:
                self.acknowledged.append(submit(self.cluster, self.machines[number % len(self.machines)]))
            except BaseException as problem:
                self.problem = problem
                return
            self.longest_secs = max(self.longest_secs, time.monotonic() - began)
            number += 1


_seeds = iter(range(1, 100_000))


def submit(cluster: Platform, machine: Machine) -> int:
    seed = next(_seeds)
    answer = cluster.request(
        machine,
        "POST",
        "/akro/submit",
        content=recordings.sentence(0, seed),
        params={"filename": f"{seed}.wav"},
        headers={"Content-Type": "audio/wav"},
    )
    assert answer.status_code == 200, answer.text
    cluster.acknowledged.append(int(answer.json()["id"]))
    return cluster.acknowledged[-1]


def all_done(cluster: Platform, machine: Machine, ids: list[int]) -> None:
    """Wait until these jobs are completed; of all that were accepted none is missing, and there are no others."""
    deadline = time.monotonic() + JOB_SECS
    while True:
        page = cluster.request(machine, "GET", "/transcriptions", params={"limit": 100}).json()
        found = {job["id"]: job["status"] for job in page["transcriptions"]}
        if all(found.get(one) == "completed" for one in ids):
            break
        assert time.monotonic() < deadline, {one: found.get(one) for one in ids}
        time.sleep(0.5)
    accepted = list(cluster.acknowledged)
    assert len(page["transcriptions"]) == len(found)
    assert len(accepted) == len(set(accepted))
    assert set(found) == set(accepted)


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


def test_an_archive_run_by_a_machine_that_joined(cluster: Platform, tmp_path: Path) -> None:
    machine = cluster.machines[1]
    for number in range(4):
        (tmp_path / f"{number}.wav").write_bytes(recordings.sentence(1, next(_seeds)))
    arguments = ["archive", "run", str(tmp_path), "--account", "archive", "--home", str(machine.home), "--json"]
    env = machine.env | {"FLUXIONS_ARCHIVE_WORKERS": "1"}
    command = [sys.executable, "-m", "cli.main", *arguments]
    run = machine.host.start(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = run.communicate(timeout=ARCHIVE_SECS)
    assert run.returncode == 0, err.decode()[-2000:]
    assert json.loads(out)["archive"]["counts"]["completed"] == 4, out


def test_a_cut_cable_and_a_dead_machine_lose_and_double_nothing(cluster: Platform) -> None:
    head, *others = cluster.machines
    keeper = next(machine for machine in others if machine.has("ray::LedgerActor"))
    other = next(machine for machine in others if machine is not keeper)
    with Submitter(cluster, [head]) as submitter:
        time.sleep(2.0)
        other.host.cut()
        time.sleep(CUT_SECS)
        other.host.mend()
        assert cluster.request(other, "GET", "/ready").status_code == 200
        before = submitter.longest_secs
        submitter.longest_secs = 0.0
        keeper.host.power_off()
        deadline = time.monotonic() + JOB_SECS
        count = len(submitter.acknowledged)
        while len(submitter.acknowledged) < count + 5:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    fail_over_secs = submitter.longest_secs
    assert other.has("ray::LedgerActor")
    all_done(cluster, head, submitter.acknowledged)
    all_done(cluster, other, submitter.acknowledged)
    print(f"longest submit: {before:.1f} s while a cable was cut, {fail_over_secs:.1f} s while the ledger moved")  # noqa: T201


def test_ctrl_c_leaves_the_cluster(cluster: Platform) -> None:
    head, *others = cluster.machines
    leaving = next(machine for machine in others if machine.host.pids())
    secs = leaving.interrupt()
    print(f"Ctrl-C took {secs:.1f} s")  # noqa: T201
    assert not leaving.host.pids()
    assert cluster.request(head, "GET", "/health").status_code == 200
