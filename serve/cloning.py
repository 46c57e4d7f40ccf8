"""Cloned voices: a reference clip is decoded, heard, matched and kept, with its speaker's consent where there is one."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from audio.decode import Decoder
from audio.encode import encode
from audio.pcm import to_float, to_int16
from audio.resample import Resampler
from lakehouse.objects import Objects, account_folder
from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ, Seconds, Voice
from schemas.errors import InvalidAudio, InvalidParameter
from schemas.settings import Settings
from serve.prompts import Prompts
from serve.speech import OWN_PREFIX

if TYPE_CHECKING:
    from serve.gateway.services import Engines, LedgerClient

Pcm = NDArray[np.int16]

_FRAME_SAMPLES: Final = SPEECH_RATE_HZ * 2 // 25
"""A frame of a reference: 12.5 a second."""
_QUIET_SECS: Final = 0.05
_MOST_CHARS_PER_SEC: Final = 40.0
"""Twice what the fastest speakers say."""


@dataclass(frozen=True, slots=True)
class Clip:
    """What a client sent for a voice; paths are of its files as they came. ``text`` is None where ours is wanted."""

    audio: Path
    name: str
    text: str | None = None
    consent: Path | None = None
    consent_statement: str | None = None


class Cloning:
    """The service behind `/vui/v1/voices`."""

    def __init__(self, settings: Settings, ledger: LedgerClient, objects: Objects, engines: Engines) -> None:
        self._settings = settings.speech
        self._limits = settings.limits.model_copy(update={"max_audio_secs": settings.speech.clone_max_secs})
        self._utterance_secs = settings.engines.utterance_max_secs
        self._prompts = Prompts(settings, objects)
        self._ledger = ledger
        self._objects = objects
        self._engines = engines

    async def clone(self, account: str, clip: Clip) -> Voice:
        """A voice of this account's own; the same clip gives the same id, and what was there is replaced.

        Raises InvalidAudio for a clip that is no recording, silent, too short or without a voice; InvalidParameter where
        consent is missing and required.
        """
        self._check_consent(clip)
        reference, consent = await self._decoded(clip)
        voice_id = _voice_id(account, reference)
        profile, similarity, revision = await self._engines.match_voice(reference.tobytes(), voice_id)
        text = clip.text or await self._transcript(await asyncio.to_thread(_at_listening_rate, reference))
        parameters: dict[str, Any] = {"profile": profile.to_json()}
        if similarity is not None:
            parameters["similarity"] = round(similarity, 4)
        if self._prompts.longest_secs:
            parameters["prompt"] = await self._prompt(reference, text)
        folder = f"voices/{account_folder(account)}"
        reference_key = f"{folder}/{voice_id}.wav"
        consent_key = f"{folder}/{voice_id}.consent.wav" if consent is not None else None
        await self._objects.put_bytes(reference_key, encode(reference, "wav", SPEECH_RATE_HZ))
        if consent is not None and consent_key is not None:
            await self._objects.put_bytes(consent_key, encode(consent, "wav", SPEECH_RATE_HZ))
        return await self._ledger.put_voice(
            Voice(
                id=voice_id,
                account=account,
                name=clip.name,
                text=text,
                frames=-(-reference.size // _FRAME_SAMPLES),
                seconds=reference.size / SPEECH_RATE_HZ,
                reference_key=reference_key,
                parameters=parameters,
                engine_revision=revision,
                consent_statement=clip.consent_statement,
                consent_key=consent_key,
            )
        )

    async def delete(self, account: str, voice_id: str) -> None:
        """The voice, its clip and its consent. Raises NotFound, also for another account's."""
        deleted = await self._ledger.delete_voice(account, voice_id)
        for key in (deleted.reference_key, deleted.consent_key):
            if key:
                await self._objects.delete(key)

    def _check_consent(self, clip: Clip) -> None:
        if not self._settings.require_consent:
            return
        for field, given in (("consent", clip.consent), ("consent_statement", clip.consent_statement)):
            if not given:
                raise InvalidParameter(
                    f"{field}: a voice is cloned here only with its speaker's recorded consent and what it says",
                    code="consent_required",
                    param=field,
                )

    async def _decoded(self, clip: Clip) -> tuple[Pcm, Pcm | None]:
        """Clip and consent as ``(num_samples,) int16`` at 24 kHz mono, each decoded in a child with limits."""
        with TemporaryDirectory(prefix="fluxions-clip-") as folder:
            target = Path(folder) / "decoded.s16"
            async with Decoder(self._limits) as decoder:
                found: list[Pcm] = []
                for source in (clip.audio, clip.consent):
                    if source is not None:
                        await decoder.decode(source, target, SPEECH_RATE_HZ)
                        found.append(np.fromfile(target, "<i2"))
        return found[0], found[1] if len(found) > 1 else None

    async def _prompt(self, reference: Pcm, text: str) -> dict[str, Any]:
        """How much of the clip's beginning an engine speaks on from, and what is said in it: the words that came with a
        clip that is taken whole, else what our recogniser hears.

        Raises InvalidParameter for words that nobody says in that time, InvalidAudio where no word is heard.
        """
        secs = reference.size / SPEECH_RATE_HZ
        if secs <= self._prompts.longest_secs:
            if len(text) > _MOST_CHARS_PER_SEC * secs:
                raise InvalidParameter(
                    f"text: {len(text)} characters are more than anybody says in the clip's {secs:.1f} s",
                    code="text_too_long",
                    param="text",
                )
            return {"secs": secs, "text": text}
        listened = await asyncio.to_thread(_at_listening_rate, reference)
        beginning = utterances(listened, self._prompts.longest_secs)[0]
        return {"secs": beginning.size / SAMPLE_RATE_HZ, "text": await self._transcript(beginning)}

    async def _transcript(self, listened: Pcm) -> str:
        """What our recogniser hears in ``(num_samples,) int16`` at 16 kHz. Raises InvalidAudio where it hears no word."""
        pieces = utterances(listened, self._utterance_secs)
        heard = await asyncio.gather(*(self._engines.recognize(piece.tobytes()) for piece in pieces))
        words = [word.text for recognition in heard for word in recognition.words]
        if not words:
            raise InvalidAudio(
                "no word was heard in the reference clip; send a clearer one, or its transcript as `text`",
                code="no_words",
                param="audio",
            )
        return " ".join(words)


def utterances(samples: Pcm, max_secs: Seconds) -> list[Pcm]:
    """``(num_samples,) int16`` at 16 kHz in pieces of at most ``max_secs``, cut where their later half is quietest."""
    most, hop = int(max_secs * SAMPLE_RATE_HZ), round(_QUIET_SECS * SAMPLE_RATE_HZ)
    pieces: list[Pcm] = []
    while samples.size > most:
        half = samples[most // 2 : most]
        frames = half[: half.size // hop * hop].reshape(-1, hop).astype(np.float64)
        cut = most // 2 + (int(np.argmin(np.square(frames).sum(axis=1))) * hop + hop // 2)
        pieces.append(samples[:cut])
        samples = samples[cut:]
    return [*pieces, samples]


def _at_listening_rate(reference: Pcm) -> Pcm:
    resampler = Resampler(SAMPLE_RATE_HZ)
    return to_int16(np.concatenate((resampler.feed(to_float(reference), SPEECH_RATE_HZ), resampler.finish())))


def _voice_id(account: str, reference: Pcm) -> str:
    owner = hashlib.sha256(account.encode()).hexdigest()[:12]
    return f"{OWN_PREFIX}{owner}-{hashlib.sha256(reference.tobytes()).hexdigest()[:8]}"
