"""Where tables and objects are stored: one root, a local folder or a URL that both obstore and Delta understand.

    ROOT/tables/<name>     Delta tables
    ROOT/objects/...       recordings, results, playback copies

Delta, Polars and obstore read credentials and endpoints of remote stores from the same environment variables (``AWS_*``,
``GOOGLE_*``, ``AZURE_*``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from obstore.store import LocalStore, ObjectStore, from_url

from schemas.settings import Settings


@dataclass(frozen=True, slots=True)
class Location:
    """The storage root. ``fsync``: whether files are flushed to disk, which is possible only in a local folder."""

    root: str
    fsync: bool

    @classmethod
    def of(cls, settings: Settings) -> Location:
        """The storage root that settings name."""
        root = settings.storage_url
        return cls(root, settings.storage.fsync and "://" not in root)

    @property
    def folder(self) -> Path | None:
        """The root as a folder, or None for a remote store."""
        return None if "://" in self.root else Path(self.root)

    def table_uri(self, name: str) -> str:
        """Path or URL of a Delta table."""
        return f"{self.root}/tables/{name}"

    def store(self, prefix: str = "") -> ObjectStore:
        """An obstore store of everything under ``prefix``. Local folders are created."""
        url = f"{self.root}/{prefix}" if prefix else self.root
        return LocalStore(url, mkdir=True) if self.folder else from_url(url)
