"""The checks of `fluxions doctor --security`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from audio.decoding.confinement import missing
from cli.doctor import Finding, exposure
from schemas.settings import Settings
from serve.supervisor.own_folders import open_to_others


def examine_security(settings: Settings) -> list[Finding]:
    """All checks, in the order they are printed."""
    return [finding for check in _CHECKS for finding in check(settings)]


def decoder(_: Settings) -> Iterator[Finding]:
    """Whether decoders of untrusted files are confined."""
    lacking = missing()
    if lacking:
        yield Finding("warn", "decoder", f"{'; '.join(lacking)}. Accept recordings only from people you trust")
    else:
        yield Finding("ok", "decoder", "decoders can open no file and no connection, and start no program")


def private_files(settings: Settings) -> Iterator[Finding]:
    """Whether only this user can read the home, its keys and its temporary files."""
    home = settings.home
    keys = sorted(path for path in (home / "keys").glob("*") if path.is_file())
    temporary = Path(tempfile.gettempdir()) / f"fx-{os.getuid()}"
    wrong = [path for path in (home, *keys, temporary) if path.exists() and open_to_others(path)]
    for path in wrong:
        mode = "700" if path.is_dir() else "600"
        yield Finding("fail", "files", f"others may read {path}; chown it to yourself, and: chmod {mode} {path}")
    if not wrong:
        yield Finding("ok", "files", f"{home} and its {len(keys)} keys are accessible to this user only")


def address(settings: Settings) -> Iterator[Finding]:
    """Whether other machines can reach the gateway, and only with TLS."""
    server = settings.server
    if server.is_loopback() and not server.public_url:
        yield Finding("ok", "address", f"{server.host}: only this machine can reach the gateway")
    elif server.is_loopback():
        yield Finding("ok", "address", f"a proxy on this machine brings requests for {server.url}")
    elif server.url.startswith("https://"):
        yield Finding("ok", "address", f"{server.host}: others reach it by {server.url}")
    else:
        yield Finding(
            "warn", "address", f"others reach {server.host} unencrypted; put TLS in front (docs/hardening.md) and set "
            "FLUXIONS_PUBLIC_URL"
        )  # fmt: skip
    if not server.is_loopback() and not server.proxies:
        yield Finding("ok", "proxies", "no proxy is trusted: limits count the addresses that connect")


def weakened_settings(settings: Settings) -> Iterator[Finding]:
    """Settings that weaken the default protections."""
    opened = [
        (settings.limits.fetch_private, "FLUXIONS_FETCH_PRIVATE", "URLs may name addresses of your own networks"),
        (settings.limits.manifest_anywhere, "FLUXIONS_MANIFEST_ANYWHERE", "manifests may name any file of this machine"),
        (
            settings.webhooks.webhook_private_addresses,
            "FLUXIONS_WEBHOOK_PRIVATE_ADDRESSES",
            "webhooks may be sent to addresses of your own networks",
        ),
        (
            settings.auth.jwt_local_accounts,
            "FLUXIONS_JWT_LOCAL_ACCOUNTS",
            "whoever chooses names at the identity provider may act for accounts of this server",
        ),
        (
            "*" in settings.auth.cors_origin_list,
            "FLUXIONS_CORS_ORIGINS",
            "every web page may use the API, with its users' keys",
        ),
    ]
    for is_open, name, what in opened:
        if is_open:
            yield Finding("warn", "settings", f"{name}: {what}")
    if not any(is_open for is_open, _, _ in opened):
        yield Finding("ok", "settings", "every protection is as strict as by default")


_CHECKS: tuple[Callable[[Settings], Iterable[Finding]], ...] = (
    decoder,
    private_files,
    address,
    weakened_settings,
    exposure,
)
