"""HTTP clients for URLs of untrusted users, which connect to public addresses only (protection against SSRF).

A host name is resolved once per connection, all its addresses are checked, and the connection goes to a checked address.
Redirects open new connections, so they are checked as well. Proxies of the environment are not used, because they would
resolve names themselves.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import Any, Final

import anyio
import httpcore
import httpx

MAX_REDIRECTS: Final = 5
NO_URL: Final = (httpx.InvalidURL, UnicodeError)
"""What httpx raises for a text that is no URL, or a redirect to one. UnicodeError: a label of the host is no Punycode
(``http://xn--a/``).
"""
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_NOT_PUBLIC: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "192.0.0.0/24",  # protocol assignments (older versions of Python know only a part); metadata of a cloud
        "192.88.99.0/24",  # 6to4 relays
        "168.63.129.16/32",  # metadata of a cloud, at an address in a public range
        "fec0::/10",  # site-local, no longer in use
        "64:ff9b:1::/48",  # NAT64 of a local network
    )
)


class AddressRefused(httpx.TransportError):
    """The host has an address that is not public."""


class EncodingRefused(httpx.TransportError):
    """The response is compressed more than once, or with an encoding that can expand a few bytes to gigabytes."""


def check_encoding(answer: httpx.Response) -> None:
    """Raises EncodingRefused unless the body is uncompressed, or compressed once by gzip or deflate, which expand at most
    a thousandfold. Must be called before the body is read, because each layer is decompressed in memory, one received
    piece at a time.
    """
    encodings = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if encodings not in ("identity", "gzip", "deflate", ""):
        raise EncodingRefused("the server's answer has a Content-Encoding that is not accepted")


def is_public(address: str) -> bool:
    """Whether an IP address is public: not private, loopback, link-local, metadata, multicast or reserved.

    An IPv6 address with an IPv4 address inside (mapped, 6to4, NAT64, Teredo) is public only if both are.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = [found.ipv4_mapped, found.sixtofour, *(found.teredo or ())]
        if found in _NAT64:
            inner.append(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF))
        if any(one is not None and not is_public(str(one)) for one in inner):
            return False
    return found.is_global and not found.is_multicast and not any(found in network for network in _NOT_PUBLIC)


def client(*, allow_private: bool, timeout: httpx.Timeout) -> httpx.Client:
    """A client that raises AddressRefused instead of connecting to private addresses, unless ``allow_private``."""
    transport = httpx.HTTPTransport(trust_env=False)
    if not allow_private:
        # httpx has no option for the network backend, but httpcore, which it uses, has one.
        transport._pool = httpcore.ConnectionPool(ssl_context=httpx.create_ssl_context(), network_backend=_Judged())
    return httpx.Client(transport=transport, trust_env=False, **_common(timeout))


def async_client(*, allow_private: bool, timeout: httpx.Timeout) -> httpx.AsyncClient:
    """As `client`, for asyncio."""
    transport = httpx.AsyncHTTPTransport(trust_env=False)
    if not allow_private:
        transport._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(), network_backend=_JudgedAsync()
        )
    return httpx.AsyncClient(transport=transport, trust_env=False, **_common(timeout))


def _common(timeout: httpx.Timeout) -> dict[str, Any]:
    headers = {"Accept-Encoding": "identity"}
    return {"headers": headers, "follow_redirects": True, "max_redirects": MAX_REDIRECTS, "timeout": timeout}


def _judged(host: str, found: Iterable[tuple[Any, ...]]) -> list[str]:
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not addresses or not all(map(is_public, addresses)):
        raise AddressRefused(f"{host} is not a public internet address")
    return addresses


class _Judged(httpcore.SyncBackend):
    def connect_tcp(self, host: str, port: int, *args: Any, **options: Any) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # UnicodeError: a label that is invalid in the DNS
            raise httpcore.ConnectError(f"{host} has no address") from error
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in _judged(host, found):
            try:
                return super().connect_tcp(address, port, *args, **options)
            except httpcore.ConnectError as error:
                failure = error
        raise failure

    def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.NetworkStream:
        raise AddressRefused("a Unix socket is not a public internet address")


class _JudgedAsync(httpcore.AnyIOBackend):
    async def connect_tcp(self, host: str, port: int, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        try:
            found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # UnicodeError: a label that is invalid in the DNS
            raise httpcore.ConnectError(f"{host} has no address") from error
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in _judged(host, found):
            try:
                return await super().connect_tcp(address, port, *args, **options)
            except httpcore.ConnectError as error:
                failure = error
        raise failure

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        raise AddressRefused("a Unix socket is not a public internet address")
