"""Composes `JobLedger` from the parts that implement it."""

from __future__ import annotations

from lakehouse.ledger.job_deletion import JobDeletion
from lakehouse.ledger.job_import import JobImport
from lakehouse.ledger.job_queue_service import JobQueueService
from lakehouse.ledger.job_watch import JobWatch
from lakehouse.ledger.lease_expiry import LeaseExpiry


class Jobs:
    """Each method belongs to a part. mypy checks the methods against the protocol where a `Ledger` is used as a
    `LedgerClient`.
    """

    def __init__(
        self, queue: JobQueueService, watch: JobWatch, deletion: JobDeletion, imports: JobImport, expiry: LeaseExpiry
    ) -> None:
        self.create = queue.create
        self.fetched = queue.fetched
        self.load_of = queue.load_of
        self.claim = queue.claim
        self.renew = queue.renew
        self.complete = queue.complete
        self.fail = queue.fail
        self.release = queue.release
        self.leased = watch.leased
        self.report = watch.report
        self.watch = watch.watch
        self.cancel = watch.cancel
        self.delete = deletion.delete
        self.known_imports = imports.known_imports
        self.import_finished = imports.import_finished
        self.gateway_alive = expiry.gateway_alive
