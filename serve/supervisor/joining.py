"""Addresses of a cluster's head, and of a machine that joins it."""

from __future__ import annotations

import socket
from typing import Final

from schemas.errors import InvalidParameter

_ANY_PORT: Final = 9


def head_address(given: str, port: int) -> str:
    """``HOST:PORT`` of a head, with its IPv4 address, from a HOST or HOST:PORT. Raises InvalidParameter."""
    host, colon, number = given.rpartition(":")
    if not colon:
        host, number = given, str(port)
    try:
        return f"{socket.getaddrinfo(host, int(number), socket.AF_INET)[0][4][0]}:{int(number)}"
    except (OSError, ValueError):
        raise InvalidParameter(f"{given!r} is no address of a machine; give HOST or HOST:PORT", param="HEAD") from None


def own_address(head: str) -> str:
    """This machine's source address for connections to ``head``. Raises InvalidParameter if there is no route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((head.rpartition(":")[0], _ANY_PORT))  # a datagram socket: nothing is sent
        except OSError as error:
            raise InvalidParameter(f"there is no route to {head} ({error.strerror})", param="HEAD") from None
        return str(probe.getsockname()[0])
