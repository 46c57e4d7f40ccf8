"""The whole-file cache: finds the earlier job with the result for the same recording, options and engines.

It takes 16 bytes a job: sorted 64-bit keys with job ids, and a dict of the newest jobs. A key is the first 64 bits of the
recording's SHA-256, XORed with a hash of account, options and engine revision. A hit is only a candidate: callers compare
the job itself.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lakehouse.tables.row_mapping import OPTION_COLUMNS, options_from_row
from schemas.domain import Job, JobOptions, NewJob

TAIL_ENTRIES = 65_536


@lru_cache(maxsize=4096)
def _context(account: str, options: JobOptions, engine_revision: str) -> int:
    text = f"{account}\0{options}\0{engine_revision}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def _key(sha256: str, account: str, options: JobOptions, engine_revision: str) -> int:
    return int(sha256[:16], 16) ^ _context(account, options, engine_revision)


class ResultCache:
    """Ids of completed jobs that were computed, not answered from the cache.

    If several jobs have one key, the newest counts.
    """

    def __init__(self) -> None:
        self._keys: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._ids: NDArray[np.int64] = np.empty(0, np.int64)
        self._tail: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._keys) + len(self._tail)

    def load(self, rows: pl.DataFrame) -> None:
        """Add many jobs: columns id, sha256, account, engine_revision and ``OPTION_COLUMNS``."""
        for (account, revision, *options), group in rows.group_by("account", "engine_revision", *OPTION_COLUMNS):
            prefixes = np.frombuffer(bytes.fromhex("".join(group["sha256"].str.slice(0, 16).to_list())), ">u8")
            wanted = options_from_row(dict(zip(OPTION_COLUMNS, options, strict=True)))
            mixed = prefixes.astype(np.uint64) ^ np.uint64(_context(str(account), wanted, str(revision)))
            self._keys = np.concatenate([self._keys, mixed])
            self._ids = np.concatenate([self._ids, group["id"].to_numpy()])
        self._sort()

    def add(self, job: Job) -> None:
        """Add a job that a worker completed."""
        self._tail[_key(job.sha256, job.account, job.options, job.engine_revision or "")] = job.id
        if len(self._tail) >= TAIL_ENTRIES:
            self._keys = np.concatenate([self._keys, np.fromiter(self._tail.keys(), np.uint64, len(self._tail))])
            self._ids = np.concatenate([self._ids, np.fromiter(self._tail.values(), np.int64, len(self._tail))])
            self._tail.clear()
            self._sort()

    def find(self, new: NewJob) -> int | None:
        """The id of a job that may have the result for ``new``; None if there is none."""
        key = _key(new.sha256, new.account, new.options, new.engine_revision)
        if key in self._tail:
            return self._tail[key]
        # A Python int would make numpy copy the whole array to another type.
        position = int(np.searchsorted(self._keys, np.uint64(key)))
        if position < len(self._keys) and self._keys[position] == np.uint64(key):
            return int(self._ids[position])
        return None

    def _sort(self) -> None:
        """Sort by key, and keep the highest id of each."""
        order = np.lexsort((-self._ids, self._keys))
        keys, ids = self._keys[order], self._ids[order]
        first = np.ones(len(keys), bool)
        first[1:] = keys[1:] != keys[:-1]
        self._keys, self._ids = keys[first], ids[first]
