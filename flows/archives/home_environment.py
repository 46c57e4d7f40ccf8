"""The environment of programs that work for an archive and run in HOME: gateway, Prefect and certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Final

AUTHORITY: Final = "tls/ca.pem"
"""The cluster's authority in HOME. Prefect sends its flow's settings to the tasks on other machines, whose HOME may have
another path: so those who send this path run in HOME, and name it as it is there."""


def home_environment(home: Path, url: str, prefect_api: str | None) -> dict[str, str]:
    """The variables of programs that work for an archive and run in HOME, which has the gateway at ``url``; no key."""
    return {
        "FLUXIONS_HOME": str(home),
        "FLUXIONS_URL": url,
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        **(_prefect(prefect_api, home) if prefect_api else {}),
        **_dask_certificates(home),
    }


def _prefect(api: str, home: Path) -> dict[str, str]:
    """Where this home's Prefect is, and its credentials."""
    key = home / "keys" / "prefect"
    return {
        "PREFECT_API_URL": api,
        **({"PREFECT_API_AUTH_STRING": key.read_text().strip()} if key.exists() else {}),
        **({"PREFECT_API_SSL_CERT_FILE": AUTHORITY} if api.startswith("https://") else {}),
    }


def _dask_certificates(home: Path) -> dict[str, str]:
    """Dask's own variables for the certificate of this machine; none on a machine that is in no cluster."""
    folder = home / "tls"
    if not (home / AUTHORITY).exists():
        return {}
    prefix = "DASK_DISTRIBUTED__COMM__TLS__"
    found = {f"{prefix}CA_FILE": str(home / AUTHORITY)}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        found |= {f"{prefix}{role}__CERT": str(folder / "node.pem"), f"{prefix}{role}__KEY": str(folder / "node.key")}
    return found
