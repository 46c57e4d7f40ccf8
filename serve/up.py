"""`fluxions up`: starts Ray, the Serve application, Prefect and the workers, keeps them running, and stops them all.

Order: Ray head and Prefect server together, then the application (ledger, engines, gateway), then workers once the
gateway is ready. A child that dies is started again; when Ray dies, the application starts again with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import IO

import httpx

from schemas.errors import Conflict, FluxionsError
from schemas.settings import Settings
from serve.instance import MARKER, Instance, create, ensure_key, environment
from serve.model_store import fetch_missing
from serve.processes import Child, end_marked, wait_gone
from serve.slots import LOADING, NOT_READY, foreseen

_READY_TIMEOUT_SECS = 180.0
_FLOWS = ("worker", "maintenance")
"""Children that need a server that answers: started last, stopped first."""
_OBJECT_STORE_BYTES = 256 * 1024 * 1024


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - the supervisor speaks to the person who started it


class Supervisor:
    """Runs one instance in the foreground."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._home = settings.home
        self._stopping = False
        self._problem = ""
        """Why it is not ready, where that is known: then it is waited for, however long a model loads."""

    def run(self) -> int:
        """Blocks until stopped by SIGINT or SIGTERM. Returns the exit status.

        Raises InvalidParameter for an engine that does not exist, before anything is started. A model that cannot load
        is said, with its reason and remedy, and the rest of the platform runs: `/ready` stays 503 and repeats it.
        """
        fetch_missing(self._settings, _say)
        self._problem = "; ".join(foreseen(self._settings))
        if self._problem:
            _say(f"not ready: {self._problem}")
        self._home.mkdir(parents=True, exist_ok=True)
        with _lock(self._home):
            instance = create(self._settings)
            leftover = Instance.read(self._home)
            if leftover is not None:
                end_marked(MARKER, leftover.marker, 2.0)
            instance.write()
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._on_signal)
            self._children = self._build(instance)
            try:
                return self._supervise(instance)
            finally:
                self._stop(instance)

    def _on_signal(self, number: int, _: object) -> None:
        if not self._stopping:
            _say("stopping …")
        self._stopping = True

    def _build(self, instance: Instance) -> dict[str, Child]:
        ensure_key(self._home, "operator")
        ensure_key(self._home, "default", self._settings.auth.api_key)
        ensure_key(self._home, "ray", secrets.token_hex(32))
        Path(instance.ray_temp, "haproxy").mkdir(mode=0o700, parents=True, exist_ok=True)
        env, logs = environment(self._settings, instance), self._home / "logs"
        programs = {
            "ray": _ray_command(instance),
            "prefect": _prefect_command(instance),
            "serve": [sys.executable, "-m", "serve.deploy"],
        }
        for index in range(self._settings.jobs.workers):
            programs[f"worker-{index}"] = [sys.executable, "-m", "flows.worker"]
        if self._settings.storage.maintenance:
            programs["maintenance"] = [sys.executable, "-m", "flows.serve_maintenance"]
        # `ray start` refuses to start a head while RAY_ADDRESS names one.
        ray_env = {k: v for k, v in env.items() if k != "RAY_ADDRESS"}
        return {
            name: Child(name, argv, ray_env if name == "ray" else env, logs / f"{name}.log")
            for name, argv in programs.items()
        }

    def _supervise(self, instance: Instance) -> int:
        began = time.monotonic()
        for name in ("ray", "prefect", "serve"):
            self._children[name].start()
        ready = False
        while not self._stopping:
            self._revive(ready)
            if not ready and self._look_ready():
                ready = True
                for name, child in self._children.items():
                    if name.startswith(_FLOWS):
                        child.start()
                key = ensure_key(self._home, "default")
                secs = time.monotonic() - began
                print(f"ready  url={self._settings.server.url}  key={key}  ({secs:.0f} s)", flush=True)  # noqa: T201
            if not ready and not self._problem and time.monotonic() - began > _READY_TIMEOUT_SECS:
                _say(f"not ready after {_READY_TIMEOUT_SECS:.0f} s; the end of serve.log:")
                _say(self._children["serve"].last_words())
                return 1
            time.sleep(0.25)
        return 0

    def _revive(self, ready: bool) -> None:
        for name, child in self._children.items():
            status = child.exited()
            if status is None:
                continue
            if child.restart_at is None:
                pause = child.schedule_restart()
                _say(f"{name} ended with status {status}; starting it again in {pause:g} s (see {child.log})")
                if not ready and name == "serve":
                    _say(child.last_words())
                if name == "ray":
                    self._restart_with_ray()
            elif time.monotonic() >= child.restart_at:
                child.start()

    def _restart_with_ray(self) -> None:
        """Actors, replicas and the deployer belong to the dead cluster; they start anew on the next one."""
        _end_cluster(self._children)
        serve = self._children["serve"]
        serve.signal(signal.SIGKILL)
        wait_gone([serve], 5.0)

    def _look_ready(self) -> bool:
        """Whether the server is ready; if it tells why not, that is said, once for each reason."""
        try:
            url = f"http://{self._settings.server.host}:{self._settings.server.port}/ready"
            answer = httpx.get(url, timeout=6.0)
        except httpx.HTTPError:
            return False
        if answer.status_code == 200:
            return True
        with contextlib.suppress(ValueError, KeyError, TypeError):  # the proxy's own page: nothing listens behind it yet
            error = answer.json()["error"]
            if error["code"] == NOT_READY and error["message"] != self._problem:
                _say(f"not ready: {error['message']}")
            if error["code"] in (NOT_READY, LOADING):
                self._problem = error["message"]
        return False

    def _stop(self, instance: Instance) -> None:
        """Workers first, so that they hand their jobs back; then everything, within the time set."""
        workers = [c for n, c in self._children.items() if n.startswith(_FLOWS)]
        for child in workers:
            child.signal(signal.SIGTERM)
        wait_gone(workers, self._settings.server.stop_timeout_secs / 3)
        self._children["serve"].signal(signal.SIGTERM)
        wait_gone([self._children["serve"]], self._settings.server.stop_timeout_secs / 3)
        end_marked(MARKER, instance.marker, self._settings.server.stop_timeout_secs / 3)
        shutil.rmtree(instance.ray_temp, ignore_errors=True)
        (self._home / "instance.json").unlink(missing_ok=True)


