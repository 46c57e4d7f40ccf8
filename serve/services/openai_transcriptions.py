"""Answers of OpenAI's transcription API: the transcript with names of known speakers, at once or as events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from schemas.api.openai_forms import TranscriptionForm
from schemas.api.openai_transcripts import TextDelta, TextDone, TokenUsage, logprobs_of, speaker_segments, text_of
from schemas.domain import Job, Task, Transcript
from schemas.spacing import space_between
from serve.services.awaited_transcriptions import AwaitedTranscriptions, Finished
from serve.services.known_speakers import KnownSpeakers, Reference
from serve.services.speaker_registry import SpeakerRegistry


@dataclass(frozen=True, slots=True)
class ResponseOptions:
    """Options of the response to a transcription."""

    form: TranscriptionForm
    task: Task
    known: Sequence[Reference] = ()
    """Clips of the speakers whose names the client gave."""


@dataclass(frozen=True, slots=True)
class NamedTranscript:
    """A finished transcript, and the names of its known speakers by their numbers."""

    transcript: Transcript
    names: dict[int, str]


class OpenAITranscriptions:
    """The service behind the responses of `/v1/audio/transcriptions` and `/v1/audio/translations`."""

    def __init__(self, awaited: AwaitedTranscriptions, known_speakers: KnownSpeakers, registry: SpeakerRegistry) -> None:
        self._awaited = awaited
        self._known_speakers = known_speakers
        self._registry = registry

    async def known_speakers(self, account: str, form: TranscriptionForm) -> list[Reference]:
        """The voices that were sent, or those of the account with the names that were sent. Raises InvalidParameter."""
        if form.known_speaker_names and not form.known_speaker_references:
            return await self._registry.references(account, form.known_speaker_names)
        return await self._known_speakers.references(form.known_speaker_names, form.known_speaker_references)

    async def finished(self, job: Job, options: ResponseOptions) -> NamedTranscript:
        """The transcript, once the job is completed. Raises as `AwaitedTranscriptions.finished`."""
        return await self._named(await self._awaited.finished(job), options)

    async def events(self, job: Job, options: ResponseOptions) -> AsyncGenerator[BaseModel | None, None]:
        """Text of a recording as its windows are recognised, the rest at the end. Yields None at intervals without news.

        With `diarized_json` each segment is an event, too. Raises as `AwaitedTranscriptions.finished`.
        """
        sent, ended = "", job
        async for text in self._awaited.heard(job):
            if isinstance(text, Job):
                ended = text
                continue
            if not text:
                yield None
                continue
            delta = space_between(sent, text) + text
            sent += delta
            yield TextDelta(delta=delta)
        found = await self._named(await self._awaited.result(ended), options)
        transcript = found.transcript
        # Sent blocks are the beginning of the text, unless simultaneous speakers change the order of words.
        text = text_of(transcript)
        if text.startswith(sent) and (rest := text[len(sent) :]):
            yield TextDelta(delta=rest)
        if options.form.response_format == "diarized_json":
            for segment in speaker_segments(transcript, found.names):
                yield segment
        logprobs = logprobs_of(transcript) if options.form.include else None
        yield TextDone(text=text, logprobs=logprobs, usage=TokenUsage.of(transcript))

    async def _named(self, finished: Finished, options: ResponseOptions) -> NamedTranscript:
        """The transcript, with the names of known speakers if the response has speakers."""
        if options.form.response_format != "diarized_json":
            return NamedTranscript(finished.transcript, {})
        names = await self._known_speakers.names(finished.transcript, finished.job.playback_key, options.known)
        return NamedTranscript(finished.transcript, names)
