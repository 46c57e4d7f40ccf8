"""The ledger as its callers see it: one protocol for each of its parts.

`lakehouse.ledger.ledger.Ledger` has the parts in process, `serve.ledger_actor.remote_ledger` over Ray. Methods that write
return once their rows are committed and flushed to disk, and raise Unavailable when they could not be committed or the
ledger is closing. Unless a method says otherwise, repeating a call changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Protocol, TypeAlias, TypeVar

from lakehouse.ledger.account_loads import AccountLoad
from lakehouse.ledger.change_log import Changes, Position
from lakehouse.ledger.deletion_interface import DeletionLedger
from lakehouse.ledger.key_interface import KeyLedger
from lakehouse.ledger.progress import Watched, WatchToken
from schemas.archives import (
    Archive,
    ArchiveFile,
    ArchiveStatus,
    Begun,
    FileEnd,
    FileOutcome,
    NewArchive,
    NotedFile,
    SourceFile,
)
from schemas.domain import Claim, FetchedRecording, Job, NewJob, Outcome, Progress, Seconds, Segment, Transcript
from schemas.maintenance import LedgerStats, MaintenanceReport
from schemas.records import (
    AuditEvent,
    Conversation,
    ConversationEnd,
    ConversationTurn,
    EndedConversation,
    LiveEntry,
    Speaker,
    ToolCall,
    TtsRender,
    Voice,
    VoiceConsent,
)
from schemas.webhooks import Attempt, Delivery, Dispatch, Happened, Webhook

T = TypeVar("T")

Recorded: TypeAlias = tuple[int, bool]
"""The id of a row, and whether this call added it."""
Publish: TypeAlias = Callable[[Happened], Awaitable[None]]
"""`Outbox.announce`, for the modules whose changes are events."""


class JobLedger(Protocol):
    """Transcription jobs, from submission to deletion. An account's methods raise NotFound for another account's job."""

    async def create(self, new: NewJob) -> Job:
        """Accept a recording. The job is ``submitted``, or ``completed`` at once if an earlier job has its result.

        With a ``fetch_lease`` it is ``processing`` until `fetched` is called. If that lease expires, the job fails.

        Repeating a call with the same ``submission`` gives the same job, and ``join`` may give an earlier one that is under
        way. Raises Unavailable(code="lost_upload") if the recording was removed as unused before the job was committed.
        """

    async def fetched(self, job_id: int, lease: str, recording: FetchedRecording) -> Job:
        """Bring the recording of a job created with this ``fetch_lease``: it waits, or is completed from the cache.

        Raises Conflict(code="lease_lost"), NotFound, and Unavailable as `create` does.
        """

    async def load_of(self, account: str, limit_secs: Seconds = math.inf) -> AccountLoad:
        """Unfinished jobs and audio of the last day, and the time until that audio is less than ``limit_secs``."""

    async def claim(self, worker: str, wait_secs: Seconds) -> Claim | None:
        """The oldest waiting job, leased to ``worker``; None if there is none within ``wait_secs``.

        A repeated call claims another job. A claim whose answer was lost expires and does not count as an attempt.
        """

    async def renew(self, job_id: int, lease: str) -> Seconds:
        """Extend a lease, and return its new length. Raises Conflict(code="lease_lost")."""

    async def leased(self, job_id: int, lease: str) -> Job:
        """The job a lease is for. The first call under a lease extends the lease, later calls do not.

        Raises Conflict(code="lease_lost"), NotFound.
        """

    async def complete(self, job_id: int, lease: str, outcome: Outcome, transcript: Transcript | None = None) -> Job:
        """Record a result. With ``transcript`` the result object need not be read back for the ``segments`` table.

        Raises Conflict(code="lease_lost"), NotFound.
        """

    async def fail(self, job_id: int, lease: str, message: str, retryable: bool, code: str = "transcription_failed") -> Job:
        """Record a failure. A retryable one returns the job to the queue while attempts are left.

        Raises Conflict(code="lease_lost"), NotFound.
        """

    async def release(self, job_id: int, lease: str) -> Job:
        """Return a job to the queue without counting the attempt. Raises Conflict(code="lease_lost"), NotFound."""

    async def report(
        self, job_id: int, lease: str, progress: Progress, first_block: int, blocks: Sequence[tuple[Segment, ...]]
    ) -> int:
        """Publish a worker's progress and the segments of blocks from number ``first_block`` on.

        Returns the number of blocks that the ledger holds. The worker sends the missing ones next. Raises
        Conflict(code="lease_lost"), NotFound.
        """

    async def watch(
        self, account: str, job_id: int, first_block: int, last: WatchToken | None, wait_secs: Seconds
    ) -> Watched:
        """Progress and blocks from ``first_block`` on, once they differ from ``last`` or after ``wait_secs``.

        Raises NotFound.
        """

    async def cancel(self, account: str, job_id: int) -> Job:
        """Stop a job permanently. Raises NotFound, Conflict(code="already_final")."""

    async def delete(self, account: str, job_id: int) -> Job:
        """Delete a job in any state. Data are erased after the call. Raises NotFound, also if repeated."""

    async def known_imports(self, account: str, keys: Collection[str]) -> set[str]:
        """Those of ``keys`` that are the ``import_key`` of a job of the account."""

    async def import_finished(self, account: str, finished: Sequence[Job]) -> list[Recorded]:
        """Add finished jobs from another system in one commit; their result objects must be stored already.

        The ledger allocates new ids. A job whose ``import_key`` is known is not added, and its entry is ``(0, False)``.
        """

    async def gateway_alive(self) -> None:
        """Report that workers can reach the ledger now. Lease time counts only while this is called, see `Leases`."""


class ArchiveLedger(Protocol):
    """Archive runs and their files. Methods about files raise NotFound and Conflict(code="archive_ended") for the run."""

    async def open(self, new: NewArchive, engine_revision: str) -> Archive:
        """Start a run, or resume the earlier one with the same account, kind, source and options."""

    async def all(self) -> list[Archive]:
        """Every run, newest first, with its present counts."""

    async def find(self, archive_id: int) -> Archive:
        """One run with its present counts. Raises NotFound."""

    async def known_files(self, archive_id: int, keys: Sequence[str]) -> list[ArchiveFile]:
        """The files a running run has under ``keys``; unknown keys are left out."""

    async def begin_files(
        self,
        archive_id: int,
        worker: str,
        files: Sequence[SourceFile],
        stored: Sequence[bool],
        engine_revision: str,
        retry_failed: bool,
    ) -> list[Begun]:
        """Lease each file to ``worker``, or answer why not. Returns an answer for each file, in order.

        ``stored`` says which recordings are in the object store. Keys of one call must differ.
        """

    async def renew_files(self, archive_id: int, leases: Mapping[int, str], waiting: Collection[int] = ()) -> list[int]:
        """Extend leases, given by job id.

        Returns the job ids of lost leases. Work has not begun on jobs in ``waiting``: if their worker dies now, no
        attempt is counted.
        """

    async def leased_files(self, archive_id: int, leases: Sequence[tuple[int, str]]) -> list[Job | FileOutcome]:
        """For each (job id, lease) the job, or an outcome if the job has ended or the lease is lost."""

    async def finish_files(self, archive_id: int, ended: Sequence[FileEnd]) -> list[FileOutcome]:
        """Record results and failures in one commit. Returns one outcome for each file, in order."""

    async def release_files(self, archive_id: int, leases: Mapping[int, str]) -> None:
        """Return files to the run without counting the attempt. Lost leases are ignored."""

    async def note_files(self, archive_id: int, noted: Sequence[NotedFile]) -> None:
        """Record files that never started as failed or skipped. Completed and processing files are not changed."""

    async def end(self, archive_id: int, status: ArchiveStatus, message: str | None) -> Archive:
        """End a run. Raises NotFound, and Conflict(code="archive_unfinished") to complete a run with unfinished files."""

    async def cancel(self, archive_id: int) -> Archive:
        """Stop a run with all its unfinished files. A run that has ended is not changed. Raises NotFound."""

    async def has_cached_result(self, recordings: Sequence[NewJob]) -> list[bool]:
        """Whether an earlier job has the result of each recording. Changes nothing."""


class RecordLedger(Protocol):
    """Rows that never change, and the feed of acknowledged rows for readers."""

    async def add_renders(self, renders: Sequence[TtsRender]) -> list[int]:
        """Ids of speech renders of any accounts, written in one commit.

        A render with a known ``import_key`` has the id of the earlier call; without a key each call adds a row. A render
        of an account that was just deleted is dropped, and its id is 0.
        """

    async def add_audit(self, events: Sequence[AuditEvent]) -> None:
        """Record audit events. An event whose answer was lost may be recorded twice."""

    async def add_conversation(
        self, conversation: Conversation, turns: Sequence[ConversationTurn], tool_calls: Sequence[ToolCall] = ()
    ) -> int:
        """Add an ended conversation, identified by its session id, with turns and tool calls; returns its id."""

    async def begin_conversation(self, conversation: Conversation) -> int:
        """Id of a conversation that begins now; its identity is the session id, which is never reused.

        Only account, session id, voice, start and the continued conversation of ``conversation`` are used.
        """

    async def add_entry(self, account: str, session_id: str, key: str, entry: LiveEntry) -> int:
        """Add a finished turn or a tool call, identified by ``key``, to a conversation in progress; returns its id.

        Raises NotFound for a conversation that has not begun or has ended.
        """

    async def end_conversation(self, account: str, session_id: str, end: ConversationEnd) -> int:
        """End a conversation and return its id. Raises NotFound for one that has not begun."""

    async def import_renders(self, account: str, renders: Sequence[TtsRender]) -> list[Recorded]:
        """Add an account's renders in one commit, except those with a known ``import_key``, however old."""

    async def import_conversations(self, account: str, ended: Sequence[EndedConversation]) -> list[Recorded]:
        """Add an account's conversations. Conversations with a known session id are not added again."""

    async def changes(self, since: Mapping[str, Position | None]) -> dict[str, Changes]:
        """By table, the rows acknowledged after a reader's position; None asks for a position to start from."""


