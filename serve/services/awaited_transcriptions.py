"""Transcriptions that a client waits for, over the same durable jobs as `/submit`.

A client that disconnects finds its transcription in history.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

from schemas.api.options import PROMPT_MAX_CHARS
from schemas.domain import Job, JobOptions, JobStatus, RecognizeOptions, Transcript
from schemas.errors import Conflict, EngineFailure, InvalidAudio, InvalidParameter, NotFound
from schemas.spacing import join_words
from schemas.speech_engines import Engines
from serve.services.recognize_options import check_supported
from serve.services.transcriptions import Submission, Transcriptions

_KEPT_SHARE: Final = 0.75
"""Share of a prompt's words that is kept when it is too long; the end is kept, because it directly precedes the
recording.
"""


@dataclass(frozen=True, slots=True)
class Finished:
    """A completed job and its result."""

    job: Job
    transcript: Transcript


class AwaitedTranscriptions:
    """The service behind `/v1/audio/transcriptions` and `/v1/audio/translations`."""

    def __init__(self, transcriptions: Transcriptions, engines: Engines, max_attempts: int) -> None:
        self._transcriptions = transcriptions
        self._engines = engines
        self._max_attempts = max_attempts

    async def begin(self, submission: Submission, chunks: AsyncIterator[bytes]) -> Job:
        """Store the recording and create its job, or join an unfinished job with the same bytes and options.

        A prompt over the recogniser's limit loses its beginning. Raises as `Transcriptions.submit` does.
        """
        recognize = await self._with_fitting_prompt(submission.options.recognize)
        options: JobOptions = replace(submission.options, recognize=recognize)
        return await self._transcriptions.submit(replace(submission, options=options, join=True), chunks)

    async def finished(self, job: Job) -> Finished:
        """The completed job with its transcript, once it is there.

        Raises InvalidAudio where the recording cannot be transcribed, EngineFailure where every attempt failed, Conflict
        for a job that was cancelled or deleted meanwhile.
        """
        ended = job
        async for heard in self.heard(job):
            if isinstance(heard, Job):
                ended = heard
        return await self.result(ended)

    async def heard(self, job: Job) -> AsyncGenerator[str | Job, None]:
        """Text of a recording as its windows are recognised, with an empty text at intervals without news.

        The last item is the job in its final state. Raises Conflict for a job that is deleted meanwhile.
        """
        if job.status.is_final:
            yield job
            return
        try:
            async with aclosing(self._transcriptions.follow(job.account, job.id)) as following:
                async for seen in following:
                    for segments in seen.watched.blocks:
                        yield join_words(segment.text for segment in segments)
                    if seen.watched.ended is not None:
                        yield seen.watched.ended
                    elif not seen.watched.blocks:
                        yield ""
        except NotFound:
            raise _deleted(job.id) from None

    async def result(self, ended: Job) -> Finished:
        """The result of a job that is over. Raises as `finished` does."""
        try:
            found = await self._transcriptions.transcript(ended)
        except NotFound:
            await self._refuse_deleted(ended)
            raise
        if found is not None:
            return Finished(ended, found)
        if ended.status is JobStatus.FAILED:
            message = f"{ended.error_message or 'the recording could not be transcribed'} (transcription {ended.id})"
            # A defect of the recording fails the job at once. Any other failure is retried until no attempt is left.
            if ended.attempt < self._max_attempts:
                raise InvalidAudio(message, param="file")
            raise EngineFailure(message, code="transcription_failed")
        raise Conflict(f"transcription {ended.id} was {ended.status.value} before it was done", code="cancelled")

    async def _refuse_deleted(self, job: Job) -> None:
        """Raises Conflict for a job that was deleted."""
        try:
            await self._transcriptions.get(job.account, job.id)
        except NotFound:
            raise _deleted(job.id) from None

    async def _with_fitting_prompt(self, options: RecognizeOptions) -> RecognizeOptions:
        if len(options.prompt) > PROMPT_MAX_CHARS:
            options = replace(options, prompt=options.prompt[-PROMPT_MAX_CHARS:].partition(" ")[2])
        while options.prompt:
            try:
                await check_supported(self._engines, options)
            except InvalidParameter as error:
                if error.param != "prompt":
                    raise
                words = options.prompt.split()
                options = replace(options, prompt=" ".join(words[len(words) - int(len(words) * _KEPT_SHARE) :]))
            else:
                break
        return options


def _deleted(job_id: int) -> Conflict:
    return Conflict(f"transcription {job_id} was deleted before it was done", code="deleted")
