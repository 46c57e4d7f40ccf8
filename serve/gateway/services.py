"""What routes work with; built once a gateway replica, or by a test around a real ledger in process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fastapi import Request

from lakehouse.archives import ArchiveReader
from lakehouse.history import History
from lakehouse.ledger.changes import Changes, Position
from lakehouse.ledger.ledger import LedgerStats
from lakehouse.ledger.progress import Mark, Watched
from lakehouse.ledger.records import EndedConversation, Recorded
from lakehouse.ledger.upkeep import MaintenanceReport
from lakehouse.location import Location
from lakehouse.objects import Objects
from lakehouse.search import Search
from lakehouse.signing import Signer
from schemas.domain import (
    ApiKey,
    Claim,
    Conversation,
    ConversationTurn,
    Job,
    Lane,
    NewJob,
    Outcome,
    Progress,
    Recognition,
    Seconds,
    Segment,
    SoundEvent,
    Span,
    SpeakerHint,
    ToolCall,
    Transcript,
    TtsRender,
    Turn,
    Voice,
    Word,
)
from schemas.engines import EngineInfo, RenderedChunk, RenderRequest, VoiceProfile, VoiceWindows
from schemas.settings import Settings
from serve.cloning import Cloning
from serve.gateway.archive_ledger import ArchiveLedger
from serve.gateway.auth import KeyRing
from serve.gateway.limits import AnonymousLimits
from serve.slots import SlotStatus
from serve.speech import Speech


class LedgerClient(ArchiveLedger, Protocol):
    """The ledger as routes see it: `serve.ledger.RemoteLedger`, or a `lakehouse.ledger.Ledger` in the same process."""

    async def attend(self) -> None: ...
    async def create_job(self, new: NewJob) -> Job: ...
    async def claim(self, worker: str, wait_secs: float) -> Claim | None: ...
    async def renew(self, job_id: int, lease: str) -> float: ...
    async def complete(self, job_id: int, lease: str, outcome: Outcome, transcript: Transcript) -> Job: ...
    async def fail(self, job_id: int, lease: str, message: str, retryable: bool) -> Job: ...
    async def release(self, job_id: int, lease: str) -> Job: ...
    async def leased_job(self, job_id: int, lease: str) -> Job: ...
    async def cancel_job(self, account: str, job_id: int) -> Job: ...
    async def report(
        self, job_id: int, lease: str, progress: Progress, first_block: int, blocks: Sequence[tuple[Segment, ...]]
    ) -> int: ...
    async def watch(self, account: str, job_id: int, first_block: int, last: Mark | None, wait_secs: float) -> Watched: ...
    async def changes(self, since: Mapping[str, Position | None]) -> dict[str, Changes]: ...
    async def create_key(
        self, account: str, name: str, scopes: tuple[str, ...], key: str | None = None
    ) -> tuple[ApiKey, str]: ...
    async def list_keys(self) -> list[ApiKey]: ...
    async def revoke_key(self, key_id: str) -> ApiKey: ...
    async def find_key(self, key_hash: str) -> ApiKey | None: ...
    async def delete_job(self, account: str, job_id: int) -> Job: ...
    async def known_imports(self, account: str, keys: Collection[str]) -> set[str]: ...
    async def import_jobs(self, account: str, finished: Sequence[Job]) -> list[Recorded]: ...
    async def record_tts(self, render: TtsRender) -> int: ...
    async def record_renders(self, renders: Sequence[TtsRender]) -> list[int]: ...
    async def record_conversation(
        self, conversation: Conversation, turns: Sequence[ConversationTurn], tool_calls: Sequence[ToolCall] = ()
    ) -> int: ...
    async def import_renders(self, account: str, renders: Sequence[TtsRender]) -> list[Recorded]: ...
    async def import_conversations(self, account: str, ended: Sequence[EndedConversation]) -> list[Recorded]: ...
    async def put_voice(self, voice: Voice) -> Voice: ...
    async def get_voice(self, voice_id: str) -> Voice | None: ...
    async def list_voices(self, account: str) -> list[Voice]: ...
    async def delete_voice(self, account: str, voice_id: str) -> Voice: ...
    async def maintain(self, task: str, wait_secs: float) -> MaintenanceReport | None: ...
    async def stats(self) -> LedgerStats: ...


class Engines(Protocol):
    """The speech engines behind the gateway; audio is s16le mono bytes, heard at 16 kHz and spoken at 24 kHz."""

    async def recognize(self, pcm: bytes, lane: Lane = "interactive") -> Recognition: ...
    async def observe(self, pcm: bytes, speech: Sequence[Span], offset_secs: Seconds, lane: Lane) -> VoiceWindows: ...
    async def resolve(self, windows: Sequence[VoiceWindows], speech: Sequence[Span], hint: SpeakerHint) -> list[Turn]: ...
    async def event_detector(self) -> EngineInfo:
        """What finds events. Raises Unavailable while its model is loading."""
        ...

    async def observe_events(self, pcm: bytes, offset_secs: Seconds, lane: Lane) -> list[SoundEvent]: ...
    async def detect_events(
        self, speech: Sequence[Span], words: Sequence[Word], duration_secs: Seconds, heard: Sequence[SoundEvent]
    ) -> list[SoundEvent]: ...
    def render(self, request: RenderRequest) -> AsyncGenerator[RenderedChunk, None]:
        """The whole text as it is made; closing it stops the engine. Raises InvalidParameter, EngineFailure."""
        ...

    async def match_voice(self, pcm: bytes, voice_id: str) -> tuple[VoiceProfile, float | None, str]:
        """The voice nearest to a clip at 24 kHz, how near (a cosine; None where the clip itself is the voice), and the
        engine's revision. Raises InvalidAudio."""
        ...

    async def slots(self) -> list[SlotStatus]:
        """What serves each slot, or why it does not; within seconds, whatever an engine does."""
        ...


@dataclass(frozen=True)
class Services:
    settings: Settings
    ledger: LedgerClient
    objects: Objects
    signer: Signer
    engines: Engines
    engine_revision: str
    keys: KeyRing = field(init=False)
    history: History = field(init=False)
    search: Search = field(init=False)
    archives: ArchiveReader = field(init=False)
    anonymous: AnonymousLimits = field(init=False)
    speech: Speech = field(init=False)
    cloning: Cloning = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", KeyRing(self.ledger.find_key, self.settings.auth.key_cache_secs))
        storage = self.settings.storage
        history = History(Location.of(self.settings), self.ledger, cache_bytes=storage.read_cache_bytes)
        object.__setattr__(self, "history", history)
        object.__setattr__(self, "search", Search(self.history))
        object.__setattr__(self, "archives", ArchiveReader(Location.of(self.settings)))
        object.__setattr__(self, "anonymous", AnonymousLimits(self.settings.speech))
        object.__setattr__(self, "speech", Speech(self.settings, self.ledger, self.objects, self.engines))
        object.__setattr__(self, "cloning", Cloning(self.settings, self.ledger, self.objects, self.engines))

    async def signed_url(self, key: str, download_name: str) -> str:
        """An absolute URL to GET the object without a key, for the time set."""
        url = await self.signer.sign(key, download_name, self.settings.auth.signed_url_secs)
        return f"{self.settings.server.url}{url}" if url.startswith("/") else url


def services(request: Request) -> Services:
    """FastAPI dependency: the replica's services."""
    return request.app.state.services  # type: ignore[no-any-return]
