"""Transcribes several recordings concurrently: upload, wait, fetch the result. A failure does not stop the others."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from cli.transcribe_inputs import Source
from clients.public import Client, Interrupted, Target, Upload
from schemas.api.transcription import SegmentBody, TurnBody, WarningBody
from schemas.domain import AS_SPOKEN, JobStatus, RecognizeOptions, SpeakerHint
from schemas.errors import FluxionsError

_POLL_FIRST_SECS = 0.2
_POLL_MAX_SECS = 5.0
# A proxy that is replaced answers again within tens of seconds; a submitted job is worth waiting for.
_PATIENCE_SECS = 120.0
_JOIN_SECS = 5.0


@dataclass(frozen=True, slots=True)
class TranscribeOptions:
    """Options of every recording."""

    non_speech: bool = False
    cache: bool = True
    words: bool = False
    speakers: SpeakerHint = field(default_factory=SpeakerHint)
    recognize: RecognizeOptions = AS_SPOKEN
    strict: bool = False
    audio_track: int | None = None
    redact: bool = False
    """Whether personal data is removed from the transcript and silenced in the playback copy."""

    @property
    def parameters(self) -> dict[str, Any]:
        """Query parameters of `/submit`."""
        asked: dict[str, Any] = {"non_speech": _flag(self.non_speech), "cache": _flag(self.cache)}
        if self.speakers.least > 1:
            asked["min_speakers"] = self.speakers.least
        if self.speakers.most is not None:
            asked["max_speakers"] = self.speakers.most
        recognize = self.recognize
        if recognize.language is not None:
            asked["language"] = recognize.language
        if recognize.prompt:
            asked["prompt"] = recognize.prompt
        if recognize.keyterms:
            asked["keyterms"] = list(recognize.keyterms)
        if recognize.task != "transcribe":
            asked["task"] = recognize.task
        if self.strict:
            asked["strict"] = _flag(self.strict)
        if self.audio_track is not None:
            asked["audio_track"] = self.audio_track
        if self.redact:
            asked |= {"redact": "pii", "redact_audio": "true"}
        return asked


class Answer(BaseModel):
    """The fields of a transcription that this program uses; all others are passed on unchanged."""

    id: int
    status: JobStatus
    text: str | None = None
    segments: list[SegmentBody] = []
    turns: list[TurnBody] = []
    language: str | None = None
    audio_duration: float | None = None
    warnings: list[WarningBody] = []
    error_message: str | None = None


@dataclass(frozen=True, slots=True)
class TranscribeResult:
    """A finished job: the server's JSON as it came, and the parsed part."""

    source: Source
    raw: dict[str, Any]
    body: Answer


class ProgressDisplay:
    """One line of progress per recording on stderr, if that is a terminal."""

    def __init__(self) -> None:
        columns = (
            # Names may contain brackets, which Rich would read as markup.
            TextColumn("{task.description}", markup=False),
            BarColumn(24),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
        )
        # By default Rich redirects stdout to its console, here stderr; results must stay on stdout.
        self._progress = Progress(
            *columns,
            console=Console(stderr=True),
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not sys.stderr.isatty(),
            transient=True,
        )

    def start(self) -> None:
        """Show the lines."""
        self._progress.start()

    def stop(self) -> None:
        """Remove the lines from the terminal."""
        self._progress.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hide the lines within the block, so that a result can be printed."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def line(self, label: str) -> Iterator[TaskID]:
        """Add a line for a recording, with the status of one that waits."""
        task = self._progress.add_task(label, total=None, status="waiting")
        try:
            yield task
        finally:
            self._progress.remove_task(task)

    def uploading(self, task: TaskID, upload: Upload) -> Iterator[bytes]:
        """The chunks of an upload; counts them as they are sent."""
        self._progress.update(task, total=upload.size_bytes, completed=0, status="uploading")
        for chunk in upload.chunks:
            yield chunk
            self._progress.advance(task, len(chunk))

    def status(self, task: TaskID, status: str) -> None:
        """Show another status."""
        self._progress.update(task, status=status)


