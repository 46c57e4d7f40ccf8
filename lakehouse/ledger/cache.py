"""The whole-file cache: which earlier job answers the same bytes, options and engines. 16 bytes a job.

An index of 64-bit keys in a sorted array with the ids beside it, and a dict for what came since. A key is the first 64 bits
of the content's SHA-256 mixed with a hash of account, options and engine revision. A hit is only a candidate: the ledger
compares the row itself before it believes it.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lakehouse.rows import OPTION_COLUMNS, options_from_row
from schemas.domain import Job, JobOptions, NewJob

TAIL_ENTRIES = 65_536


@lru_cache(maxsize=4096)
def _context(account: str, options: JobOptions, engine_revision: str) -> int:
    text = f"{account}\0{options}\0{engine_revision}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def _key(sha256: str, account: str, options: JobOptions, engine_revision: str) -> int:
    return int(sha256[:16], 16) ^ _context(account, options, engine_revision)


class ResultCache:
    """Completed, computed jobs by what they answer; of several for one key the newest counts."""

    def __init__(self) -> None:
        self._keys: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._ids: NDArray[np.int64] = np.empty(0, np.int64)
        self._tail: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._keys) + len(self._tail)

    def load(self, rows: pl.DataFrame) -> None:
        """Add many at once: columns id, sha256, account, engine_revision and those of the options."""
        for (account, revision, *options), group in rows.group_by("account", "engine_revision", *OPTION_COLUMNS):
            prefixes = np.frombuffer(bytes.fromhex("".join(group["sha256"].str.slice(0, 16).to_list())), ">u8")
            asked = options_from_row(dict(zip(OPTION_COLUMNS, options, strict=True)))
            mixed = prefixes.astype(np.uint64) ^ np.uint64(_context(str(account), asked, str(revision)))
            self._keys = np.concatenate([self._keys, mixed])
            self._ids = np.concatenate([self._ids, group["id"].to_numpy()])
        self._sort()

    def add(self, job: Job) -> None:
        """A job that was just completed by a worker."""
        self._tail[_key(job.sha256, job.account, job.options, job.engine_revision or "")] = job.id
        if len(self._tail) >= TAIL_ENTRIES:
            self._keys = np.concatenate([self._keys, np.fromiter(self._tail.keys(), np.uint64, len(self._tail))])
            self._ids = np.concatenate([self._ids, np.fromiter(self._tail.values(), np.int64, len(self._tail))])
            self._tail.clear()
            self._sort()

    def find(self, new: NewJob) -> int | None:
        """The id of a job that may answer ``new``."""
        key = _key(new.sha256, new.account, new.options, new.engine_revision)
        if key in self._tail:
            return self._tail[key]
        # A Python int would make numpy copy the whole array to another type.
        place = int(np.searchsorted(self._keys, np.uint64(key)))
        if place < len(self._keys) and self._keys[place] == np.uint64(key):
            return int(self._ids[place])
        return None

    def _sort(self) -> None:
        """By key, keeping the highest id of each."""
        order = np.lexsort((-self._ids, self._keys))
        keys, ids = self._keys[order], self._ids[order]
        first = np.ones(len(keys), bool)
        first[1:] = keys[1:] != keys[:-1]
        self._keys, self._ids = keys[first], ids[first]