def _end_cluster(children: dict[str, Child]) -> None:
    """End what a dead Ray head left behind: every marked process that is none of our other children's."""
    import psutil

    keep = {os.getpid()}
    for name, child in children.items():
        if name != "ray" and child.pid is not None:
            keep.add(child.pid)
            keep.update(p.pid for p in psutil.Process(child.pid).children(recursive=True))
    from serve.processes import marked

    marker = children["ray"].env[MARKER]
    for process in marked(MARKER, marker):
        if process.pid not in keep:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                pass


def _ray_command(instance: Instance) -> list[str]:
    ports = instance.ports
    options = {
        "node-ip-address": "127.0.0.1",
        "port": ports["gcs"],
        "node-manager-port": ports["node_manager"],
        "object-manager-port": ports["object_manager"],
        "dashboard-host": "127.0.0.1",
        "dashboard-port": ports["dashboard"],
        "dashboard-agent-listen-port": ports["agent_http"],
        "dashboard-agent-grpc-port": ports["agent_grpc"],
        "runtime-env-agent-port": ports["runtime_env"],
        "metrics-export-port": ports["ray_metrics"],
        "ray-client-server-port": ports["ray_client"],
        "object-store-memory": _OBJECT_STORE_BYTES,
        "temp-dir": instance.ray_temp,
        "include-dashboard": "false",
        "include-log-monitor": "false",
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    return [_program("ray"), "start", "--head", "--block", "--disable-usage-stats", *flags]


def _prefect_command(instance: Instance) -> list[str]:
    return [
        _program("prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(instance.ports["prefect"]), "--no-ui",
    ]  # fmt: skip


def _program(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _lock(home: Path) -> IO[str]:
    """Held while an instance runs in ``home``; the kernel releases it with the process."""
    lock = (home / "up.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip()
        lock.close()
        raise Conflict(f"an instance already runs in {home} (process {holder}); `fluxions down` stops it") from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def instance(home: Path) -> Instance | None:
    """The instance that runs in ``home``, or None."""
    found = Instance.read(home)
    if found is None:
        return None
    try:
        os.kill(found.pid, 0)
    except ProcessLookupError:
        return None
    return found


def run(settings: Settings) -> int:
    return Supervisor(settings).run()


def stop(home: Path) -> bool:
    """Stop the instance of ``home`` and wait until nothing of it runs. False if none did."""
    found = Instance.read(home)
    if found is None:
        return False
    running = instance(home) is not None
    if running:
        os.kill(found.pid, signal.SIGTERM)
        deadline = time.monotonic() + 30
        while instance(home) is not None:
            if time.monotonic() > deadline:
                raise FluxionsError(f"the supervisor {found.pid} does not end; see {home}/logs")
            time.sleep(0.1)
    left = end_marked(MARKER, found.marker, 5.0)
    return running or left > 0
