"""Names for the speakers of a transcript whose voices are known from reference clips.

The diariser's voiceprints are compared. The threshold is the one that joins speakers of different blocks; docs/engines.md
has its measurement.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from audio.decoding.decoder import Decoder
from lakehouse.storage.objects import Objects
from runtime.scratch import CLIP, scratch_folder
from schemas.domain import SAMPLE_RATE_HZ, Seconds, Span, SpeakerHint, Transcript
from schemas.errors import InvalidParameter
from schemas.settings import Settings
from schemas.speech_engines import ListeningEngines
from serve.engines.diarization.block_linking import SAME_VOICE
from serve.services.request_fields import at_field

Pcm = NDArray[np.int16]
"""``(num_samples,) int16`` at 16 kHz mono."""
Voiceprint = NDArray[np.float32]
"""``(dim,) float32``, L2-normalised."""

SHORTEST_SECS: Final[Seconds] = 1.5
LONGEST_SECS: Final[Seconds] = 30.0
_COMPARED_SECS: Final[Seconds] = 20.0
"""Most speech of a speaker that is compared, taken from the longest turns."""
_LEAST_SECS: Final[Seconds] = 1.0
"""A speaker with less speech than this is not compared."""
_SECOND_VOICE_SHARE: Final = 0.25
"""A second voice counts from this share of a clip's speech."""
_FIELD: Final = "known_speaker_references"


@dataclass(frozen=True, slots=True)
class Reference:
    """A person's name and voice."""

    name: str
    voiceprint: Voiceprint


class KnownSpeakers:
    """Makes voiceprints of reference clips, and finds their speakers in a transcript."""

    def __init__(self, settings: Settings, objects: Objects, engines: ListeningEngines) -> None:
        self._limits = settings.limits
        self._scratch = settings.scratch
        self._objects = objects
        self._engines = engines

    async def references(self, names: Sequence[str], clips: Sequence[str]) -> list[Reference]:
        """Voices from data URLs of recordings, one for each name.

        Raises InvalidParameter for a clip that is no data URL, too short or too long, or has two voices; InvalidAudio for
        one that cannot be decoded.
        """
        found = []
        for number, (name, clip) in enumerate(zip(names, clips, strict=True)):
            field = f"{_FIELD}.{number}"
            found.append((await self.reference(name, _data_of(clip, field), field))[1])
        return found

    async def reference(self, name: str, clip: bytes, field: str) -> tuple[Pcm, Reference]:
        """A person's clip, decoded, and its voice. Raises as `references`, naming ``field``."""
        pcm = await self.decoded(clip, field)
        secs = pcm.size / SAMPLE_RATE_HZ
        if not SHORTEST_SECS <= secs <= LONGEST_SECS:
            raise InvalidParameter(
                f"{field}: the clip is {secs:.1f} s long; send {SHORTEST_SECS:g} to {LONGEST_SECS:g} s", param=field
            )
        await self._check_one_voice(pcm, field)
        return pcm, await self._reference(name, pcm, field)

    async def stored_reference(self, name: str, clip: bytes) -> Reference:
        """The voice of a clip that `reference` accepted before."""
        return await self._reference(name, await self.decoded(clip, "audio"), "audio")

    async def _reference(self, name: str, pcm: Pcm, field: str) -> Reference:
        voiceprint = await self._voiceprint(pcm)
        if voiceprint is None:
            raise InvalidParameter(f"{field}: there is no voice in the clip", param=field)
        return Reference(name, voiceprint)

    async def names(
        self, transcript: Transcript, playback_key: str | None, references: Sequence[Reference]
    ) -> dict[int, str]:
        """Names by speaker; a speaker who matches no reference has no name, and no two speakers get the name of one
        reference.
        """
        if not references or playback_key is None:
            return {}
        recording = await self.decoded(await self._objects.get_bytes(playback_key), "file")
        voices: dict[int, Voiceprint] = {}
        for speaker, spans in _turns_by_speaker(transcript).items():
            pcm = _longest(recording, spans)
            voiceprint = await self._voiceprint(pcm) if pcm.size >= _LEAST_SECS * SAMPLE_RATE_HZ else None
            if voiceprint is not None:
                voices[speaker] = voiceprint
        return matched(voices, references)

    async def _voiceprint(self, pcm: Pcm) -> Voiceprint | None:
        whole = Span(0.0, pcm.size / SAMPLE_RATE_HZ)
        windows = (await self._engines.observe(pcm.tobytes(), [whole], 0.0)).value
        if not len(windows.embeddings):
            return None
        mean = windows.embeddings.mean(axis=0)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), np.float32)

    async def _check_one_voice(self, pcm: Pcm, field: str) -> None:
        whole = Span(0.0, pcm.size / SAMPLE_RATE_HZ)
        windows = (await self._engines.observe(pcm.tobytes(), [whole], 0.0)).value
        turns = (await self._engines.resolve([windows], [whole], SpeakerHint(1, 2))).value
        secs: dict[int, Seconds] = {}
        for turn in turns:
            secs[turn.speaker] = secs.get(turn.speaker, 0.0) + turn.end_secs - turn.start_secs
        if len(secs) > 1 and min(secs.values()) >= max(_LEAST_SECS, _SECOND_VOICE_SHARE * sum(secs.values())):
            raise InvalidParameter(f"{field}: two people speak in the clip; send one of one person", param=field)

    async def decoded(self, content: bytes, field: str) -> Pcm:
        """A recording of the client, decoded in a child with limits. Raises InvalidAudio, naming ``field``."""
        with scratch_folder(self._scratch, CLIP) as folder:
            source, target = folder / "source", folder / "decoded.s16"
            await asyncio.to_thread(source.write_bytes, content)
            with at_field(field):
                async with Decoder(self._limits) as decoder:
                    await decoder.decode(source, target, strict=False)
            return await asyncio.to_thread(np.fromfile, target, "<i2")


