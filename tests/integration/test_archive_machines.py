"""A Dask scheduler and a worker by the commands of an operator, on two addresses of this machine as two of a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import distributed
import pytest

from cli.main import main
from flows.archives.dask_programs import environment
from flows.archives.home_environment import AUTHORITY, home_environment
from schemas.settings import ClusterSettings, ServerSettings, Settings, StorageSettings
from serve.supervisor.instance import Instance, create
from serve.supervisor.instance_keys import prepare_keys
from tests.support.processes import free_port, started, without

pytestmark = pytest.mark.integration

START_SECS = 180.0


@pytest.fixture
def machine(tmp_path: Path) -> Callable[[str, str], Instance]:
    """Makes the home of a machine with this address; its supervisor is this process."""

    def make(name: str, address: str) -> Instance:
        home = tmp_path / name
        home.mkdir()
        settings = Settings(
            server=ServerSettings(home=home, port=free_port()),
            storage=StorageSettings(storage_url=str(tmp_path / "store")),
            cluster=ClusterSettings(node_address=address, cluster_secret_file=str(tmp_path / "secret")),
        )
        made = create(settings, "127.0.0.2:6380" if name == "joined" else "")
        made.write()
        prepare_keys(settings, made)
        return made

    return make


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Starts a command of a home; gives the file with its output."""
    with ExitStack() as stack:

        def start(here: Instance, *arguments: str) -> Path:
            out = tmp_path / f"{arguments[1]}.out"
            command = [sys.executable, "-m", "cli.main", *arguments, "--home", here.home]
            with out.open("wb") as file:
                env = without("FLUXIONS_", "PREFECT_", "DASK_")
                stack.enter_context(started(command, env=env, stdout=file, stderr=subprocess.STDOUT))
            return out

        yield start


def wait_for(text: str, out: Path) -> None:
    deadline = time.monotonic() + START_SECS
    while text not in out.read_text():
        assert time.monotonic() < deadline, out.read_text()
        time.sleep(0.1)


def seen_by_task() -> dict[str, str]:
    """What a batch finds on its machine."""
    names = ("FLUXIONS_HOME", "FLUXIONS_URL", "PREFECT_API_URL", "PREFECT_API_SSL_CERT_FILE", "PREFECT_API_AUTH_STRING")
    return {name: os.environ[name] for name in names} | {"authority": Path(AUTHORITY).read_text()}


def test_a_batch_of_one_machine_runs_on_another_with_that_machines_gateway(
    machine: Callable[[str, str], Instance], commands: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    head = machine("head", "127.0.0.2")
    joined = machine("joined", "127.0.0.3")
    port = free_port()
    address = f"tls://127.0.0.2:{port}"
    wait_for(f"scheduler at {address}", commands(head, "archive", "scheduler", "--port", str(port)))
    wait_for("Registered to:", commands(joined, "archive", "worker", address, "--workers", "1"))
    folder = Path(head.home, "tls")
    own = distributed.Security(
        tls_ca_file=str(folder / "ca.pem"),
        tls_client_cert=str(folder / "node.pem"),
        tls_client_key=str(folder / "node.key"),
        require_encryption=True,
    )
    with distributed.Client(address, security=own, timeout=START_SECS) as client:
        found = client.submit(seen_by_task).result(START_SECS)
    assert found.pop("authority") == Path(joined.home, AUTHORITY).read_text()
    expected = home_environment(Path(joined.home), joined.url, joined.prefect_api)
    assert found == {name: expected[name] for name in found}
    assert found["PREFECT_API_URL"] == "https://127.0.0.2:6382/api"
    # A batch needs no more of the machine's home than this; the key is read from there, and is not in the environment.
    assert "FLUXIONS_OPERATOR_KEY" not in environment(Path(joined.home), joined.url, joined.prefect_api)

    made = distributed.Security.temporary()
    stranger = distributed.Security(
        tls_ca_file=str(folder / "ca.pem"),
        tls_client_cert=made.tls_client_cert,
        tls_client_key=made.tls_client_key,
        require_encryption=True,
    )
    with pytest.raises(OSError, match=r"closed|Timed out"):
        distributed.Client(address, security=stranger, timeout=5)


def test_a_machine_alone_has_no_dask_of_several_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(server=ServerSettings(home=tmp_path, port=free_port()))
    create(settings).write()
    assert main(["archive", "scheduler", "--home", str(tmp_path)]) == 1
    assert "is in no cluster" in capsys.readouterr().err
