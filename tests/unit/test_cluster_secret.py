"""Keys and certificates of a cluster: the same keys on all machines, certificates that they believe, and nobody else."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest

from schemas.cluster_settings import ClusterSettings
from schemas.errors import Conflict, InvalidParameter
from schemas.settings import ServerSettings, Settings, StorageSettings
from serve.supervisor.cluster_secret import ClusterSecret, NodeCertificate
from serve.supervisor.environment import environment
from serve.supervisor.instance import create
from serve.supervisor.instance_keys import prepare_keys
from serve.supervisor.joining import head_address, own_address
from serve.supervisor.programs import programs
from serve.supervisor.supervisor import _connection_limits
from tests.support.processes import free_port

pytestmark = pytest.mark.unit

SECRET = "a secret that all machines of one cluster have"


def handshake(server: NodeCertificate, client: NodeCertificate) -> str:
    """The TLS version that two machines agree on, each with its certificate. Raises ssl.SSLError."""
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(server.authority))
    ours.verify_mode = ssl.CERT_REQUIRED
    ours.load_cert_chain(server.certificate, server.key)
    theirs = ssl.create_default_context(cafile=str(client.authority))
    theirs.load_cert_chain(client.pair)
    left, right = socket.socketpair()
    left.settimeout(30)
    right.settimeout(30)
    problems: list[BaseException] = []

    def serve() -> None:
        try:
            with ours.wrap_socket(left, server_side=True) as secured:
                secured.sendall(secured.recv(5))
        except (ssl.SSLError, OSError) as error:
            problems.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with theirs.wrap_socket(right, server_hostname="10.0.0.1") as secured:
            secured.sendall(b"hello")
            assert secured.recv(5) in (b"hello", b"")
            return str(secured.version())
    finally:
        thread.join(30)
        if problems:
            raise problems[0]


def test_machines_with_one_secret_believe_each_other_and_nobody_else(tmp_path: Path) -> None:
    first = ClusterSecret(SECRET).certify(tmp_path / "first", "10.0.0.1")
    second = ClusterSecret(SECRET).certify(tmp_path / "second", "10.0.0.2")
    stranger = ClusterSecret(SECRET + "?").certify(tmp_path / "stranger", "10.0.0.1")
    assert handshake(first, second) == "TLSv1.3"
    with pytest.raises((ssl.SSLError, OSError)):
        handshake(first, stranger)
    with pytest.raises((ssl.SSLError, OSError)):
        handshake(stranger, first)
    with pytest.raises((ssl.SSLError, OSError)):
        handshake(second, first)  # it is not 10.0.0.1
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*.*")} == {0o600}


def test_keys_are_the_same_on_all_machines_and_differ_by_purpose() -> None:
    assert ClusterSecret(SECRET).key("ray") == ClusterSecret(SECRET).key("ray")
    assert ClusterSecret(SECRET).key("ray") != ClusterSecret(SECRET).key("node")


def test_a_secret_that_others_can_read_or_that_is_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cluster"
    with pytest.raises(InvalidParameter, match="no cluster secret"):
        ClusterSecret.read(path)
    path.write_text(SECRET)
    path.chmod(0o644)
    with pytest.raises(Conflict, match="other users"):
        ClusterSecret.read(path)
    path.chmod(0o600)
    assert ClusterSecret.read(path).key("x") == ClusterSecret(SECRET).key("x")
    path.write_text("short")
    with pytest.raises(InvalidParameter, match="shorter"):
        ClusterSecret.read(path)


def cluster(home: Path, **cluster: object) -> Settings:
    return Settings(
        server=ServerSettings(home=home, port=free_port()),
        storage=StorageSettings(storage_url="s3://bucket/home"),
        cluster=ClusterSettings(**cluster),  # type: ignore[arg-type]
    )


def test_a_head_and_a_machine_that_joins_have_the_same_keys(tmp_path: Path) -> None:
    head = cluster(tmp_path / "head", node_address="10.0.0.1")
    credentials = prepare_keys(head, create(head))
    secret = tmp_path / "head" / "keys" / "cluster"
    joined = cluster(tmp_path / "joined", node_address="10.0.0.2", cluster_secret_file=str(secret))
    instance = create(joined, "10.0.0.1:6380")
    assert prepare_keys(joined, instance) == credentials
    keys = {name: (tmp_path / "head" / "keys" / name).read_text() for name in ("ray", "node")}
    assert (tmp_path / "joined" / "keys" / "ray").read_text() == keys["ray"]
    assert (tmp_path / "joined" / "keys" / "node").read_text() == keys["node"]
    assert not (tmp_path / "joined" / "keys" / "operator").exists(), "a machine that joins manages no keys"
    assert instance.prefect_api == "https://10.0.0.1:6382/api"
    assert instance.ray_address == "10.0.0.1:6380"


def test_each_machine_starts_its_own_programs(tmp_path: Path) -> None:
    alone = Settings(server=ServerSettings(home=tmp_path / "alone", port=free_port()))
    assert list(programs(alone, create(alone))) == ["ray", "prefect", "serve", "worker-0", "maintenance"]
    joined = cluster(tmp_path / "joined", node_address="10.0.0.2", node_roles="gateway, worker")
    started = programs(joined, create(joined, "10.0.0.1:6380"))
    assert list(started) == ["ray", "worker-0"]
    assert "--address=10.0.0.1:6380" in started["ray"]
    assert '--resources={"fluxions_gateway": 1.0}' in started["ray"]
    external = cluster(tmp_path / "external", ray_address="10.0.0.9:6379", node_roles="gateway,engines,ledger")
    assert list(programs(external, create(external))) == ["prefect", "serve", "maintenance"]


def test_a_cluster_needs_storage_that_all_machines_reach(tmp_path: Path) -> None:
    for storage in ("", "data"):
        settings = Settings(
            server=ServerSettings(home=tmp_path, port=free_port()),
            storage=StorageSettings(storage_url=storage),
            cluster=ClusterSettings(node_address="10.0.0.1"),
        )
        with pytest.raises(InvalidParameter, match="storage that every machine reaches"):
            create(settings)


def test_addresses_of_heads() -> None:
    assert head_address("127.0.0.1", 6380) == "127.0.0.1:6380"
    assert head_address("127.0.0.1:7000", 6380) == "127.0.0.1:7000"
    assert own_address("127.0.0.1:6380") == "127.0.0.1"
    for wrong in ("no such host.", "127.0.0.1:many"):
        with pytest.raises(InvalidParameter):
            head_address(wrong, 6380)


def test_unknown_roles_are_refused() -> None:
    with pytest.raises(ValueError, match="gatewy"):
        ClusterSettings(node_roles="gatewy")


def test_the_environment_of_each_kind_of_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "theirs")
    monkeypatch.setenv("PREFECT_API_URL", "http://elsewhere/api")
    external = cluster(tmp_path / "external", ray_address="10.0.0.9:6379")
    found = environment(external, create(external))
    assert {name for name in found if name.startswith("RAY_")} >= {"RAY_AUTH_MODE", "RAY_ADDRESS"}
    assert (found["RAY_AUTH_MODE"], found["RAY_ADDRESS"]) == ("theirs", "10.0.0.9:6379")
    assert "RAY_SERVE_ENABLE_HA_PROXY" not in found  # the cluster's own environment decides
    assert found["PREFECT_API_URL"].startswith("http://127.0.0.1:")
    joined = cluster(tmp_path / "joined", node_address="10.0.0.2")
    found = environment(joined, create(joined, "10.0.0.1:6380"))
    assert (found["RAY_USE_TLS"], found["RAY_ADDRESS"]) == ("1", "10.0.0.1:6380")
    alone = Settings(server=ServerSettings(home=tmp_path / "alone", port=free_port()))
    assert "RAY_USE_TLS" not in environment(alone, create(alone))
    both = cluster(tmp_path / "both", node_address="10.0.0.2", ray_address="10.0.0.9:6379")
    with pytest.raises(InvalidParameter, match="set one of them"):
        create(both)


def test_the_proxy_of_one_machine_has_no_peers(tmp_path: Path) -> None:
    alone = Settings(server=ServerSettings(home=tmp_path / "alone", port=free_port()))
    limits = _connection_limits(alone, create(alone))
    assert (limits.listen, limits.peers) == ("", None)
    joined = cluster(tmp_path / "joined", node_address="10.0.0.2")
    limits = _connection_limits(joined, create(joined, "10.0.0.1:6380"))
    assert limits.listen == f"127.0.0.1:{joined.server.port}"
    assert limits.peers is not None
    assert (limits.peers.address, limits.peers.port) == ("10.0.0.2", 6381)
