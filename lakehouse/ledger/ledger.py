"""The ledger: the single writer of all tables.

It holds the job queue, leases, archive runs, records, voices, webhooks and API keys.

``job_events`` is the source of truth. A change exists once its event is committed and flushed to disk, and only then is
it applied to memory and reported to callers. All state in memory is rebuilt from the tables at `Ledger.open`. One event
loop runs a ledger.
"""

from __future__ import annotations

import asyncio
import logging
import time

from lakehouse.ledger.account_erasure import AccountEraser
from lakehouse.ledger.account_loads import AccountLoads
from lakehouse.ledger.account_shares import AccountShares
from lakehouse.ledger.api_keys import ApiKeys
from lakehouse.ledger.archives.begin import ArchiveBegin
from lakehouse.ledger.archives.finish import ArchiveFinish
from lakehouse.ledger.archives.service import ArchiveService
from lakehouse.ledger.archives.store import ArchiveStore
from lakehouse.ledger.change_feed import ChangeFeed
from lakehouse.ledger.change_tasks import ChangeTasks
from lakehouse.ledger.clock import Clock, SystemClock
from lakehouse.ledger.closed_accounts import ClosedAccounts
from lakehouse.ledger.deletion_interface import DeletionLedger
from lakehouse.ledger.deletions import Deletions
from lakehouse.ledger.erasure import Eraser
from lakehouse.ledger.ids import Allocator
from lakehouse.ledger.interface import (
    ArchiveLedger,
    ItemLedger,
    JobLedger,
    MaintenanceLedger,
    RecordLedger,
    WebhookLedger,
)
from lakehouse.ledger.item_limits import ItemLimits
from lakehouse.ledger.item_objects import ItemObjects
from lakehouse.ledger.job_deletion import JobDeletion
from lakehouse.ledger.job_effects import JobEffects
from lakehouse.ledger.job_import import JobImport
from lakehouse.ledger.job_lookup import JobLookup
from lakehouse.ledger.job_queue_service import JobQueueService
from lakehouse.ledger.job_store import JobStore
from lakehouse.ledger.job_watch import JobWatch
from lakehouse.ledger.jobs import Jobs
from lakehouse.ledger.key_interface import KeyLedger
from lakehouse.ledger.lease_expiry import LeaseExpiry
from lakehouse.ledger.leases import Leases
from lakehouse.ledger.live_jobs import LiveJobs
from lakehouse.ledger.maintenance import Maintenance
from lakehouse.ledger.object_guard import ObjectGuard
from lakehouse.ledger.owned_items import OwnedItems, check_speaker_name, consent_not_found, speaker_not_found
from lakehouse.ledger.progress import ProgressBoard
from lakehouse.ledger.projection import PROJECT_APP_ID, Projector
from lakehouse.ledger.queue import JobQueue
from lakehouse.ledger.record_erasure import RecordEraser
from lakehouse.ledger.records import Records
from lakehouse.ledger.result_cache import ResultCache
from lakehouse.ledger.voices import VoiceStore
from lakehouse.ledger.webhooks.catch_up import REMEMBERED, EventSource
from lakehouse.ledger.webhooks.endpoints import WebhookEndpoints
from lakehouse.ledger.webhooks.outbox import Outbox
from lakehouse.maintenance.merge import MergePolicy
from lakehouse.storage.location import Location
from lakehouse.storage.objects import Objects
from lakehouse.storage.writer_lock import WriterLock, take_lock
from lakehouse.tables.data_format import migrate
from lakehouse.tables.group_commit import TableWriter
from lakehouse.tables.table_reader import EventReader
from schemas.domain import JobStatus, Seconds
from schemas.maintenance import LedgerStats
from schemas.records import Speaker, Voice, VoiceConsent
from schemas.settings import Settings
from schemas.tables import TABLES, Table

log = logging.getLogger(__name__)


