"""Several hosts on this machine: network namespaces (`ip netns`) on one bridge, which can be cut off and switched off.

Needs root and the program `ip`; `why_not` says what is missing. All addresses are in 10.213.NUMBER.0/24.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.support.processes import left_running

_END_SECS = 30.0
_SECS = 20.0
"""For one call of `ip`."""


def why_not() -> str:
    """Why there can be no hosts here; empty if there can."""
    if shutil.which("ip") is None:
        return "there is no program `ip` (package iproute2)"
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    name = f"fx{secrets.token_hex(3)}"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False, timeout=_SECS)
    if tried.returncode:
        return f"network namespaces are not allowed here: {tried.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", name], check=True, timeout=_SECS)
    return ""


@dataclass(frozen=True)
class Host:
    """A host with an address and a loopback of its own; files and processes are this machine's."""

    name: str
    address: str
    cable: str

    def start(self, command: Sequence[str], **options: object) -> subprocess.Popen[bytes]:
        """A program on this host, which the caller ends."""
        return left_running(["ip", "netns", "exec", self.name, *command], **options)

    def pids(self) -> list[int]:
        """Every process on this host."""
        said = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=True, timeout=_SECS)
        return [int(pid) for pid in said.stdout.split()]

    def cut(self) -> None:
        """Pull the cable: packets are lost in both directions, and no connection is told."""
        _ip("link", "set", self.cable, "down")

    def mend(self) -> None:
        """Plug the cable in again."""
        _ip("link", "set", self.cable, "up")

    def power_off(self) -> None:
        """Cut, and kill every process."""
        self.cut()
        deadline = time.monotonic() + _END_SECS
        while pids := self.pids():
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            assert time.monotonic() < deadline, f"{self.name} has processes that do not end: {pids}"
            time.sleep(0.05)


@dataclass(frozen=True)
class Network:
    """The hosts, and this machine's own address on their bridge."""

    gateway: str
    hosts: tuple[Host, ...]


@contextmanager
def network(count: int) -> Iterator[Network]:
    """``count`` hosts that reach each other and this machine. At the end all their processes are killed."""
    tag = secrets.token_hex(3)
    subnet = f"10.213.{secrets.randbelow(250) + 1}"
    bridge = f"fb{tag}"
    with ExitStack() as stack:
        _ip("link", "add", bridge, "type", "bridge")
        stack.callback(_ip, "link", "del", bridge)
        _ip("addr", "add", f"{subnet}.254/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        hosts = []
        for number in range(1, count + 1):
            host = Host(f"fx{tag}-{number}", f"{subnet}.{number}", f"fv{tag}{number}")
            _ip("netns", "add", host.name)
            stack.callback(_ip, "netns", "del", host.name)
            stack.callback(host.power_off)
            _ip("link", "add", host.cable, "type", "veth", "peer", "name", "eth0", "netns", host.name)
            _ip("link", "set", host.cable, "master", bridge)
            _ip("link", "set", host.cable, "up")
            for device, *address in (("lo",), ("eth0", f"{host.address}/24")):
                if address:
                    _ip("-n", host.name, "addr", "add", *address, "dev", device)
                _ip("-n", host.name, "link", "set", device, "up")
            hosts.append(host)
        yield Network(f"{subnet}.254", tuple(hosts))


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=_SECS)
