"""The ledger as a named, detached Ray actor, and the handle by which the gateway speaks to it.

Ray restarts the actor for ever; it rebuilds itself from the tables. Answers carry our errors as values, so a refusal
(a lost lease, a full store) never looks like a broken actor.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lakehouse.ledger.changes import Changes, Position
from lakehouse.ledger.ledger import Ledger, LedgerStats
from lakehouse.ledger.progress import Mark, Watched
from lakehouse.ledger.records import EndedConversation, Recorded
from lakehouse.ledger.upkeep import MaintenanceReport
from schemas.domain import (
    ApiKey,
    Claim,
    Conversation,
    ConversationTurn,
    Job,
    NewJob,
    Outcome,
    Progress,
    Segment,
    ToolCall,
    Transcript,
    TtsRender,
    Voice,
)
from schemas.errors import FluxionsError, Unavailable
from schemas.settings import Settings
from serve.remote_archives import RemoteArchives

NAME = "ledger"
NAMESPACE = "fluxions"
_RETRY_SECS = 30.0

logger = logging.getLogger(__name__)


class LedgerActor:
    """Runs one `Ledger` for the whole instance. Concurrency is asyncio's; commits run in the ledger's own threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opening: asyncio.Task[Ledger] | None = None

    async def _ledger(self) -> Ledger:
        if self._opening is None or (self._opening.done() and self._opening.exception()):
            self._opening = asyncio.create_task(Ledger.open(self._settings, attended=True))
        return await asyncio.shield(self._opening)

    async def call(self, method: str, args: tuple[Any, ...]) -> tuple[bool, Any]:
        """(True, value) or (False, error) of one public method of the ledger."""
        try:
            ledger = await self._ledger()
            return True, await getattr(ledger, method)(*args)
        except FluxionsError as error:
            return False, error

    async def close(self) -> None:
        if self._opening is not None:
            await (await self._opening).close()


