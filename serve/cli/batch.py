"""Several recordings on their way through the server at once: upload, wait, collect; one failure never stops the others."""

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

from schemas.api.transcription import SegmentBody
from schemas.domain import JobStatus, SpeakerHint
from schemas.errors import FluxionsError
from serve.cli.client import Client, Interrupted, Target, Upload
from serve.cli.sources import Source

_POLL_FIRST_SECS = 0.2
_POLL_MAX_SECS = 5.0
# A proxy that is replaced answers again within tens of seconds; a job in hand is worth the wait.
_PATIENCE_SECS = 120.0
_JOIN_SECS = 5.0


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked of every recording."""

    non_speech: bool = False
    cache: bool = True
    words: bool = False
    speakers: SpeakerHint = field(default_factory=SpeakerHint)

    @property
    def parameters(self) -> dict[str, Any]:
        """What `/submit` is asked."""
        asked: dict[str, Any] = {"non_speech": _flag(self.non_speech), "cache": _flag(self.cache)}
        if self.speakers.least > 1:
            asked["min_speakers"] = self.speakers.least
        if self.speakers.most is not None:
            asked["max_speakers"] = self.speakers.most
        return asked


class Answer(BaseModel):
    """The part of a transcription that this program understands; what else a server tells is passed on as it is."""

    id: int
    status: JobStatus
    text: str | None = None
    segments: list[SegmentBody] = []
    error_message: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """A finished job: the server's very JSON, and what is understood of it."""

    source: Source
    raw: dict[str, Any]
    body: Answer


class Board:
    """One progress line a recording, on stderr, where that is a terminal; nothing elsewhere."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(24),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
        )
        # Rich would send stdout to its own console, which is stderr: results must stay where the user put them.
        self._progress = Progress(
            *columns,
            console=Console(stderr=True),
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not sys.stderr.isatty(),
            transient=True,
        )

    def start(self) -> None:
        self._progress.start()

    def stop(self) -> None:
        self._progress.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Room for a result on the same terminal."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def add(self, label: str) -> TaskID:
        return self._progress.add_task(label, total=None, status="waiting")

    def uploading(self, task: TaskID, upload: Upload) -> Iterator[bytes]:
        """The upload's chunks, counted as they leave."""
        self._progress.update(task, total=upload.size_bytes, completed=0, status="uploading")
        for chunk in upload.chunks:
            yield chunk
            self._progress.advance(task, len(chunk))

    def status(self, task: TaskID, status: str) -> None:
        self._progress.update(task, status=status)

    def remove(self, task: TaskID) -> None:
        self._progress.remove_task(task)


class Batch:
    """``with Batch(...) as batch: for done in batch.results(sources)``; leaving the block stops what still runs.

    Threads are daemons: an answer that never comes must not hold the user's Ctrl-C.
    """

    def __init__(self, target: Target, wishes: Wishes, jobs: int) -> None:
        self._stop = threading.Event()
        self._client = Client(target, patience_secs=_PATIENCE_SECS, stop=self._stop)
        self._wishes = wishes
        self._jobs = jobs
        self._threads: list[threading.Thread] = []
        self.board = Board()
        self.unfinished: set[int] = set()

    def __enter__(self) -> Batch:
        self.board.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(_JOIN_SECS)
        self._client.close()
        self.board.stop()

    def results(self, sources: Sequence[Source]) -> Iterator[tuple[Source, Done | FluxionsError]]:
        """Each source with its result or its error, in the order given, as soon as that order allows."""
        waiting: queue.SimpleQueue[tuple[Source, Future[Done]]] = queue.SimpleQueue()
        futures: list[tuple[Source, Future[Done]]] = [(source, Future()) for source in sources]
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

    def _work(self, waiting: queue.SimpleQueue[tuple[Source, Future[Done]]]) -> None:
        while not self._stop.is_set():
            try:
                source, future = waiting.get_nowait()
            except queue.Empty:
                return
            task = self.board.add(source.label)
            try:
                future.set_result(self._transcribe(source, task))
            except OSError as error:
                future.set_exception(FluxionsError(f"cannot read {source.label}: {error.strerror}", code="unreadable_file"))
            except ValidationError:
                future.set_exception(FluxionsError("the server's answer is no transcription", code="unexpected_answer"))
            except Exception as error:
                future.set_exception(error)
            finally:
                self.board.remove(task)

    def _transcribe(self, source: Source, task: TaskID) -> Done:
        """Raises FluxionsError with the server's words when the job fails, Interrupted when the user stops."""

        @contextmanager
        def opened() -> Iterator[Upload]:
            with source.open() as upload:
                yield replace(upload, chunks=self._unless_stopped(self.board.uploading(task, upload)))

        job = self._client.submit(opened, filename=source.filename, **self._wishes.parameters)
        job_id = Answer.model_validate(job).id
        self.unfinished.add(job_id)
        pause_secs = _POLL_FIRST_SECS
        while True:
            raw = self._client.get(f"/transcriptions/{job_id}", word_level_timestamps=_flag(self._wishes.words))
            body = Answer.model_validate(raw)
            if body.status.is_final:
                break
            self.board.status(task, body.status.value)
            self._client.wait(pause_secs)
            pause_secs = min(pause_secs * 1.5, _POLL_MAX_SECS)
        self.unfinished.discard(job_id)
        if body.status is not JobStatus.COMPLETED:
            why = body.error_message or f"the job ended as {body.status.value}"
            raise FluxionsError(f"{why} (transcription {job_id})", code="transcription_failed")
        return Done(source, raw, body)

    def _unless_stopped(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if self._stop.is_set():
                raise Interrupted
            yield chunk


def _flag(value: bool) -> str:
    return "true" if value else "false"
