"""`fluxions up`: starts Ray, the Serve application, Prefect and the workers, keeps them running, and stops them all.

Order: Ray and Prefect's server together, then the application (ledger, engines, gateway), then workers once the gateway
is ready. A machine that joins a cluster starts only Ray and workers; the other programs run on the cluster's head. A
child that dies is started again. When Ray dies, the application is started again too. Ray is also started again if the
gateway stops answering for a minute, and Ray Serve's controller if the wall clock is stepped.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import httpx

from runtime.boot_clock import ClockSteps
from runtime.children import ServiceProcess, wait_ended
from runtime.foretold_end import foretell, forget, wait_until_finished
from runtime.log_files import rotate
from schemas.errors import FluxionsError
from schemas.settings import Settings
from serve.engines.model_download import fetch_missing
from serve.engines.status import LOADING, NOT_READY, preflight_problems
from serve.supervisor import haproxy, metrics_endpoint
from serve.supervisor.deployments import start_anew
from serve.supervisor.environment import environment, prefect_database, prefect_environment
from serve.supervisor.gateway_watch import GatewayWatch
from serve.supervisor.haproxy_peers import Peers
from serve.supervisor.home_lock import locked
from serve.supervisor.instance import MARKER, Instance, create, ensure_key, key_file
from serve.supervisor.instance_keys import prepare_keys
from serve.supervisor.marked_processes import end_marked, marked
from serve.supervisor.own_folders import own_folder
from serve.supervisor.port_owners import check_own_port
from serve.supervisor.programs import programs
from serve.supervisor.serve_controller import end_controller
from telemetry.metrics import RESTARTS

_ROTATE_EVERY_SECS = 10.0
_LEAST_STEP_SECS = 5.0
"""Ray Serve's shortest period is 10 s."""
_FLOWS = ("worker", "maintenance")
"""Prefixes of the names of programs that need the server. They are started last and stopped first."""


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - the supervisor speaks to the person who started it


