"""What other users of the machine, and the folder of the command, can do to `fluxions up` and its programs."""

from __future__ import annotations

import http.server
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import ray

from clients.public import Target
from flows.archives.launcher import ArchiveProcess
from flows.archives.protocol import ArchiveRequest
from runtime.children import ROOT
from schemas.errors import Conflict, InvalidParameter
from schemas.settings import ServerSettings, Settings
from serve import deploy
from serve.supervisor import haproxy, port_owners, supervisor
from serve.supervisor.environment import environment
from serve.supervisor.instance import Instance, create, ensure_key, key_file, put_key
from serve.supervisor.port_owners import check_own_port
from serve.supervisor.supervisor import Supervisor
from telemetry import scrape
from telemetry.scrape import InstanceMetrics, serve_metrics
from tests.support.processes import free_port
from tests.support.proxied import LIMITS

pytestmark = pytest.mark.security

linux = pytest.mark.skipif(sys.platform != "linux", reason="the rules of ports are Linux's")
SECS = 60.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(server=ServerSettings(home=tmp_path / "home", port=free_port()))


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A folder whose modules hide ours and those of our dependencies."""
    folder = tmp_path / "downloads"
    (folder / "serve").mkdir(parents=True)
    for name in ("serve/__init__.py", "uvicorn.py", "starlette.py"):
        (folder / name).write_text("print('PLANTED')\n")
    return folder


def test_programs_import_no_module_of_the_folder_that_up_was_started_in(settings: Settings, planted: Path) -> None:
    env = environment(settings, create(settings))
    env.pop("PREFECT_SERVER_API_AUTH_STRING", None)
    command = [sys.executable, "-m", "serve.supervisor.prefect_server", "1"]
    run = subprocess.run(command, cwd=planted, env=env, capture_output=True, text=True, timeout=240, check=False)
    assert "PLANTED" not in run.stdout
    assert "PREFECT_SERVER_API_AUTH_STRING is not set" in run.stderr, "it did not get as far as its own check"


def test_ray_s_workers_get_no_module_of_that_folder(
    settings: Settings, planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []
    monkeypatch.setattr(ray, "init", lambda **_: seen.append(Path.cwd()))
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_port()}")
    monkeypatch.chdir(planted)
    deploy.connect()
    assert seen == [ROOT]
    assert Path.cwd() == planted


def test_prefect_s_settings_are_not_read_from_that_folder(
    settings: Settings, planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(planted)
    instance = create(settings)
    children = Supervisor(settings)._build(instance)
    with_prefect = {name: child.folder for name, child in children.items() if "PREFECT_API_AUTH_STRING" in child.env}
    assert with_prefect.keys() >= {"prefect", "worker-0", "maintenance"}
    assert set(with_prefect.values()) == {settings.home}


def test_an_archive_s_program_does_not_run_among_its_recordings(
    settings: Settings, planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(planted)
    settings.home.mkdir()
    request = ArchiveRequest(source=".")
    with ArchiveProcess("dry-run", request, Target("http://127.0.0.1:1", "fx_key"), settings.home, None) as process:
        assert Path(psutil.Process(process.pid).cwd()) == settings.home
        assert process._request.source == str(planted)


@linux
def test_ray_s_token_goes_to_no_port_of_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    check_own_port(port)
    with socket.create_server(("127.0.0.1", port)):
        check_own_port(port)
        monkeypatch.setattr(port_owners.os, "geteuid", lambda: 12_345)  # to whom the listener is another user's
        with pytest.raises(Conflict, match=f"port {port} of this instance was taken"):
            check_own_port(port)
        monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("the token was sent"))
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        with pytest.raises(Conflict):
            deploy.connect()


def test_a_key_file_is_whole_own_and_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: ensure_key(tmp_path, "default"), range(16)))) == 1
    path = key_file(tmp_path, "default")
    assert [one.name for one in path.parent.iterdir()] == ["default"], "a file that was begun is left"
    path.chmod(0o644)
    key = ensure_key(tmp_path, "default")
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("")  # as a full disk or a power failure may leave it
    assert ensure_key(tmp_path, "default") not in ("", key)
    assert put_key(tmp_path, "node", "fx_given") == path.with_name("node").read_text() == "fx_given"
    assert path.with_name("node").stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(os, "geteuid", lambda: 12_345)  # to whom the file is another user's, unless that is root
    if path.stat().st_uid == 0:
        os.chown(path, 65_534, 65_534)
    with pytest.raises(Conflict, match="belongs to another user"):
        ensure_key(tmp_path, "default")


def test_the_ready_line_is_without_the_key_where_it_would_be_logged(settings: Settings) -> None:
    key, instance = ensure_key(settings.home, "default"), create(settings)
    assert Supervisor(settings)._about(instance) == f"key={key}"
    server = settings.server.model_copy(update={"show_key": False})
    about = Supervisor(settings.model_copy(update={"server": server}))._about(instance)
    assert about == f"key-file={settings.home}/keys/default"


def test_what_is_downloaded_first_is_already_this_user_s_alone(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []

    def download(*_: object) -> None:
        (found := settings.home / "model").write_text("weights")
        modes.extend(path.stat().st_mode & 0o777 for path in (settings.home, found))
        raise Conflict("enough")

    monkeypatch.setattr(supervisor, "fetch_missing", download)
    before = os.umask(0o022)
    try:
        with pytest.raises(Conflict, match="enough"):
            Supervisor(settings).run()
    finally:
        os.umask(before)
    assert modes == [0o700, 0o600]


@contextmanager
def ready_gateway(port: int) -> Iterator[None]:
    class Ready(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Ready) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield
        server.shutdown()
        thread.join(SECS)


def test_a_proxy_of_the_environment_is_not_asked_whether_the_gateway_is_ready(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with ready_gateway(settings.server.port):
        assert Supervisor(settings)._check_ready()


def test_a_signal_that_comes_while_something_is_printed_stops_it_all_the_same(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Supervisor(settings)
    found._on_signal(signal.SIGTERM, None)
    assert found._stopping
    assert capsys.readouterr() == ("", ""), "a print in a handler fails if it interrupts another one"


def test_silent_connections_to_the_metrics_leave_the_supervisor_its_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrape._Handler, "timeout", 10.0)
    before, port = threading.active_count(), free_port()
    server = serve_metrics("127.0.0.1", port, InstanceMetrics(tmp_path, lambda: {"fluxions_up": {(): 1.0}}))
    try:
        with ExitStack() as held:
            silent = [held.enter_context(socket.create_connection(("127.0.0.1", port), SECS)) for _ in range(60)]
            for one in silent[16:]:
                assert one.recv(1) == b"", "more connections than it has threads for are not closed"
            assert select.select(silent[:16], [], [], 0)[0] == [], (
                "they are closed only when they have been silent for long"
            )
            assert threading.active_count() <= before + 17
            for one in silent[:16]:
                assert one.recv(1) == b"", "a connection without a request stays open"
        assert "fluxions_up 1.0" in httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, timeout=SECS).text
    finally:
        server.shutdown()
        server.server_close()


def test_the_proxy_s_program_runs_nothing_that_a_path_says(tmp_path: Path) -> None:
    folder = tmp_path / 'a "quoted" $(touch evil) `touch evil` folder'
    folder.mkdir()
    program = haproxy.install(folder, LIMITS)
    run = subprocess.run([program, "-v"], cwd=tmp_path, capture_output=True, text=True, timeout=SECS, check=True)
    assert "HAProxy version" in run.stdout
    assert not (tmp_path / "evil").exists()


def test_ray_s_folder_is_not_one_that_others_can_enter(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    parent = tmp_path / f"fx-{os.getuid()}"
    parent.mkdir()
    parent.chmod(0o777)
    with pytest.raises(Conflict, match="open to other users"):
        Supervisor(settings)._build(create(settings))
    parent.chmod(0o700)
    Supervisor(settings)._build(instance := create(settings))
    assert Path(instance.ray_temp).parent == parent


def test_ray_asks_for_a_token_and_stays_on_loopback(settings: Settings) -> None:
    env = environment(settings, create(settings))
    assert (env["RAY_AUTH_MODE"], env["RAY_AUTH_TOKEN_PATH"]) == ("token", f"{settings.home}/keys/ray")
    assert env["RAY_ADDRESS"].startswith("127.0.0.1:")
    assert env["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"  # without it Ray's nodes listen on all interfaces


def test_an_address_that_others_reach_is_taken_only_if_it_is_meant(settings: Settings) -> None:
    for name in ("host", "metrics_host"):
        server = settings.server.model_copy(update={name: "0.0.0.0"})
        with pytest.raises(InvalidParameter, match="FLUXIONS_ALLOW_PUBLIC"):
            create(settings.model_copy(update={"server": server}))


def test_the_instance_file_is_this_user_s_alone(settings: Settings) -> None:
    settings.home.mkdir()
    before = os.umask(0o077)
    try:
        create(settings).write()
    finally:
        os.umask(before)
    assert (settings.home / "instance.json").stat().st_mode & 0o077 == 0
    assert Instance.read(settings.home) is not None
