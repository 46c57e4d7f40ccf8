"""Binds the gRPC server of a Ray Serve replica to loopback, or in a cluster to its machine's address.

Ray Serve listens on all interfaces there, and has no setting for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ray.serve._private import replica

from schemas.settings import Settings

_NAME: Final = "add_port_to_grpc_server"
"""A function that Ray's module imports for itself."""
_EVERYWHERE: Final = "[::]:"
_LOOPBACK: Final = "127.0.0.1:"


def bind_as_set(settings: Settings) -> None:
    """For the replica of this process, before it starts its server. A second call has no effect.

    It listens on the machine's address where replicas of other machines call this one.
    """
    import ray

    own: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    _bind_to(f"{own}:" if settings.cluster.has_other_machines else _LOOPBACK)


def _bind_to(host: str) -> None:
    add_port: Callable[[Any, str], int] = getattr(replica, _NAME)
    if getattr(add_port, "is_local", False):
        return

    def add_local_port(server: Any, address: str) -> int:
        return add_port(server, address.replace(_EVERYWHERE, host))

    setattr(add_local_port, "is_local", True)  # noqa: B010 - functions have no such attribute for mypy
    setattr(replica, _NAME, add_local_port)
