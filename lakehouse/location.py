"""Where tables and objects lie: one root, a local folder or a URL that obstore and Delta both understand.

    ROOT/tables/<name>     Delta tables
    ROOT/objects/...       recordings, results, playback copies

Credentials and endpoints of remote stores come from their usual environment variables (``AWS_*``, ``GOOGLE_*``,
``AZURE_*``), which Delta, Polars and obstore read alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from obstore.store import LocalStore, ObjectStore, from_url

from schemas.settings import Settings


@dataclass(frozen=True, slots=True)
class Location:
    """The storage root. ``fsync`` is true only where there is a local disk to flush and the settings ask for it."""

    root: str
    fsync: bool

    @classmethod
    def of(cls, settings: Settings) -> Location:
        root = settings.storage_url
        return cls(root, settings.storage.fsync and "://" not in root)

    @property
    def folder(self) -> Path | None:
        """The root as a folder, or None for a remote store."""
        return None if "://" in self.root else Path(self.root)

    def table_uri(self, name: str) -> str:
        return f"{self.root}/tables/{name}"

    def store(self, prefix: str = "") -> ObjectStore:
        """An obstore store of everything under ``prefix``; local folders are made when missing."""
        url = f"{self.root}/{prefix}" if prefix else self.root
        return LocalStore(url, mkdir=True) if self.folder else from_url(url)
