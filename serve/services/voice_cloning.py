"""Cloned voices: a reference clip is decoded, transcribed, matched and stored, with its speaker's consent if there is one.

How similar the voice is depends on the synthesiser (`serve.engines.tts.voice_matching`).
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from audio.decoding.decoder import Decoder
from audio.encode import encode
from audio.pcm import to_float, to_int16
from audio.resample import Resampler
from lakehouse.ledger.interface import ItemLedger
from lakehouse.storage.objects import Objects, account_folder
from runtime.scratch import CLIP, scratch_folder
from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ, Recognition, Seconds
from schemas.errors import InvalidAudio, InvalidParameter
from schemas.records import Voice
from schemas.settings import Settings
from schemas.spacing import join_words
from schemas.speech_engines import Engines
from serve.engines.registry import describe_slot
from serve.engines.tts.reference_clip import usable
from serve.services.request_fields import at_field
from serve.services.speech import OWN_PREFIX
from serve.services.voice_prompts import Prompts

Pcm = NDArray[np.int16]

_FRAME_SAMPLES: Final = SPEECH_RATE_HZ * 2 // 25
"""Samples of a frame of the reference clip; 12.5 frames a second."""
_QUIET_SECS: Final = 0.05
_MOST_CHARS_PER_SEC: Final = 40.0
"""Most characters a second of a clip's text: twice the rate of the fastest speakers."""


@dataclass(frozen=True, slots=True)
class Clip:
    """The request of a client for a new voice.

    Paths name the files as they were sent. ``text`` is None if it must be recognised. ``audio_field`` is the field of the
    request that ``audio`` came in.
    """

    audio: Path
    name: str
    text: str | None = None
    consent: Path | None = None
    consent_statement: str | None = None
    audio_field: str = "audio"


class Cloning:
    """The service behind `/vui/v1/voices`."""

    def __init__(self, settings: Settings, voices: ItemLedger[Voice], objects: Objects, engines: Engines) -> None:
        self._settings = settings.speech
        self._limits = settings.limits.model_copy(update={"max_audio_secs": settings.speech.clone_max_secs})
        self._utterance_secs = settings.engines.utterance_max_secs
        self._prompts = Prompts(settings, objects)
        self._voices = voices
        self._all_settings = settings
        self._objects = objects
        self._engines = engines

    @cached_property
    def _languages(self) -> tuple[str, ...]:
        """Languages of the synthesiser. Raises Unavailable."""
        return tuple(describe_slot(self._all_settings, "synthesizer").capabilities["languages"])

    async def clone(self, account: str, clip: Clip) -> Voice:
        """Make a voice of this account. The same clip gives the same id and replaces the earlier voice.

        Raises InvalidAudio for a clip that is no recording, silent, too short or without a voice; InvalidParameter where
        consent is missing and required; Conflict for an account that has too many voices.
        """
        self._check_consent(clip)
        reference, consent = await self._decoded(clip)
        voice_id = _voice_id(account, reference)
        await self._check_room(account, voice_id)
        # Matching takes up to a minute, so all checks of the clip come first.
        with at_field(clip.audio_field):
            await asyncio.to_thread(usable, to_float(reference))
            text, language = await self._words(reference, clip.text)
            profile, similarity, revision = await self._engines.match_voice(reference.tobytes(), voice_id)
        profile = replace(profile, language=spoken_language(language, profile.language, self._languages))
        parameters: dict[str, Any] = {"profile": profile.to_json()}
        if similarity is not None:
            parameters["similarity"] = round(similarity, 4)
        if self._prompts.longest_secs:
            with at_field(clip.audio_field):
                parameters["prompt"] = await self._prompt(reference, text)
        # Each clone has its own objects, so erasing those of a deleted, replaced or refused voice harms no other clone of
        # the same clip.
        stem = f"voices/{account_folder(account)}/{voice_id}-{uuid.uuid4().hex}"
        reference_key = f"{stem}.wav"
        consent_key = f"{stem}.consent.wav" if consent is not None else None
        await self._objects.put_bytes(reference_key, encode(reference, "wav", SPEECH_RATE_HZ))
        if consent is not None and consent_key is not None:
            await self._objects.put_bytes(consent_key, encode(consent, "wav", SPEECH_RATE_HZ))
        return await self._voices.put(
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

    async def _check_room(self, account: str, voice_id: str) -> None:
        """Raises Conflict for an account that has too many voices. One that it has already may be replaced."""
        if all(voice.id != voice_id for voice in await self._voices.of_account(account)):
            await self._voices.check_room(account)

    async def delete(self, account: str, voice_id: str) -> None:
        """Delete the voice, its clip and its consent. Raises NotFound, also for another account's voice."""
        await self._voices.delete(account, voice_id)

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
        with scratch_folder(self._all_settings.scratch, CLIP) as folder:
            target = folder / "decoded.s16"
            async with Decoder(self._limits) as decoder:
                found: list[Pcm] = []
                for source, field in ((clip.audio, clip.audio_field), (clip.consent, "consent")):
                    if source is not None:
                        with at_field(field):
                            await decoder.decode(source, target, SPEECH_RATE_HZ)
                        found.append(np.fromfile(target, "<i2"))
        return found[0], found[1] if len(found) > 1 else None

    async def _prompt(self, reference: Pcm, text: str) -> dict[str, Any]:
        """The length of the prompt, which begins with the clip, and its text: ``text`` if the whole clip is the prompt,
        else what is recognised in it.

        Raises InvalidParameter for a text too long for that time, InvalidAudio where no word is recognised.
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

    async def _words(self, reference: Pcm, text: str | None) -> tuple[str, str | None]:
        """``text``, or without it the words recognised in the clip; and their language as an ISO 639-1 code, if the
        synthesiser speaks more than one language and the recogniser detects the language.
        """
        if text and len(self._languages) == 1:
            return text, None
        pieces = utterances(await asyncio.to_thread(_at_listening_rate, reference), self._utterance_secs)
        heard = await self._recognized(pieces[:1] if text else pieces)
        return text or _text(heard), heard[0].language

    async def _transcript(self, listened: Pcm) -> str:
        """The words recognised in ``(num_samples,) int16`` at 16 kHz. Raises InvalidAudio if there are none."""
        return _text(await self._recognized(utterances(listened, self._utterance_secs)))

    async def _recognized(self, pieces: list[Pcm]) -> list[Recognition]:
        return await asyncio.gather(*(self._engines.recognize(piece.tobytes()) for piece in pieces))


def spoken_language(heard: str | None, matched: str, spoken: Sequence[str]) -> str:
    """The language a matched voice is to speak: the one ``heard`` in its clip (ISO 639-1) if the synthesiser has it among
    ``spoken``, else as ``matched``. All but ``heard`` are BCP 47 tags, lower-case."""
    if heard is None or _primary(matched) == heard:
        return matched
    return next((tag for tag in spoken if _primary(tag) == heard), matched)


def _primary(tag: str) -> str:
    return tag.partition("-")[0]


def _text(heard: Sequence[Recognition]) -> str:
    """The words as text. Raises InvalidAudio if there are none."""
    words = [word.text for recognition in heard for word in recognition.words]
    if not words:
        raise InvalidAudio(
            "no word was heard in the reference clip; send a clearer one, or its transcript as `text`",
            code="no_words",
            param="audio",
        )
    return join_words(words)


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