class Supervisor:
    """Runs one instance in the foreground."""

    def __init__(self, settings: Settings, head: str = "") -> None:
        self._settings = settings
        self._head = head
        self._home = settings.home
        self._stopping = self._redeploying = False
        self._rotate_at = 0.0
        self._gateway = GatewayWatch(f"http://{settings.server.host}:{settings.server.port}/ready")
        self._clock = ClockSteps(_LEAST_STEP_SECS)
        self._problem = ""
        """The reason why the server is not ready, if it is known. While a reason is known, the time to become ready is
        not limited.
        """

    def run(self) -> int:
        """Blocks until stopped by SIGINT or SIGTERM. Returns the exit status.

        Raises InvalidParameter for an engine that does not exist, before anything is started. If a model cannot be
        loaded, the reason and the remedy are printed, and `/ready` answers 503 with both. The other parts run.
        """
        os.umask(0o077)  # inherited by every process of the instance: only this user can read the files that they write
        own_folder(self._home)
        fetch_missing(self._settings, _say)
        # On a machine that joins, the engines come from the head, whose settings may differ.
        self._problem = "" if self._head else "; ".join(preflight_problems(self._settings))
        if self._problem:
            _say(f"not ready: {self._problem}")
        with locked(self._home):
            instance = create(self._settings, self._head)
            leftover = Instance.read(self._home)
            if leftover is not None:
                end_marked(MARKER, leftover.marker, 2.0)
            forget(self._home)
            instance.write()
            metrics_endpoint.start(self._settings, instance)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._on_signal)
            signal.signal(signal.SIGHUP, self._on_hangup)
            self._children = self._build(instance)
            try:
                return self._supervise(instance)
            finally:
                self._stop(instance)

    def _on_signal(self, number: int, _: object) -> None:
        # Says nothing: a print that was interrupted by the signal would fail.
        self._stopping = True

    def _on_hangup(self, number: int, _: object) -> None:
        self._redeploying = True

    def _build(self, instance: Instance) -> dict[str, ServiceProcess]:
        prefect_key = prepare_keys(self._settings, instance)
        own_folder(Path(instance.ray_temp).parent, made_by_us=True)
        proxy = Path(instance.ray_temp, "haproxy")
        proxy.mkdir(parents=True, exist_ok=True)
        haproxy.install(proxy, _connection_limits(self._settings, instance))
        env, logs = environment(self._settings, instance), self._home / "logs"
        with_prefect = {**env, **prefect_environment(instance, prefect_key)}
        own = {
            # `ray start` refuses to start a head while RAY_ADDRESS names one.
            "ray": {k: v for k, v in env.items() if k != "RAY_ADDRESS"},
            "serve": env,
            "prefect": with_prefect | prefect_database(self._settings),
        }
        found = programs(self._settings, instance)
        for name in found:
            RESTARTS.labels(_kind(name))  # From 0, because an alert sees no increase in a series that begins at 1.
        return {
            name: ServiceProcess(name, argv, own.get(name, with_prefect), logs / f"{name}.log", _folder(name, self._home))
            for name, argv in found.items()
        }

    def _supervise(self, instance: Instance) -> int:
        began = time.monotonic()
        for name, child in self._children.items():
            if not name.startswith(_FLOWS):
                child.start()
        main = self._children["ray" if instance.joined else "serve"]
        ready = False
        while not self._stopping:
            self._revive(ready)
            self._rotate_logs()
            if stepped_secs := self._clock.look():
                _say(f"the wall clock was stepped by {stepped_secs:+.0f} s; Ray Serve's controller starts again")
                end_controller(instance)
            if ready and self._redeploying:
                self._redeploy()
            if ready and self._gateway.lost():
                _say(f"the gateway does not answer; starting again (see {main.log})")
                self._children["serve" if instance.external else "ray"].signal(signal.SIGKILL)
            if not ready and self._check_ready():
                # From here on keys are sent to these ports, which another user may have taken.
                check_own_port(self._settings.server.port)
                if not instance.joined:
                    check_own_port(instance.ports["prefect"])
                ready = True
                for name, child in self._children.items():
                    if name.startswith(_FLOWS):
                        child.start()
                secs = time.monotonic() - began
                print(f"ready  url={self._settings.server.url}  {self._about(instance)}  ({secs:.0f} s)", flush=True)  # noqa: T201
            if not ready and not self._problem and time.monotonic() - began > self._settings.server.ready_secs:
                _say(f"not ready after {self._settings.server.ready_secs:.0f} s; the end of {main.log.name}:")
                _say(main.last_lines())
                return 1
            time.sleep(0.25)
        return 0

    def _about(self, instance: Instance) -> str:
        """What a person needs besides the address. Where output is logged, the key must not be in it."""
        if instance.joined:
            return f"head={instance.head}"
        key = ensure_key(self._home, "default")
        return f"key={key}" if self._settings.server.show_key else f"key-file={key_file(self._home, 'default')}"

    def _revive(self, ready: bool) -> None:
        for name, child in self._children.items():
            status = child.exited()
            if status is None:
                continue
            if child.restart_at is None:
                pause = child.schedule_restart()
                RESTARTS.labels(_kind(name)).inc()
                _say(f"{name} ended with status {status}; starting it again in {pause:g} s (see {child.log})")
                if not ready and name == "serve":
                    _say(child.last_lines())
                if name == "ray":
                    self._restart_with_ray()
            elif time.monotonic() >= child.restart_at:
                child.start()

    def _rotate_logs(self) -> None:
        if time.monotonic() < self._rotate_at:
            return
        self._rotate_at = time.monotonic() + _ROTATE_EVERY_SECS
        server = self._settings.server
        for child in self._children.values():
            try:
                rotate(child.log, server.log_mib * 1024 * 1024, server.logs_kept)
            except OSError as error:
                _say(f"{child.log} cannot be rotated: {error.strerror}")

    def _redeploy(self) -> None:
        """Start a new ledger, new replicas and new workers.

        Ray ends old replicas once they have finished their requests.
        """
        self._redeploying = False
        if (serve := self._children.get("serve")) is None:
            return  # In a cluster, the head deploys.
        _say(f"deploying anew (see {serve.log})")
        start_anew(serve)
        for name, child in self._children.items():
            if name.startswith(_FLOWS):
                child.signal(signal.SIGTERM)  # The worker releases its jobs and ends; then it is started again.

    def _restart_with_ray(self) -> None:
        """End the actors, replicas and the deployer of the dead cluster; they start again on the next one."""
        self._gateway.restarted()
        _end_cluster(self._children)
        if (serve := self._children.get("serve")) is not None:
            serve.signal(signal.SIGKILL)
            wait_ended([serve], 5.0)

    def _check_ready(self) -> bool:
        """Whether the server is ready. Prints each reason why it is not, once."""
        try:
            answer = httpx.get(self._gateway.url, timeout=6.0, trust_env=False)
        except httpx.HTTPError:
            return False
        if answer.status_code == 200:
            return True
        # An answer in another form is the proxy's own page: no gateway listens yet.
        with contextlib.suppress(ValueError, KeyError, TypeError):
            error = answer.json()["error"]
            if error["code"] == NOT_READY and error["message"] != self._problem:
                _say(f"not ready: {error['message']}")
            if error["code"] in (NOT_READY, LOADING):
                self._problem = error["message"]
        return False

    def _stop(self, instance: Instance) -> None:
        """Stop the workers first, so that they release their jobs, and let sessions end; then stop everything, within the
        configured time."""
        _say("stopping …")
        foretell(self._home)
        share_secs = self._settings.server.stop_timeout_secs / 3
        began = time.monotonic()
        workers = [c for n, c in self._children.items() if n.startswith(_FLOWS)]
        for child in workers:
            child.signal(signal.SIGTERM)
        wait_ended(workers, share_secs)
        wait_until_finished(self._home, max(0.0, began + share_secs - time.monotonic()))
        if (serve := self._children.get("serve")) is not None:
            serve.signal(signal.SIGTERM)
            wait_ended([serve], share_secs)
        elif self._children["ray"].exited() is None:
            _leave(self._children["ray"], instance, self._settings.server.stop_timeout_secs)
        end_marked(MARKER, instance.marker, share_secs)
        shutil.rmtree(instance.ray_temp, ignore_errors=True)
        (self._home / "instance.json").unlink(missing_ok=True)


