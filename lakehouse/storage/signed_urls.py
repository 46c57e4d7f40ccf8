"""URLs that give access to one object without an API key, for a limited time.

Some stores sign URLs themselves. For a local folder the signature is HMAC-SHA256 over method, path, expiry and file name,
with a secret of the home. The gateway serves such URLs on GET and HEAD.
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

from lakehouse.storage.fsync import fsync_path
from lakehouse.storage.objects import Objects, checked

PATH_PREFIX = "/objects/"
SECRET_BYTES = 32


def home_secret(home: Path, given: bytes | None = None) -> bytes:
    """The home's 32-byte secret, created at first use with mode 0600: ``given``, or a random one.

    Several processes may call this at once.
    """
    path = home / "secret"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        fresh = home / f".secret-{uuid.uuid4().hex}"
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(given or secrets.token_bytes(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            # Creating a hard link is atomic, and fails if another process was first.
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
        fsync_path(home)
    return path.read_bytes()


class Signer:
    """Signs URLs of ``objects``, and verifies them."""

    def __init__(self, objects: Objects, secret: bytes) -> None:
        self._objects = objects
        self._secret = secret

    async def sign(self, key: str, filename: str, expires_in: float) -> str:
        """A URL to GET ``key`` for ``expires_in`` seconds.

        It is absolute if the store signs, else path and query for the gateway. Browsers save the object as ``filename``.
        """
        if self._objects.signs:
            return await self._objects.sign(key, timedelta(seconds=expires_in))
        path = PATH_PREFIX + quote(checked(key))
        expires = int(time.time() + expires_in)
        query = {"expires": expires, "filename": filename, "signature": self._signature(path, expires, filename)}
        return f"{path}?{urlencode(query)}"

    def verify(self, method: str, path: str, expires: int, signature: str, filename: str = "") -> bool:
        """Whether ``signature`` is valid for ``path`` now.

        A URL signed for GET is valid for HEAD too, and for no other method.
        """
        if method not in ("GET", "HEAD"):
            return False
        genuine = hmac.compare_digest(self._signature(path, expires, filename).encode(), signature.encode())
        return genuine and time.time() < expires

    def _signature(self, path: str, expires: int, filename: str) -> str:
        message = f"GET\n{path}\n{expires}\n{filename}".encode()
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()
