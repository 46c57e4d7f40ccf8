"""Links to objects that open without a key, for a while.

A store that signs does it itself. For a local folder the link is ours: HMAC-SHA256 over method, path, expiry and file name,
with a secret that never leaves the home. The gateway serves such links on GET and HEAD.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
import uuid
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, urlencode

from lakehouse.durable import fsync_path
from lakehouse.objects import Objects, checked

PATH_PREFIX = "/objects/"
SECRET_BYTES = 32


def home_secret(home: Path) -> bytes:
    """The home's secret, made at first use with mode 0600; safe when several processes come first at once."""
    path = home / "secret"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        fresh = home / f".secret-{uuid.uuid4().hex}"
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(secrets.token_bytes(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            # A hard link appears whole or not at all, and loses to one that is already there.
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
        fsync_path(home)
    return path.read_bytes()


class Signer:
    """Makes links to ``objects`` and checks those it made."""

    def __init__(self, objects: Objects, secret: bytes) -> None:
        self._objects = objects
        self._secret = secret

    async def sign(self, key: str, filename: str, expires_in: float) -> str:
        """A link to GET ``key`` for ``expires_in`` seconds.

        An absolute URL where the store signs, else path and query for the gateway; there ``filename`` is what a browser
        saves it as.
        """
        if self._objects.signs:
            return await self._objects.sign(key, timedelta(seconds=expires_in))
        path = PATH_PREFIX + quote(checked(key))
        expires = int(time.time() + expires_in)
        query = {"expires": expires, "filename": filename, "signature": self._signature(path, expires, filename)}
        return f"{path}?{urlencode(query)}"

    def verify(self, method: str, path: str, expires: int, signature: str, filename: str = "") -> bool:
        """Whether ``signature`` opens ``path`` now. A link to GET opens HEAD as well, and nothing else."""
        if method not in ("GET", "HEAD"):
            return False
        genuine = hmac.compare_digest(self._signature(path, expires, filename).encode(), signature.encode())
        return genuine and time.time() < expires

    def _signature(self, path: str, expires: int, filename: str) -> str:
        message = f"GET\n{path}\n{expires}\n{filename}".encode()
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()
