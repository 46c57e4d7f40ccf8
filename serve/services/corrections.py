"""Corrections of transcripts by their users: words and names of speakers, stored beside the engine's text, which is not
changed.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from lakehouse.storage.objects import Objects
from lakehouse.storage.result_objects import corrections_key
from schemas.api.corrections import CorrectedWord, CorrectionsBody, CorrectionsChange
from schemas.domain import Job, Transcript
from schemas.errors import Conflict, InvalidParameter, NotFound
from schemas.times import iso
from serve.services.transcriptions import Transcriptions

MOST_WORDS: Final = 20_000
"""Corrected words of one transcript."""


class Corrections:
    """The service behind `/transcriptions/{id}/corrections`.

    If two changes are based on the same revision, one is refused, also when they reach different gateways.
    """

    def __init__(self, objects: Objects, transcriptions: Transcriptions) -> None:
        self._objects = objects
        self._transcriptions = transcriptions

    async def of(self, job: Job) -> CorrectionsBody:
        """The newest corrections; revision 0 for a transcript that nobody has corrected.

        Raises Conflict before it is completed.
        """
        try:
            return _parsed(await self._objects.get_bytes(self._key(job)))
        except NotFound:
            return _parsed(None)

    async def change(self, job: Job, change: CorrectionsChange) -> CorrectionsBody:
        """Make the next revision. An empty text or name takes a correction back.

        Raises Conflict where ``change`` is based on an older revision, InvalidParameter for a word, segment or speaker
        that the transcript does not have.
        """
        transcript = await self._transcriptions.transcript(job)
        key = self._key(job)
        assert transcript is not None  # noqa: S101 - a result key is that of a completed job
        _check(change, transcript)

        def next_revision(stored: bytes | None) -> bytes:
            return _applied(_parsed(stored), change).model_dump_json().encode()

        return _parsed(await self._objects.change(key, next_revision))

    @staticmethod
    def _key(job: Job) -> str:
        if job.result_key is None:
            raise Conflict(f"transcription {job.id} is {job.status.value}; it has no transcript", code="not_completed")
        return corrections_key(job.result_key)


def _check(change: CorrectionsChange, transcript: Transcript) -> None:
    known = {str(segment.speaker) for segment in transcript.segments}
    for speaker in change.speakers:
        if speaker not in known:
            raise InvalidParameter(f"speakers: there is no speaker {speaker[:20]!r} in this transcript", param="speakers")
    for index, word in enumerate(change.words):
        at = f"words[{index}]"
        if word.segment >= len(transcript.segments):
            raise InvalidParameter(f"{at}.segment: the transcript has {len(transcript.segments)} segments", param=at)
        words = len(transcript.segments[word.segment].words)
        if word.word >= words:
            raise InvalidParameter(f"{at}.word: segment {word.segment} has {words} words", param=at)


def _parsed(stored: bytes | None) -> CorrectionsBody:
    """Corrections as they are stored; revision 0 where there are none."""
    if stored is None:
        return CorrectionsBody(revision=0, updated_at=None, speakers={}, words=[])
    return CorrectionsBody.model_validate_json(stored)


def _applied(now: CorrectionsBody, change: CorrectionsChange) -> CorrectionsBody:
    """The next revision. Raises Conflict for a change of an older one, InvalidParameter for too many words."""
    if change.revision != now.revision:
        raise Conflict(
            f"revision: {change.revision} is not the newest, which is {now.revision}; read it and try again",
            code="not_newest",
            param="revision",
        )
    speakers = {**now.speakers, **{speaker: name.strip() for speaker, name in change.speakers.items()}}
    words = {(word.segment, word.word): word.text for word in now.words}
    words |= {(word.segment, word.word): word.text.strip() for word in change.words}
    kept = [CorrectedWord(segment=s, word=w, text=text) for (s, w), text in sorted(words.items()) if text]
    if len(kept) > MOST_WORDS:
        raise InvalidParameter(f"words: at most {MOST_WORDS} words of a transcript are corrected", param="words")
    return CorrectionsBody(
        revision=now.revision + 1,
        updated_at=iso(dt.datetime.now(dt.UTC)),
        speakers={speaker: name for speaker, name in sorted(speakers.items()) if name},
        words=kept,
    )
