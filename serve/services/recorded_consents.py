"""Checks and stores recorded consents to voice cloning."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np

from audio.decoding.decoder import Decoder
from audio.encode import encode
from lakehouse.ledger.interface import ItemLedger
from lakehouse.storage.objects import Objects, account_folder
from runtime.scratch import CLIP, scratch_folder
from schemas.domain import SPEECH_RATE_HZ
from schemas.errors import InvalidAudio
from schemas.records import VoiceConsent
from schemas.settings import Settings
from serve.services.request_fields import at_field
from serve.services.voice_cloning import Clip

_SHORTEST_SECS = 1.0


class RecordedConsents:
    """The service behind `/v1/audio/voice_consents`."""

    def __init__(self, settings: Settings, ledger: ItemLedger[VoiceConsent], objects: Objects) -> None:
        self._limits = settings.limits
        self._scratch = settings.scratch
        self._ledger = ledger
        self._objects = objects

    async def add(self, account: str, name: str, language: str, recording: Path) -> VoiceConsent:
        """Store a consent.

        Raises InvalidAudio unless ``recording`` is audio of at least 1 s, Conflict for an account that has too many.
        """
        await self._ledger.check_room(account)
        with scratch_folder(self._scratch, CLIP) as folder:
            target = folder / "decoded.s16"
            with at_field("recording"):
                async with Decoder(self._limits) as decoder:
                    await decoder.decode(recording, target, SPEECH_RATE_HZ)
            pcm = np.fromfile(target, "<i2")
        secs = pcm.size / SPEECH_RATE_HZ
        if secs < _SHORTEST_SECS:
            raise InvalidAudio(
                f"recording: {secs:.1f} s are too short to say that one agrees", code="too_short", param="recording"
            )
        consent_id = f"cons_{uuid.uuid4().hex}"
        key = f"voices/{account_folder(account)}/{consent_id}.wav"
        await self._objects.put_bytes(key, encode(pcm, "wav", SPEECH_RATE_HZ))
        return await self._ledger.put(VoiceConsent(consent_id, account, name, language, key, secs))

    async def rename(self, account: str, consent_id: str, name: str) -> VoiceConsent:
        """The consent under another name. Raises NotFound."""
        return await self._ledger.put(replace(await self._ledger.get(account, consent_id), name=name))

    async def delete(self, account: str, consent_id: str) -> None:
        """Delete a consent with its recording; voices created with it keep their copies. Raises NotFound."""
        await self._ledger.delete(account, consent_id)

    async def page(self, account: str, after: str | None, limit: int) -> tuple[list[VoiceConsent], bool]:
        """At most ``limit`` consents that follow the one with id ``after``, newest first, and whether there are more.

        Raises NotFound for an unknown ``after``.
        """
        found = await self._ledger.of_account(account)
        if after is not None:
            with at_field("after"):
                found = found[found.index(await self._ledger.get(account, after)) + 1 :]
        return found[:limit], len(found) > limit

    async def attached(self, clip: Clip, account: str, consent_id: str, folder: Path) -> Clip:
        """``clip`` with a recorded consent, whose recording is written to ``folder``. Raises NotFound."""
        with at_field("consent"):
            found = await self._ledger.get(account, consent_id)
        path = folder / "consent"
        await asyncio.to_thread(path.write_bytes, await self._objects.get_bytes(found.recording_key))
        statement = f"recorded consent {found.id}: {found.name} ({found.language})"
        return replace(clip, consent=path, consent_statement=statement)
