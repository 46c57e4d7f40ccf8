"""Attacks from this machine and from the network on the whole running platform."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import httpx
import psutil
import pytest

from audio.decoding import confinement
from serve.supervisor.instance import MARKER, Instance
from serve.supervisor.marked_processes import marked
from tests.e2e.stack import Stack
from tests.support.processes import ROOT, without

pytestmark = pytest.mark.e2e


@pytest.fixture
def instance(stack: Stack) -> Instance:
    found = Instance.read(stack.home)
    assert found is not None
    return found


def test_nothing_of_it_is_open_to_other_users(stack: Stack, instance: Instance) -> None:
    parent = Path(tempfile.gettempdir()) / f"fx-{os.getuid()}"
    for folder in (stack.home, parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
    assert Path(instance.ray_temp).parent == parent
    for key in (stack.home / "keys").iterdir():
        assert stat.S_IMODE(key.stat().st_mode) == 0o600, key
    open_files = [
        path
        for path in (stack.home / "data").rglob("*")
        if not path.is_symlink() and path.stat().st_mode & 0o077 and path.is_file()
    ]
    assert not open_files


def listening(instance: Instance) -> dict[int, set[str]]:
    """Addresses by port on which processes of the instance listen for TCP."""
    found: dict[int, set[str]] = {}
    for process in marked(MARKER, instance.marker):
        try:
            connections = process.net_connections(kind="tcp")
        except psutil.Error:
            continue
        for one in connections:
            if one.status == psutil.CONN_LISTEN:
                found.setdefault(one.laddr.port, set()).add(one.laddr.ip.removeprefix("::ffff:"))
    return found


def test_every_port_is_this_machine_s_alone(stack: Stack, instance: Instance) -> None:
    ports = listening(instance)
    assert {stack.port, *(instance.ports[name] for name in ("gcs", "prefect", "haproxy_stats"))} <= set(ports)
    assert {port: ips for port, ips in ports.items() if ips != {"127.0.0.1"}} == {}


def test_the_doctor_finds_nothing_on_a_fresh_home(stack: Stack) -> None:
    command = [sys.executable, "-m", "cli.main", "doctor", "--security", "--json"]
    env = {**without("FLUXIONS_", "RAY_"), "FLUXIONS_HOME": str(stack.home), "FLUXIONS_PORT": str(stack.port)}
    run = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    assert b"exposure" in run.stdout
    expected = {"ok"} if not confinement.missing() else {"ok", "warn"}
    assert {one["verdict"] for one in json.loads(run.stdout)["checks"]} == expected, run.stdout


def test_no_other_local_port_serves_a_stranger(stack: Stack, instance: Instance) -> None:
    """Over HTTP and gRPC, without a key or token. Metrics, which are numbers without names, are open to this machine."""
    named = ("metrics", "haproxy_metrics", "haproxy_stats", "ray_metrics", "autoscaler_metrics", "dashboard_metrics")
    metrics = {instance.ports[name] for name in named}
    served, called = [], []
    for port in sorted(listening(instance).keys() - metrics - {stack.port}):
        for path in ("/", "/api/version", "/api/jobs/", "/logs", "/metrics", "/transcriptions"):
            try:
                response = httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False, timeout=2)
            except httpx.HTTPError:
                continue
            if response.status_code < 400 and response.content:
                served.append((port, path, response.text[:100]))
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            for method in ("/ray.serve.ASGIService/HandleRequest", "/ray.rpc.JobInfoGcsService/GetAllJobInfo"):
                call = channel.unary_unary(method)
                try:
                    called.append((port, method, call(b"", timeout=1)))
                except grpc.RpcError:
                    continue
    assert not called
    assert not served


def test_prefect_serves_its_own_clients_alone(instance: Instance) -> None:
    with httpx.Client(base_url=instance.prefect_api, trust_env=False) as stranger:
        for path in ("/deployments/filter", "/flow_runs/filter", "/block_documents/filter", "/variables/filter"):
            assert stranger.post(path, json={}).status_code == 401
        step = [{"prefect.deployments.steps.run_shell_script": {"script": "touch /tmp/owned"}}]
        assert stranger.patch(f"/deployments/{uuid.uuid4()}", json={"pull_steps": step}).status_code == 401
        assert stranger.get("/health", headers={"Host": "evil.example"}).status_code == 400
        page = {"Origin": "http://evil.example", "Access-Control-Request-Method": "PATCH"}
        assert "access-control-allow-origin" not in stranger.options("/deployments/filter", headers=page).headers


def test_a_body_without_a_key_is_not_read(stack: Stack) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 64 * 1024 * 1024:
            sent += 65_536
            yield bytes(65_536)

    with httpx.Client(base_url=stack.url, trust_env=False, timeout=60) as stranger:
        for path in ("/operator/keys", "/submit", "/operator/events", "/vui/v1/voices/delete"):
            response = stranger.post(path, content=endless(), headers={"Content-Type": "application/json"})
            assert response.status_code == 401


def test_sql_reads_no_file(stack: Stack) -> None:
    with stack.client(stack.key("operator")) as operator:
        for reads in ("`read_csv`('/etc/passwd')", "read_csv($$/etc/passwd$$)", "read_csv('http://127.0.0.1:1/')"):
            where = f"id in (select cast(root as bigint) from {reads})"
            response = operator.post("/operator/archives/select", json={"where": where})
            assert response.status_code == 422
            assert "root:" not in response.text


def test_who_says_to_come_from_elsewhere_is_counted_where_he_is(stack: Stack) -> None:
    def asked(source: str, claimed: str) -> int:
        transport = httpx.HTTPTransport(local_address=source)
        ask = {"voice": "maeve.h736bab09a", "input": "word " * 19_000, "stream": True, "verify_chunks": False}
        with httpx.Client(transport=transport, trust_env=False, timeout=60) as client:
            headers = {"X-Forwarded-For": claimed}
            with client.stream("POST", f"{stack.url}/vui/v1/tts", json=ask, headers=headers) as response:
                return response.status_code  # and hangs up

    answers = [asked("127.0.0.77", f"203.0.113.{number}") for number in range(4)]
    assert answers[0] == 200
    assert answers[-1] == 429
    assert asked("127.0.0.78", "203.0.113.9") == 200


def test_silent_connections_end_and_keep_no_other_client_out(stack: Stack) -> None:
    began = time.monotonic()
    with ExitStack() as held:
        silent = [
            held.enter_context(
                socket.create_connection(("127.0.0.1", stack.port), source_address=(f"127.0.1.{n % 8 + 1}", 0))
            )
            for n in range(600)
        ]
        for one in silent[::2]:
            one.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n")  # and no end
        with stack.client() as client:
            assert client.get("/health").status_code == 200
        for one in silent:
            one.settimeout(30)
            try:
                while one.recv(4096):
                    pass
            except ConnectionResetError:
                pass
    assert time.monotonic() - began < 30