class RemoteLedger(RemoteArchives):
    """The ledger's public methods over Ray. Raises what the ledger raises; Unavailable while it is away for long."""

    def __init__(self) -> None:
        self._actor: Any = None

    async def _call(self, method: str, *args: Any, retry: bool = True) -> Any:
        """Reads and lease words are idempotent and are tried again while the actor restarts."""
        import ray
        from ray.exceptions import RayActorError

        deadline = asyncio.get_running_loop().time() + (_RETRY_SECS if retry else 0.0)
        pause = 0.05
        while True:
            try:
                if self._actor is None:
                    self._actor = await asyncio.to_thread(ray.get_actor, NAME, NAMESPACE)
                ok, value = await self._actor.call.remote(method, args)
            except (RayActorError, ValueError) as error:
                self._actor = None
                if asyncio.get_running_loop().time() >= deadline:
                    raise Unavailable(
                        "the ledger is restarting; nothing was lost, try again in a moment", retry_after_secs=2
                    ) from error
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)
                continue
            if not ok:
                raise value
            return value

    async def attend(self) -> None:
        await self._call("attend")

    async def create_job(self, new: NewJob) -> Job:
        return await self._call("create_job", new)  # type: ignore[no-any-return]

    async def claim(self, worker: str, wait_secs: float) -> Claim | None:
        return await self._call("claim", worker, wait_secs)  # type: ignore[no-any-return]

    async def renew(self, job_id: int, lease: str) -> float:
        return await self._call("renew", job_id, lease)  # type: ignore[no-any-return]

    async def complete(self, job_id: int, lease: str, outcome: Outcome, transcript: Transcript) -> Job:
        return await self._call("complete", job_id, lease, outcome, transcript)  # type: ignore[no-any-return]

    async def fail(self, job_id: int, lease: str, message: str, retryable: bool) -> Job:
        return await self._call("fail", job_id, lease, message, retryable)  # type: ignore[no-any-return]

    async def release(self, job_id: int, lease: str) -> Job:
        return await self._call("release", job_id, lease)  # type: ignore[no-any-return]

    async def leased_job(self, job_id: int, lease: str) -> Job:
        return await self._call("leased_job", job_id, lease)  # type: ignore[no-any-return]

    async def cancel_job(self, account: str, job_id: int) -> Job:
        return await self._call("cancel_job", account, job_id)  # type: ignore[no-any-return]

    async def report(
        self, job_id: int, lease: str, progress: Progress, first_block: int, blocks: Sequence[tuple[Segment, ...]]
    ) -> int:
        return await self._call("report", job_id, lease, progress, first_block, blocks)  # type: ignore[no-any-return]

    async def watch(self, account: str, job_id: int, first_block: int, last: Mark | None, wait_secs: float) -> Watched:
        return await self._call("watch", account, job_id, first_block, last, wait_secs)  # type: ignore[no-any-return]

    async def changes(self, since: Mapping[str, Position | None]) -> dict[str, Changes]:
        return await self._call("changes", since)  # type: ignore[no-any-return]

    async def create_key(
        self, account: str, name: str, scopes: tuple[str, ...], key: str | None = None
    ) -> tuple[ApiKey, str]:
        return await self._call("create_key", account, name, scopes, key, retry=False)  # type: ignore[no-any-return]

    async def list_keys(self) -> list[ApiKey]:
        return await self._call("list_keys")  # type: ignore[no-any-return]

    async def revoke_key(self, key_id: str) -> ApiKey:
        return await self._call("revoke_key", key_id)  # type: ignore[no-any-return]

    async def find_key(self, key_hash: str) -> ApiKey | None:
        return await self._call("find_key", key_hash)  # type: ignore[no-any-return]

    async def delete_job(self, account: str, job_id: int) -> Job:
        return await self._call("delete_job", account, job_id)  # type: ignore[no-any-return]

    async def known_imports(self, account: str, keys: Collection[str]) -> set[str]:
        return await self._call("known_imports", account, keys)  # type: ignore[no-any-return]

    async def import_jobs(self, account: str, finished: Sequence[Job]) -> list[Recorded]:
        return await self._call("import_jobs", account, finished)  # type: ignore[no-any-return]

    async def record_tts(self, render: TtsRender) -> int:
        # With an identity it may be sent again when the answer was lost.
        keyed = render if render.import_key is not None else replace(render, import_key=uuid.uuid4().hex)
        return await self._call("record_tts", keyed)  # type: ignore[no-any-return]

    async def record_renders(self, renders: Sequence[TtsRender]) -> list[int]:
        keyed = [one if one.import_key is not None else replace(one, import_key=uuid.uuid4().hex) for one in renders]
        return await self._call("record_renders", keyed)  # type: ignore[no-any-return]

    async def record_conversation(
        self, conversation: Conversation, turns: Sequence[ConversationTurn], tool_calls: Sequence[ToolCall] = ()
    ) -> int:
        return await self._call("record_conversation", conversation, turns, tool_calls)  # type: ignore[no-any-return]

    async def import_renders(self, account: str, renders: Sequence[TtsRender]) -> list[Recorded]:
        return await self._call("import_renders", account, renders)  # type: ignore[no-any-return]

    async def import_conversations(self, account: str, ended: Sequence[EndedConversation]) -> list[Recorded]:
        return await self._call("import_conversations", account, ended)  # type: ignore[no-any-return]

    async def put_voice(self, voice: Voice) -> Voice:
        return await self._call("put_voice", voice)  # type: ignore[no-any-return]

    async def get_voice(self, voice_id: str) -> Voice | None:
        return await self._call("get_voice", voice_id)  # type: ignore[no-any-return]

    async def list_voices(self, account: str) -> list[Voice]:
        return await self._call("list_voices", account)  # type: ignore[no-any-return]

    async def delete_voice(self, account: str, voice_id: str) -> Voice:
        return await self._call("delete_voice", account, voice_id, retry=False)  # type: ignore[no-any-return]

    async def maintain(self, task: str, wait_secs: float) -> MaintenanceReport | None:
        return await self._call("maintain", task, wait_secs)  # type: ignore[no-any-return]

    async def stats(self) -> LedgerStats:
        return await self._call("stats")  # type: ignore[no-any-return]