class ItemLedger(Protocol[T]):
    """Items of accounts, such as voices. Methods raise NotFound for another account's item."""

    async def put(self, item: T) -> T:
        """Add or replace an item. Raises Conflict if its id is another account's, or if there are too many items.

        ``created_at`` is set if it is None; for a voice it is set at each call. Objects of an item that is refused by
        Conflict or Forbidden are erased.
        """

    async def check_room(self, account: str) -> None:
        """Raises Conflict(code="too_many_...") if the account may not have another item, as `put` does for a new one."""

    async def get(self, account: str, item_id: str) -> T:
        """One item. Raises NotFound."""

    async def of_account(self, account: str) -> list[T]:
        """An account's items, newest first. Webhooks that are callback addresses of single jobs are left out."""

    async def delete(self, account: str, item_id: str) -> T:
        """The item as deleted. Its objects and pending deliveries are erased. Raises NotFound, also if repeated."""


class WebhookLedger(ItemLedger[Webhook], Protocol):
    """Webhooks, and the delivery of events to them."""

    async def publish(self, event: Happened, webhook_id: str | None = None) -> None:
        """Send an event to the account's webhooks that subscribe to its type, or only to ``webhook_id``."""

    async def due(self, limit: int, wait_secs: Seconds) -> list[Dispatch]:
        """Deliveries that are due, leased to the caller; none if none was due within ``wait_secs``.

        They are due again if no result is recorded before the lease expires.
        """

    async def settle(self, attempts: Sequence[Attempt]) -> None:
        """Record the results of attempts. An attempt that was already recorded is ignored."""

    async def deliveries(self, account: str, webhook_id: str, limit: int) -> list[Delivery]:
        """The newest deliveries of a webhook. Raises NotFound."""

    async def replay(self, account: str, webhook_id: str, delivery_id: str) -> Delivery:
        """Restart a delivery in any state. Raises NotFound, and Conflict for a disabled webhook."""


class MaintenanceLedger(Protocol):
    """Upkeep of the tables and the object store, and counters."""

    async def run(self, task: str, wait_secs: Seconds) -> MaintenanceReport | None:
        """Start ``task``, or join it if it runs; None if it takes longer than ``wait_secs``: then ask again.

        Tasks: merge, retention, checkpoint, vacuum, orphans, or all. Raises InvalidParameter for another name.
        """

    async def stats(self) -> LedgerStats:
        """Present counters."""


class LedgerClient(Protocol):
    """All parts under one object."""

    jobs: JobLedger
    archives: ArchiveLedger
    records: RecordLedger
    voices: ItemLedger[Voice]
    consents: ItemLedger[VoiceConsent]
    speakers: ItemLedger[Speaker]
    webhooks: WebhookLedger
    keys: KeyLedger
    deletions: DeletionLedger
    maintenance: MaintenanceLedger
