"""``python -m serve.supervisor.pod [SECRETS]``: prepares a pod of a Ray cluster before Ray starts in it.

It installs HAProxy's program (`serve.supervisor.haproxy`) in ``HOME/haproxy``. From the folder ``SECRETS`` it takes the
keys of the home: Kubernetes mounts secrets as files of root, and a home has only files of its own user.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Final

from lakehouse.storage.signed_urls import home_secret
from schemas.errors import InvalidParameter
from schemas.settings import Settings
from serve.built_in_keys import BUILT_IN_KEYS
from serve.supervisor import haproxy
from serve.supervisor.instance import put_key
from serve.supervisor.own_folders import own_folder

LINKS: Final = "links"
"""The secret from which the home's own secret is made: it signs links and client tokens."""
_LEAST_CHARS: Final = 20


def prepare(settings: Settings, secrets: Path | None) -> None:
    """Prepare ``settings.home``. Raises InvalidParameter for a secret that is missing or short, naming it."""
    own_folder(settings.home)
    program = settings.home / "haproxy"
    program.mkdir(exist_ok=True)
    haproxy.install(program, haproxy.connection_limits(settings.server))
    if secrets is None:
        return
    for name, _, _ in BUILT_IN_KEYS:
        put_key(settings.home, name, _secret(secrets, name))
    home_secret(settings.home, hashlib.sha256(_secret(secrets, LINKS).encode()).digest())


def _secret(folder: Path, name: str) -> str:
    path = folder / name
    value = path.read_text().strip() if path.is_file() else ""
    if len(value) < _LEAST_CHARS:
        raise InvalidParameter(f"the secret {name} is missing or has fewer than {_LEAST_CHARS} characters", param=name)
    return value


if __name__ == "__main__":
    prepare(Settings(), Path(sys.argv[1]) if sys.argv[1:] else None)
