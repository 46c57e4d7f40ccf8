"""The ledger's methods for keys, records and voices, apart from its jobs: thin words over those who keep them."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from lakehouse.ledger.keys import KeyRing
from lakehouse.ledger.records import EndedConversation, Recorded, Records
from lakehouse.ledger.voices import VoiceBook
from schemas.domain import ApiKey, Conversation, ConversationTurn, ToolCall, TtsRender, Voice

T = TypeVar("T")


class RecordKeeping:
    """Part of `lakehouse.ledger.Ledger`. Methods raise Unavailable when a commit fails."""

    _keys: KeyRing
    _records: Records
    _voices: VoiceBook

    async def _durably(self, change: Coroutine[Any, Any, T]) -> T:
        raise NotImplementedError

    async def create_key(
        self, account: str, name: str, scopes: Sequence[str], key: str | None = None
    ) -> tuple[ApiKey, str]:
        """A key and its plaintext, which is shown this once. A given ``key`` that exists already is found again."""
        return await self._durably(self._keys.create(account, name, scopes, key))

    async def list_keys(self) -> list[ApiKey]:
        return self._keys.all()

    async def revoke_key(self, key_id: str) -> ApiKey:
        """Close a key for good. Raises NotFound."""
        return await self._durably(self._keys.revoke(key_id))

    async def find_key(self, key_hash: str) -> ApiKey | None:
        """The key with this SHA-256, if it opens anything."""
        return self._keys.find(key_hash)

    async def record_tts(self, render: TtsRender) -> int:
        """The render's id, once it is durable. Repeating it with the same ``import_key`` gives the same id."""
        return await self._durably(self._records.render(render))

    async def record_renders(self, renders: Sequence[TtsRender]) -> list[int]:
        """The ids of renders of any accounts, once all are durable in one commit; each otherwise as `record_tts`."""
        return await self._durably(self._records.renders(renders))

    async def record_conversation(
        self, conversation: Conversation, turns: Sequence[ConversationTurn], tool_calls: Sequence[ToolCall] = ()
    ) -> int:
        """The id that orders the conversation, once it is durable with its turns. Repeating it changes nothing."""
        ended = EndedConversation(conversation, turns, tool_calls)
        return (await self._durably(self._records.conversations(conversation.account, [ended])))[0][0]

    async def import_renders(self, account: str, renders: Sequence[TtsRender]) -> list[Recorded]:
        """(id, whether it is new) of each."""
        return await self._durably(self._records.import_renders(account, renders))

    async def import_conversations(self, account: str, ended: Sequence[EndedConversation]) -> list[Recorded]:
        """(id, whether it is new) of each."""
        return await self._durably(self._records.conversations(account, ended))

    async def put_voice(self, voice: Voice) -> Voice:
        """Add or replace a voice; its ``created_at`` is set here. Raises Conflict if the id is another account's."""
        return await self._durably(self._voices.put(voice))

    async def get_voice(self, voice_id: str) -> Voice | None:
        """The voice, whoever owns it; None when there is none or it was deleted."""
        return self._voices.get(voice_id)

    async def list_voices(self, account: str) -> list[Voice]:
        """An account's voices, newest first."""
        return self._voices.of_account(account)

    async def delete_voice(self, account: str, voice_id: str) -> Voice:
        """The voice as deleted. Raises NotFound, also for another account's."""
        return await self._durably(self._voices.delete(account, voice_id))
