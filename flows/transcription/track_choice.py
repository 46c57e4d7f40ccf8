"""The first stage: a recording as 16 kHz mono, of the audio track that holds the speech."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from audio.decoding.decoder import Decoded
from audio.level import leveled
from audio.pcm import PcmFile
from audio.segmentation import speech_for_pauses
from audio.vad import VoiceActivity
from flows.transcription.context import RecordingDecoder
from schemas.domain import Seconds, TranscriptWarning

MOST_TRACKS: Final = 16
"""Audio tracks of which the one with most speech is sought."""
LEAST_SPEECH_SECS: Final[Seconds] = 0.5
"""A track with less speech is left for one that has more."""


@dataclass(frozen=True, slots=True)
class DecodedRecording:
    """A decoded audio track. ``audio_track`` is its number, None where the recording has only one."""

    pcm: PcmFile
    warnings: tuple[TranscriptWarning, ...]
    audio_track: int | None


async def decode(
    decoder: RecordingDecoder,
    voice_activity: VoiceActivity,
    source: Path,
    folder: Path,
    *,
    strict: bool,
    audio_track: int | None = None,
) -> DecodedRecording:
    """A recording's track ``audio_track`` in ``folder``; None takes the default one, and where the file flags none, or
    that one holds no speech, the one with most speech. Raises InvalidAudio, Unavailable.
    """
    target = folder / "decoded.s16"
    decoded = await decoder.decode(source, target, strict=strict, audio_track=audio_track)
    if decoded.audio_tracks == 1 or audio_track is not None:
        return _recording(target, decoded)
    speech = await asyncio.to_thread(_speech_secs, voice_activity, target, folder)
    if decoded.default_track is not None and speech >= LEAST_SPEECH_SECS:
        return _recording(target, decoded)
    other = folder / "other.s16"
    for track in range(min(decoded.audio_tracks, MOST_TRACKS)):
        if track == decoded.audio_track:
            continue
        found = await decoder.decode(source, other, strict=strict, audio_track=track)
        spoken = await asyncio.to_thread(_speech_secs, voice_activity, other, folder)
        if spoken > speech + LEAST_SPEECH_SECS:
            decoded, speech = found, spoken
            other.replace(target)
    other.unlink(missing_ok=True)
    return _recording(target, decoded)


def _recording(target: Path, decoded: Decoded) -> DecodedRecording:
    return DecodedRecording(PcmFile(target), decoded.warnings, decoded.audio_track if decoded.audio_tracks > 1 else None)


def _speech_secs(voice_activity: VoiceActivity, path: Path, folder: Path) -> Seconds:
    pcm = leveled(PcmFile(path), folder / "leveled.s16")
    spans = speech_for_pauses(voice_activity.probabilities(pcm), pcm.duration_secs)
    return sum(span.duration_secs for span in spans)
