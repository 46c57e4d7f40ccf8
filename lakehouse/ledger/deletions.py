"""Deletions that take several steps: of renders, conversations and accounts.

A row of ``deletions`` accepts a deletion, and a second row records its end. An accepted deletion without an end is
carried out again, after a pause and when the ledger opens, so no data remain.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from lakehouse.ledger.account_erasure import AccountEraser
from lakehouse.ledger.append_table import AppendTable
from lakehouse.ledger.change_tasks import ChangeTasks
from lakehouse.ledger.clock import Clock
from lakehouse.ledger.closed_accounts import CLOSED_FOR, ClosedAccounts
from lakehouse.ledger.ids import Allocator
from lakehouse.ledger.record_erasure import RecordEraser
from lakehouse.ledger.records import Records
from lakehouse.tables.group_commit import Row, TableWriter
from schemas.domain import Seconds
from schemas.errors import Conflict, NotFound, Unavailable

logger = logging.getLogger(__name__)

RETRY_SECS: Final[Seconds] = 30.0

Kind = Literal["render", "conversation", "account"]


@dataclass(frozen=True, slots=True)
class _Deletion:
    """``row`` is the row that accepted the deletion."""

    row: Row

    @property
    def account(self) -> str:
        return str(self.row["account"])

    @property
    def target(self) -> str:
        return str(self.row["target"])


class Deletions:
    """Implements `DeletionLedger`.

    ``allocators`` allocate the ids of the tables that lose rows. A deletion records the highest ids, so that no id is
    used again.
    """

    def __init__(
        self,
        writer: TableWriter,
        clock: Clock,
        tasks: ChangeTasks,
        records: Records,
        eraser: RecordEraser,
        accounts: AccountEraser,
        closed: ClosedAccounts,
        allocators: Mapping[str, Allocator],
    ) -> None:
        self._allocators = allocators
        self._table = AppendTable(writer, clock)
        self._clock = clock
        self._tasks = tasks
        self._records = records
        self._eraser = eraser
        self._accounts = accounts
        self._closed = closed
        self._pending: dict[int, _Deletion] = {}
        self._lock = asyncio.Lock()
        self._repeating: asyncio.Task[None] | None = None
        self._erase: dict[str, Callable[[str, str], Awaitable[None]]] = {
            "render": lambda account, target: eraser.render(account, int(target)),
            "conversation": eraser.conversation,
            "account": lambda account, _: accounts.erase(account),
        }

    async def load(self) -> None:
        """Read the pending deletions, and the highest ids of deleted rows."""
        await self._table.load()
        rows = (await self._table.collect(lambda table: table.sort("id"))).to_dicts()
        done = {row["id"] for row in rows if row["done_at"] is not None}
        for row in rows:
            for name, last in json.loads(row["given_ids"]).items():
                self._allocators[name].skip(last)
            if row["kind"] == "account" and row["created_at"] + CLOSED_FOR > self._clock.utc():
                self._closed.close(row["account"], row["created_at"])
            if row["id"] not in done:
                self._pending[row["id"]] = _Deletion(row)

    def resume(self) -> None:
        """Finish the pending deletions in the background."""
        if self._pending and (self._repeating is None or self._repeating.done()):
            self._repeating = asyncio.create_task(self._repeat(), name="deletions")

    async def settled(self) -> None:
        """Wait until no deletion is pending."""
        if self._repeating is not None:
            await asyncio.wait([self._repeating])

    async def close(self) -> None:
        """Stop. Pending deletions are completed when the ledger opens again."""
        if self._repeating is not None:
            self._repeating.cancel()
            await asyncio.wait([self._repeating])

    async def render(self, account: str, render_id: int) -> None:
        """See `DeletionLedger.render`."""
        await self._tasks.run(self._render(account, render_id))

    async def conversation(self, account: str, session_id: str) -> None:
        """See `DeletionLedger.conversation`."""
        await self._tasks.run(self._conversation(account, session_id))

    async def account(self, account: str) -> None:
        """See `DeletionLedger.account`."""
        self._accounts.check(account)
        await self._tasks.run(self._delete("account", account, account))

    async def _render(self, account: str, render_id: int) -> None:
        async with self._lock:
            if not await self._eraser.has_render(account, render_id):
                raise NotFound(f"there is no render {render_id} in your account", param="id")
            await self._delete("render", account, str(render_id))

    async def _conversation(self, account: str, session_id: str) -> None:
        async with self._lock:
            if self._records.is_live(account, session_id):
                raise Conflict("this conversation is still in progress; end it first", code="conversation_live", param="id")
            if not await self._eraser.has_conversation(account, session_id):
                raise NotFound(f"there is no conversation {session_id[:60]!r} in your account", param="id")
            await self._delete("conversation", account, session_id)

    async def _delete(self, kind: Kind, account: str, target: str) -> None:
        deletion_id, now = self._table.ids.next()
        given = json.dumps({name: ids.next_id - 1 for name, ids in self._allocators.items()})
        row: Row = {
            "id": deletion_id,
            "account": account,
            "created_at": now,
            "kind": kind,
            "target": target,
            "given_ids": given,
            "done_at": None,
        }
        await self._table.append([row])
        if kind == "account":
            self._closed.close(account, now)
        self._pending[deletion_id] = deletion = _Deletion(row)
        try:
            await self._finish(deletion)
        except BaseException:
            self.resume()
            raise

    async def _finish(self, deletion: _Deletion) -> None:
        """Erase, and record the end. Raises Unavailable, or an error of the object store."""
        await self._erase[deletion.row["kind"]](deletion.account, deletion.target)
        await self._table.append([{**deletion.row, "done_at": self._clock.utc()}])
        self._pending.pop(deletion.row["id"], None)

    async def _repeat(self) -> None:
        while self._pending:
            for deletion in list(self._pending.values()):
                try:
                    await self._finish(deletion)
                except Unavailable as error:
                    logger.warning("a deletion could not be finished yet: %s", error.code)
                except Exception as error:  # tried again after any error of a store
                    logger.warning("a deletion could not be finished yet: %s", type(error).__name__)
            if self._pending:
                await self._clock.sleep(RETRY_SECS)