class TranscribeBatch:
    """``with TranscribeBatch(...) as batch: for done in batch.results(sources)``; leaving the block stops unfinished work.

    Threads are daemons, so that a server that never answers does not block Ctrl-C.
    """

    def __init__(self, target: Target, options: TranscribeOptions, jobs: int) -> None:
        self._stop = threading.Event()
        self._client = Client(target, patience_secs=_PATIENCE_SECS, stop=self._stop)
        self._wishes = options
        self._jobs = jobs
        self._threads: list[threading.Thread] = []
        self.display = ProgressDisplay()
        self.unfinished: set[int] = set()

    def __enter__(self) -> TranscribeBatch:
        self.display.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(_JOIN_SECS)
        self._client.close()
        self.display.stop()

    def results(self, sources: Sequence[Source]) -> Iterator[tuple[Source, TranscribeResult | FluxionsError]]:
        """Each source with its result or its error, in the order of ``sources``, as soon as possible."""
        waiting: queue.SimpleQueue[tuple[Source, Future[TranscribeResult]]] = queue.SimpleQueue()
        futures: list[tuple[Source, Future[TranscribeResult]]] = [(source, Future()) for source in sources]
        for item in futures:
            waiting.put(item)
        for _ in range(min(self._jobs, len(futures))):
            thread = threading.Thread(target=self._work, args=(waiting,), daemon=True)
            self._threads.append(thread)
            thread.start()
        for source, future in futures:
            try:
                yield source, future.result()
            except FluxionsError as error:
                yield source, error

    def _work(self, waiting: queue.SimpleQueue[tuple[Source, Future[TranscribeResult]]]) -> None:
        while not self._stop.is_set():
            try:
                source, future = waiting.get_nowait()
            except queue.Empty:
                return
            # The future must get a result in any case, because the main thread waits for it.
            try:
                with self.display.line(source.label) as task:
                    done = self._transcribe(source, task)
            except (FluxionsError, Interrupted) as error:
                future.set_exception(error)
            except OSError as error:
                future.set_exception(FluxionsError(f"cannot read {source.label}: {error.strerror}", code="unreadable_file"))
            except ValidationError:
                future.set_exception(FluxionsError("the server's answer is no transcription", code="unexpected_answer"))
            except BaseException as error:
                why = f"{source.label} could not be sent: {type(error).__name__}: {error}"
                future.set_exception(FluxionsError(why, code="client_failure"))
            else:
                future.set_result(done)

    def _transcribe(self, source: Source, task: TaskID) -> TranscribeResult:
        """Raises FluxionsError with the server's message when the job fails, Interrupted when the user stops."""

        @contextmanager
        def opened() -> Iterator[Upload]:
            with source.open() as upload:
                yield replace(upload, chunks=self._unless_stopped(self.display.uploading(task, upload)))

        job = self._client.submit(opened, filename=source.filename, **self._wishes.parameters)
        job_id = Answer.model_validate(job).id
        self.unfinished.add(job_id)
        pause_secs = _POLL_FIRST_SECS
        while True:
            raw = self._client.get(f"/transcriptions/{job_id}", word_level_timestamps=_flag(self._wishes.words))
            body = Answer.model_validate(raw)
            if body.status.is_final:
                break
            self.display.status(task, body.status.value)
            self._client.wait(pause_secs)
            pause_secs = min(pause_secs * 1.5, _POLL_MAX_SECS)
        self.unfinished.discard(job_id)
        if body.status is not JobStatus.COMPLETED:
            why = body.error_message or f"the job ended as {body.status.value}"
            raise FluxionsError(f"{why} (transcription {job_id})", code="transcription_failed")
        return TranscribeResult(source, raw, body)

    def _unless_stopped(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if self._stop.is_set():
                raise Interrupted
            yield chunk


def _flag(value: bool) -> str:
    return "true" if value else "false"
