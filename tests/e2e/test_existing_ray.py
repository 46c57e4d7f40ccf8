"""The platform on a Ray cluster that runs already, and goes on afterwards. Asked for by ``FLUXIONS_TEST_HOSTS=1``."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e import recordings
from tests.e2e import stack as stacks
from tests.support.processes import free_port, started, without

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.environ.get("FLUXIONS_TEST_HOSTS") != "1", reason="set FLUXIONS_TEST_HOSTS=1 to run it"),
]

RAY = str(Path(sys.executable).parent / "ray")
ACTORS = """
import ray
ray.init(address="auto", namespace="fluxions", log_to_driver=False)
names = [actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True)]
print(sorted(name for name in names if "ledger" in name or "Gateway" in name))
"""


@contextmanager
def ray_cluster(folder: Path) -> Iterator[dict[str, str]]:
    """A Ray head of its own; gives the environment of its clients."""
    token, port = folder / "token", free_port()
    token.write_text("b" * 64)
    env = without("FLUXIONS_", "RAY_", "PREFECT_") | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    ports = [f"--{name}={free_port()}" for name in ("node-manager-port", "object-manager-port", "ray-client-server-port")]
    # Ray's own range for its workers has the ports that free_port() gives; 0 leaves the choice to the kernel.
    ports += ["--min-worker-port=0", "--max-worker-port=0"]
    command = [
        RAY,
        "start",
        "--head",
        "--block",
        "--node-ip-address=127.0.0.1",
        f"--port={port}",
        f"--temp-dir={folder}",
        "--include-dashboard=false",
        *ports,
    ]
    env_of_clients = env | {"RAY_ADDRESS": f"127.0.0.1:{port}"}
    with (folder / "ray.out").open("wb") as out, started(command, env=env, stdout=out, stderr=out) as head:
        wait_for_ray(env_of_clients, head, folder / "ray.out")
        yield env_of_clients


def actors(env: dict[str, str]) -> str:
    command = [sys.executable, "-c", ACTORS.replace('"auto"', repr(env["RAY_ADDRESS"]))]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=120).stdout.strip()


def wait_for_ray(env: dict[str, str], head: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + 240
    while True:
        assert head.poll() is None, output.read_text()[-2000:]
        try:
            actors(env)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            assert time.monotonic() < deadline, output.read_text()[-2000:]
            time.sleep(0.5)
        else:
            return


def test_jobs_run_on_a_cluster_that_goes_on_afterwards(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("ray")
    settings = {
        "FLUXIONS_STORAGE_URL": str(folder / "storage"),
        "FLUXIONS_ASR_MODEL": "tiny.en",
        "FLUXIONS_TTS_ENGINE": "espeak",
    }
    with ray_cluster(folder) as env:
        own = {name: env[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")}
        settings |= own | {"FLUXIONS_RAY_ADDRESS": env["RAY_ADDRESS"]}
        with stacks.running(folder / "home", **settings) as stack, stack.client() as client:
            answer = client.post(
                "/akro/submit",
                content=recordings.sentence(0, 1),
                params={"filename": "a.wav"},
                headers={"Content-Type": "audio/wav"},
            )
            assert answer.status_code == 200, answer.text
            assert stacks.wait_for(client, answer.json()["id"])["status"] == "completed"
            assert "ledger" in actors(env)
            stack.stop()
        assert actors(env) == "[]"
