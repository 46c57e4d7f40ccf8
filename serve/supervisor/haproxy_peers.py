"""The gateways of other machines in HAProxy's configuration, used over TLS while this machine has no gateway.

Ray lists the replicas of all machines, but replicas listen only on loopback. So the replicas of another machine are
replaced by the HAProxy of that machine. It accepts requests from machines with a certificate of the cluster, and only its
own replicas answer them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SERVER = re.compile(r"^    server (\S+) (\S+):(\d+) (check.*)$")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Peers:
    """The connection between the HAProxies of machines: ``address`` of this machine, ``port`` on all machines, and PEM
    files.
    """

    address: str
    port: int
    authority: str
    pair: str


def with_peers(config: str, peers: Peers) -> str:
    """``config`` with peers in place of other machines' replicas, and with a frontend for peers.

    Raises ValueError for a configuration without a backend.
    """
    head, *sections = re.split(r"^(?=(?:backend|frontend|listen) )", config, flags=re.MULTILINE)
    found, own = [], []
    for section in sections:
        if not re.search(r"^    server ", section, flags=re.MULTILINE):
            found.append(section)
            continue
        lines = section.splitlines()
        here = [line for line in lines if not (server := _SERVER.match(line)) or server[2] in _LOOPBACK]
        others = {server[2] for line in lines if (server := _SERVER.match(line)) and server[2] not in _LOOPBACK}
        found.append("\n".join([*here, *_peer_servers(sorted(others), peers)]) + "\n")
        name = lines[0].removeprefix("backend ").strip()
        own.append((name, "\n".join([f"backend {name}-here", *here[1:]]) + "\n"))
    if not sections:
        raise ValueError("HAProxy's configuration has no backend")
    routes = [f"    default_backend {own[0][0]}-here"] if own else ["    http-request return status 503"]
    frontend = [
        "frontend peers",
        f"    bind {peers.address}:{peers.port} ssl crt {peers.pair} ca-file {peers.authority} verify required",
        *routes,
    ]
    return "".join([head, "\n".join(frontend) + "\n", *found, *(text for _, text in own)])


def _peer_servers(hosts: list[str], peers: Peers) -> list[str]:
    secured = f"ssl crt {peers.pair} ca-file {peers.authority} verify required"
    checked = "check backup observe layer4 error-limit 3 on-error mark-down"
    servers = [f"    server peer-{number} {host}:{peers.port} {secured} {checked}" for number, host in enumerate(hosts)]
    return ["    option allbackups", *servers] if servers else []