def _end_cluster(children: dict[str, ServiceProcess]) -> None:
    """End the processes that a dead Ray head left: every marked process that belongs to none of our other programs."""
    import psutil

    keep = {os.getpid()}
    for name, child in children.items():
        if name != "ray" and child.pid is not None:
            keep.add(child.pid)
            keep.update(p.pid for p in psutil.Process(child.pid).children(recursive=True))
    marker = children["ray"].env[MARKER]
    for process in marked(MARKER, marker):
        if process.pid not in keep:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                pass


def _leave(ray: ServiceProcess, instance: Instance, secs: float) -> None:
    """Have Ray move the actors of this machine to other machines before it leaves the cluster. Takes at most ``secs``."""
    env, log = {**ray.env, "RAY_ADDRESS": instance.ray_address}, Path(instance.home, "logs", "leave.log")
    leaving = ServiceProcess("leave", [sys.executable, "-m", "serve.leave"], env, log)
    leaving.start()
    wait_ended([leaving], secs)
    leaving.signal(signal.SIGKILL)


def _kind(name: str) -> str:
    """A program as metrics name it: all workers are ``worker``."""
    return name.partition("-")[0]


def _folder(name: str, home: Path) -> Path | None:
    """Where a program runs. Prefect reads settings from files of its folder, so those with Prefect run in HOME. The others
    run where the command was started, because settings may name models by paths that are relative to it.
    """
    return home if name == "prefect" or name.startswith(_FLOWS) else None


def _connection_limits(settings: Settings, instance: Instance) -> haproxy.ConnectionLimits:
    limits, server = haproxy.connection_limits(settings.server), settings.server
    if not instance.in_cluster:
        return limits
    return replace(limits, listen=f"{server.host}:{server.port}", peers=_peers(instance))


def _peers(instance: Instance) -> Peers:
    tls = instance.tls_folder
    return Peers(instance.address, instance.ports["peers"], str(tls / "ca.pem"), str(tls / "pair.pem"))


def instance(home: Path) -> Instance | None:
    """The instance that runs in ``home``, or None."""
    found = Instance.read(home)
    return found if found is not None and found.is_running else None


def run(settings: Settings, head: str = "") -> int:
    """Run an instance in the foreground, as part of the cluster at ``head`` if that is given; returns the exit status."""
    return Supervisor(settings, head).run()


def stop(home: Path) -> bool:
    """Stop the instance of ``home`` and wait until none of its processes runs. False if none ran."""
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