class Ledger:
    """Opens, wires and closes the parts; a `LedgerClient` in this process. Made by `Ledger.open`."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        lock: WriterLock,
        writers: dict[str, TableWriter],
        merge_policy: MergePolicy | None = None,
        *,
        behind_gateway: bool = False,
    ) -> None:
        self._lock = lock
        self._clock = clock
        self._writers = writers
        self._tasks = tasks = ChangeTasks()
        # Memory.
        self._ids = ids = Allocator(clock)
        self._live = live = LiveJobs()
        self._lookup = lookup = JobLookup(live, writers["transcriptions"], ids, clock)
        self._queue = queue = JobQueue()
        self._leases = leases = Leases(clock, settings.jobs.lease_secs, behind_gateway=behind_gateway)
        self._cache = cache = ResultCache()
        self._board = board = ProgressBoard()
        closed = ClosedAccounts(clock)
        self._archive_store = runs = ArchiveStore(writers, clock)
        # Effects of committed job events.
        objects = Objects.of(settings)
        guard = ObjectGuard(objects, live, lock.check)
        eraser = Eraser(writers, objects, guard, lookup, runs)
        most = ItemLimits.of(settings.limits)
        endpoints = WebhookEndpoints(writers["webhooks"], clock, most.webhooks)
        outbox = Outbox(writers["webhook_deliveries"], endpoints, clock, tasks, closed)
        self._projector = Projector(
            writers["transcriptions"],
            writers["segments"],
            objects,
            lookup.on_projected,
            eraser.erase,
            before=outbox.flushed,
        )
        loads = AccountLoads(live, writers["transcriptions"], clock)
        self._shares = shares = AccountShares(settings.limits.jobs_at_once, queue, live)
        feed = ChangeFeed(writers, live, clock)
        effects = JobEffects(feed, guard, runs, board, leases, queue, cache, self._projector, outbox, loads, shares)
        self._store = store = JobStore(writers["job_events"], ids, live, lookup, effects, tasks, closed)
        begin = ArchiveBegin(clock, tasks, store, live, lookup, leases, cache, guard, runs, settings.jobs.lease_secs)
        finish = ArchiveFinish(settings.jobs, clock, tasks, store, live, lookup, leases, runs)
        self.lease_expiry = LeaseExpiry(settings.jobs, clock, store, leases, runs, finish.expire_revision)
        queue_service = JobQueueService(
            settings.jobs, clock, tasks, store, live, lookup, queue, leases, cache, guard, loads, shares
        )
        watch = JobWatch(clock, store, lookup, leases, board, runs)
        deletion, imports = JobDeletion(clock, tasks, store, live, lookup, outbox), JobImport(tasks, store, lookup)
        records = Records(writers, clock, tasks, feed, outbox.announce, closed)
        self._item_objects = own = ItemObjects(objects.delete, clock)
        voices = VoiceStore(writers["voices"], clock, tasks, outbox.announce, closed, most.voices, own)
        consents = OwnedItems(
            writers["voice_consents"], clock, tasks, VoiceConsent, consent_not_found, closed, most.consents, own
        )
        speakers = OwnedItems(
            writers["speakers"], clock, tasks, Speaker, speaker_not_found, closed, most.speakers, own, check_speaker_name
        )
        keys = ApiKeys(writers["api_keys"], clock, tasks, closed)
        self._archives = ArchiveService(clock, tasks, lookup, runs, begin, finish, outbox.announce, closed)
        erased = RecordEraser(writers, objects, feed)
        whole = AccountEraser(
            writers, objects, keys, self._archives, deletion, records, erased, (voices, consents, speakers, outbox)
        )
        ids_of = {**records.allocators, "archives": runs.ids}
        self._outbox = outbox
        self._event_sources: tuple[EventSource, ...] = (voices, records, self._archives)
        self._deletions = Deletions(writers["deletions"], clock, tasks, records, erased, whole, closed, ids_of)
        self._loading = (loads, keys, records, voices, consents, speakers, outbox, runs)
        self._maintenance = Maintenance(settings, writers, live, clock, tasks, guard, lock.check, self._stats, merge_policy)
        # The parts, see `LedgerClient`.
        self.jobs: JobLedger = Jobs(queue_service, watch, deletion, imports, self.lease_expiry)
        self.archives: ArchiveLedger = self._archives
        self.records: RecordLedger = records
        self.voices: ItemLedger[Voice] = voices
        self.consents: ItemLedger[VoiceConsent] = consents
        self.speakers: ItemLedger[Speaker] = speakers
        self.webhooks: WebhookLedger = outbox
        self.keys: KeyLedger = keys
        self.deletions: DeletionLedger = self._deletions
        self.maintenance: MaintenanceLedger = self._maintenance
        self._is_closed = False

    @classmethod
    async def open(
        cls,
        settings: Settings,
        *,
        clock: Clock | None = None,
        merge_policy: MergePolicy | None = None,
        behind_gateway: bool = False,
    ) -> Ledger:
        """Lock the storage, open its tables, and restore unfinished work.

        ``behind_gateway``: leases expire only while `JobLedger.gateway_alive` is called. Raises Conflict if another
        ledger holds the storage, Conflict(code="newer_format") for data of a later version of this program, and
        Conflict(code="unfinished_restore").
        """
        location = Location.of(settings)
        began = time.monotonic()
        lock = await take_lock(
            location, shared=settings.cluster.storage_is_shared, lease_secs=settings.cluster.ledger_lease_secs
        )
        locked = time.monotonic()
        writers: dict[str, TableWriter] = {}
        try:
            await asyncio.to_thread(migrate, location)
            opening = [_writer(table, location, settings, lock) for table in TABLES]
            opened = await asyncio.gather(*opening, return_exceptions=True)
            writers |= {one.table.name: one for one in opened if isinstance(one, TableWriter)}
            for problem in opened:
                if isinstance(problem, BaseException):
                    raise problem
            tables_opened = time.monotonic()
            ledger = cls(settings, clock or SystemClock(), lock, writers, merge_policy, behind_gateway=behind_gateway)
            await ledger._restore()
        except BaseException:
            for writer in writers.values():
                await writer.close()
            await lock.release()
            raise
        ledger.lease_expiry.start()
        secs = locked - began, tables_opened - locked, time.monotonic() - tables_opened
        log.info("the ledger is open: %.1f s for the lock, %.1f s for the tables, %.1f s for its memory", *secs)
        return ledger

    async def lost(self) -> None:
        """Returns when another ledger has taken over the storage. From then on this ledger commits nothing."""
        await self._lock.lost()

    async def close(self) -> None:
        """Finish the changes that are being committed, project finished jobs, and unlock the storage."""
        if self._is_closed:
            return
        self._is_closed = True
        self._tasks.close()
        await self.lease_expiry.close()
        await self._maintenance.close()
        await self._deletions.close()
        await self._tasks.drain()
        await self._item_objects.close()
        await self._archive_store.close()
        await self._projector.close()
        for writer in self._writers.values():
            await writer.close()
        await self._lock.release()

    async def _restore(self) -> None:
        """Rebuild memory: ids, the cache, archive runs, waiting and leased jobs, and jobs that were not projected."""
        events, projected = self._writers["job_events"], self._projector.projected_seq
        reader, version = EventReader(events.reader()), events.version
        # At once, because a bucket answers each read late.
        bounds, unfinished, finished, cacheable, *_ = await asyncio.gather(
            asyncio.to_thread(reader.bounds, version),
            asyncio.to_thread(reader.unfinished, version),
            asyncio.to_thread(reader.finished_after, projected, version),
            self._lookup.cacheable(),
            *(part.load() for part in self._loading),
        )
        await self._deletions.load()  # After the parts whose ids must follow those of deleted rows.
        self._ids.restore(bounds)
        self._cache.load(cacheable)
        for seq, job in unfinished:
            self._store.restore(seq, job)
        self._leases.renew_all()
        for seq, job in finished:
            self._store.restore(seq, job)
        await self._archives.reconcile(list(self._archive_store.runs))
        recent = self._clock.utc() - REMEMBERED
        await self._outbox.catch_up([one for part in self._event_sources for one in await part.events_since(recent)])
        for writer in self._writers.values():
            writer.forget_opened()
        self._deletions.resume()

    def _oldest_wait_secs(self) -> Seconds:
        waiting = [self._live.get(one) for one in (self._queue.oldest, self._shares.oldest) if one is not None]
        now = self._clock.utc()
        return max(((now - entry.job.created_at).total_seconds() for entry in waiting if entry is not None), default=0.0)

    def _stats(self) -> LedgerStats:
        return LedgerStats(
            live_jobs=self._live.count_by_status(),
            queue_length=len(self._queue) + len(self._shares),
            queue_oldest_secs=self._oldest_wait_secs(),
            leases=len(self._leases),
            unleased=sum(
                entry.job.status is JobStatus.PROCESSING and entry.job.id not in self._leases for entry in self._live
            ),
            unprojected=len(self._projector),
            cache_entries=len(self._cache),
            tables={name: writer.version for name, writer in self._writers.items()},
        )


async def _writer(table: Table, location: Location, settings: Settings, lock: WriterLock) -> TableWriter:
    return await TableWriter.open(
        table,
        location,
        app_id=PROJECT_APP_ID if table.name in ("transcriptions", "segments") else "ledger",
        checkpoint_interval=settings.storage.checkpoint_interval,
        guard=lock.check,
        fenced=lock.expires,
        retention_hours=settings.storage.vacuum_hours,
    )
