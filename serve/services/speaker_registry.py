"""Known speakers of an account: their names and reference clips, by which transcripts can name them.

Names are applied when a transcript is read, so no transcript names a deleted speaker.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from audio.encode import encode
from lakehouse.ledger.interface import ItemLedger
from lakehouse.storage.objects import Objects, account_folder
from schemas.domain import SAMPLE_RATE_HZ, Job, Transcript
from schemas.errors import InvalidParameter
from schemas.records import Speaker
from serve.services.known_speakers import KnownSpeakers, Reference

_CACHED: Final = 1000


@dataclass(frozen=True, slots=True)
class SpeakerClip:
    """The request of a client for a new speaker. Paths name the files as they were sent."""

    name: str
    clip: Path
    consent: Path | None = None
    consent_statement: str | None = None


class SpeakerRegistry:
    """The service behind `/v1/speakers`."""

    def __init__(
        self, ledger: ItemLedger[Speaker], objects: Objects, voices: KnownSpeakers, *, require_consent: bool
    ) -> None:
        self._ledger = ledger
        self._objects = objects
        self._voices = voices
        self._require_consent = require_consent
        self._references: dict[str, Reference] = {}
        """Voiceprints by speaker id, oldest first; they are not stored."""

    async def add(self, account: str, sent: SpeakerClip) -> Speaker:
        """Add a speaker.

        Raises InvalidParameter for a missing consent where it is required, and for a clip that is too short, too long or
        has two voices; InvalidAudio for one that cannot be decoded; Conflict for a name that is taken, or too many.
        """
        self._check_consent(sent)
        await self._ledger.check_room(account)
        pcm, reference = await self._voices.reference(sent.name, sent.clip.read_bytes(), "audio")
        consent = None if sent.consent is None else await self._voices.decoded(sent.consent.read_bytes(), "consent")
        speaker_id = f"spk_{uuid.uuid4().hex}"
        stem = f"voices/{account_folder(account)}/{speaker_id}"
        reference_key, consent_key = f"{stem}.wav", None if consent is None else f"{stem}.consent.wav"
        speaker = Speaker(
            id=speaker_id,
            account=account,
            name=sent.name,
            reference_key=reference_key,
            seconds=round(pcm.size / SAMPLE_RATE_HZ, 3),
            consent_statement=sent.consent_statement,
            consent_key=consent_key,
        )
        await self._objects.put_bytes(reference_key, encode(pcm, "wav", SAMPLE_RATE_HZ))
        if consent is not None and consent_key is not None:
            await self._objects.put_bytes(consent_key, encode(consent, "wav", SAMPLE_RATE_HZ))
        made = await self._ledger.put(speaker)
        self._remember(made.id, reference)
        return made

    async def delete(self, account: str, speaker_id: str) -> None:
        """Delete a speaker with clip, consent and voiceprint. Raises NotFound."""
        gone = await self._ledger.delete(account, speaker_id)
        self._references.pop(gone.id, None)

    async def names(self, job: Job, transcript: Transcript) -> dict[int, str]:
        """Names of the transcript's speakers that the job's account knows."""
        return await self._voices.names(transcript, job.playback_key, await self.references(job.account))

    async def references(self, account: str, names: Collection[str] | None = None) -> list[Reference]:
        """Voices of the account's speakers, or of those with ``names``. Raises InvalidParameter for an unknown name."""
        own = await self._ledger.of_account(account)
        if names is not None:
            known = {speaker.name: speaker for speaker in own}
            if missing := [name for name in names if name not in known]:
                raise InvalidParameter(
                    f"known_speaker_names: there is no speaker {missing[0][:100]!r} in your account; add it with "
                    "POST /v1/speakers, or send a reference for each name",
                    param="known_speaker_names",
                )
            own = [known[name] for name in names]
        return [await self._reference(speaker) for speaker in own]

    async def _reference(self, speaker: Speaker) -> Reference:
        found = self._references.get(speaker.id)
        if found is None:
            clip = await self._objects.get_bytes(speaker.reference_key)
            found = await self._voices.stored_reference(speaker.name, clip)
            self._remember(speaker.id, found)
        return found

    def _remember(self, speaker_id: str, reference: Reference) -> None:
        self._references[speaker_id] = reference
        while len(self._references) > _CACHED:
            self._references.pop(next(iter(self._references)))

    def _check_consent(self, sent: SpeakerClip) -> None:
        if not self._require_consent:
            return
        for field, given in (("consent", sent.consent), ("consent_statement", sent.consent_statement)):
            if not given:
                raise InvalidParameter(
                    f"{field}: a voice is stored here only with its speaker's recorded consent and what it says",
                    code="consent_required",
                    param=field,
                )
