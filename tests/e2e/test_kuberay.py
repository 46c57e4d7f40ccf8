"""The application deployed by the Serve configuration of deploy/kuberay, as KubeRay does it, on one machine.

Ray is started with the manifest's environment and options, and the configuration is sent to Ray's REST API. Asked for by
``FLUXIONS_TEST_HOSTS=1``. Not tested here: KubeRay's operator itself, and several pods.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e import recordings
from tests.e2e import stack as stacks
from tests.e2e.test_existing_ray import ACTORS
from tests.support.processes import RUN_SECS, free_port, started, without
from tests.unit.test_kuberay import configuration, environment, groups, templates

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.environ.get("FLUXIONS_TEST_HOSTS") != "1", reason="set FLUXIONS_TEST_HOSTS=1 to run it"),
]

TOKEN = "c" * 64
START_SECS = 240.0
PORTS = ("gcs", "dashboard", "agent", "serve", "node-manager", "object-manager", "ray-client-server")


class Pod:
    """The environment, the options and the ports of the pods of the manifest, as one pod of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {name: free_port() for name in PORTS}
        home = folder / "home"
        self.env = (
            without("FLUXIONS_", "RAY_", "PREFECT_")
            | environment()
            | {
                "FLUXIONS_HOME": str(home),
                "FLUXIONS_STORAGE_URL": str(folder / "storage"),
                "FLUXIONS_PROFILE": "embedded",
                "FLUXIONS_DEVICE": "cpu",
                "FLUXIONS_ASR_MODEL": "tiny.en",
                "FLUXIONS_TTS_ENGINE": "espeak",
                "FLUXIONS_HOST": "127.0.0.1",
                "FLUXIONS_PORT": str(self.ports["serve"]),
                "FLUXIONS_PUBLIC_URL": self.url("serve"),
                "RAY_SERVE_HAPROXY_BINARY_PATH": str(home / "haproxy" / "haproxy"),
                "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
                "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
                "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
                "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
                "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
                "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
                "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
                # Ray keeps 127.0.0.1 as the address of the machine; see serve.supervisor.environment.
                "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
                "RAY_AUTH_MODE": "token",
                "RAY_AUTH_TOKEN": TOKEN,
                "RAY_ADDRESS": f"127.0.0.1:{self.ports['gcs']}",
            }
        )

    def url(self, port: str) -> str:
        return f"http://127.0.0.1:{self.ports[port]}"

    def start_command(self) -> list[str]:
        """``ray start`` by a shell, with the manifest's options, as KubeRay writes it."""
        options = dict(groups()["head"]["rayStartParams"])
        offered = json.dumps({f"fluxions_{role}": 1 for role in ("ledger", "gateway", "engines")}).replace('"', r"\"")
        options |= {"dashboard-host": "127.0.0.1", "num-cpus": "2", "resources": f'"{offered}"'}
        options |= {
            "port": str(self.ports["gcs"]),
            "dashboard-port": str(self.ports["dashboard"]),
            "dashboard-agent-listen-port": str(self.ports["agent"]),
            "node-manager-port": str(self.ports["node-manager"]),
            "object-manager-port": str(self.ports["object-manager"]),
            "ray-client-server-port": str(self.ports["ray-client-server"]),
            "node-ip-address": "127.0.0.1",
            "min-worker-port": "0",
            "max-worker-port": "0",
            "temp-dir": str(self.folder / "ray"),
        }
        flags = " ".join(f"--{name}={value}" for name, value in options.items())
        return ["/bin/bash", "-c", f"exec {Path(sys.executable).parent / 'ray'} start --head --block {flags}"]

    def actors(self) -> str:
        program = ACTORS.replace('"auto"', repr(self.env["RAY_ADDRESS"]))
        done = subprocess.run(
            [sys.executable, "-c", program], env=self.env, capture_output=True, text=True, timeout=RUN_SECS
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def answered(url: str, deadline: float, headers: Mapping[str, str] | None = None) -> httpx.Response:
    """The first answer with status 200."""
    last = ""
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(url, headers=headers, timeout=10.0, trust_env=False)
        except httpx.HTTPError as error:
            last = str(error)
        else:
            if answer.status_code == 200:
                return answer
            last = f"{answer.status_code} {answer.text[:500]}"
        time.sleep(0.5)
    raise AssertionError(f"{url}: {last}")


@contextmanager
def cluster(pod: Pod) -> Iterator[Pod]:
    secrets = pod.folder / "secret"
    secrets.mkdir()
    for name in ("operator", "admin", "node", "default", "links"):
        (secrets / name).write_text(f"fx_{name}_{'k' * 32}")
    prepare = [sys.executable, *templates()["head"]["spec"]["initContainers"][0]["command"][1:-1], str(secrets)]
    subprocess.run(prepare, env=pod.env, check=True, timeout=RUN_SECS)
    with (pod.folder / "ray.out").open("wb") as out, started(pod.start_command(), env=pod.env, stdout=out, stderr=out):
        yield pod


def send(pod: Pod, config: dict[str, Any]) -> None:
    """As KubeRay's operator sends it."""
    url, headers = f"{pod.url('dashboard')}/api/serve/applications/", {"Authorization": f"Bearer {TOKEN}"}
    without_token = httpx.put(url, json=config, timeout=60.0, trust_env=False)
    assert without_token.status_code == 401
    answer = httpx.put(url, json=config, headers=headers, timeout=60.0, trust_env=False)
    assert answer.status_code == 200, answer.text


def test_a_serve_configuration_deploys_the_platform(tmp_path_factory: pytest.TempPathFactory) -> None:
    pod = Pod(tmp_path_factory.mktemp("pod"))
    config = configuration()
    config["http_options"] |= {"host": "127.0.0.1", "port": pod.ports["serve"]}
    with ExitStack() as lives:
        lives.enter_context(cluster(pod))
        deadline = time.monotonic() + START_SECS
        # The probes of the manifest have no token.
        answered(f"{pod.url('agent')}/api/local_raylet_healthz", deadline)
        answered(f"{pod.url('dashboard')}/api/gcs_healthz", deadline)
        send(pod, config)
        answered(f"{pod.url('serve')}/ready", deadline)
        answered(f"{pod.url('serve')}/-/healthz", deadline)
        assert "'ledger', 'ledger-watch'" in pod.actors()
        worker = [sys.executable, *templates()["fluxions-worker"]["spec"]["containers"][0]["command"][1:]]
        with (pod.folder / "worker.out").open("wb") as out:
            lives.enter_context(started(worker, env=pod.env | {"FLUXIONS_URL": pod.url("serve")}, stdout=out, stderr=out))
            key = (pod.folder / "home" / "keys" / "default").read_text()
            with httpx.Client(base_url=pod.url("serve"), headers={"Authorization": key}, timeout=60.0) as client:
                answer = client.post(
                    "/akro/submit",
                    content=recordings.sentence(0, 1),
                    params={"filename": "a.wav"},
                    headers={"Content-Type": "audio/wav"},
                )
                assert answer.status_code == 200, answer.text
                assert stacks.wait_for(client, answer.json()["id"])["status"] == "completed"