def matched(voices: dict[int, Voiceprint], references: Sequence[Reference]) -> dict[int, str]:
    """Names by speaker, by the assignment with the greatest sum of cosines; pairs below the threshold are left out."""
    if not voices or not references:
        return {}
    speakers = sorted(voices)
    cosines = np.stack([voices[s] for s in speakers]) @ np.stack([r.voiceprint for r in references]).T
    rows, columns = linear_sum_assignment(cosines, maximize=True)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return {speakers[row]: references[col].name for row, col in pairs if cosines[row, col] >= SAME_VOICE}


def _turns_by_speaker(transcript: Transcript) -> dict[int, list[Span]]:
    """Where each speaker speaks alone; the utterances where the diariser gave no turns."""
    found: dict[int, list[Span]] = {}
    for part in transcript.turns or transcript.segments:
        if not getattr(part, "overlap", False):
            found.setdefault(part.speaker, []).append(Span(part.start_secs, part.end_secs))
    return found


def _longest(recording: Pcm, spans: Sequence[Span]) -> Pcm:
    """The longest spans one after another, 20 s at most."""
    pieces: list[Pcm] = []
    left = round(_COMPARED_SECS * SAMPLE_RATE_HZ)
    for span in sorted(spans, key=lambda span: -span.duration_secs):
        first = round(span.start_secs * SAMPLE_RATE_HZ)
        piece = recording[first : min(round(span.end_secs * SAMPLE_RATE_HZ), first + left)]
        pieces.append(piece)
        left -= piece.size
        if left <= 0:
            break
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)


def _data_of(url: str, field: str) -> bytes:
    """The bytes of a data URL (RFC 2397) in base64. Raises InvalidParameter."""
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        raise InvalidParameter(f"{field}: send a data URL, as data:audio/wav;base64,…", param=field)
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidParameter(f"{field}: the data URL is no base64", param=field) from None
