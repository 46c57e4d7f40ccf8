"""Helpers of archive tests: different recordings, files of a run, and a worker on a ledger."""

from __future__ import annotations

import hashlib
import io
import wave
from dataclasses import replace

import psutil

from lakehouse.ledger.ledger import Ledger
from lakehouse.storage.objects import Objects
from lakehouse.storage.result_objects import lease_key, put_result
from schemas.archives import Archive, ArchiveKind, BeginState, Begun, FileEnd, NewArchive, SourceFile
from schemas.domain import Outcome, Transcript, Word
from tests.support.lakehouse_kit import REVISION, transcript

RUN = NewArchive("ada", "summer", "/recordings")
AGAIN = NewArchive("ada", "again", "where true", ArchiveKind.REPROCESS)
NEWER = "engines-2"


def wav(content: str) -> bytes:
    """A short recording, different for each ``content``."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(hashlib.sha256(content.encode()).digest() * 100)
    return target.getvalue()


def source(name: str, content: str | None = None, *, account: str = "ada") -> SourceFile:
    data = wav(name if content is None else content)
    return SourceFile(
        key=f"/recordings/{name}.wav",
        version=hashlib.md5(data, usedforsecurity=False).hexdigest(),
        location=f"/recordings/{name}.wav",
        account=account,
        filename=f"{name}.wav",
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        metadata='{"shelf": "3"}',
    )


def again(job_id: int, like: SourceFile) -> SourceFile:
    """A source file that reprocesses the transcription ``job_id``."""
    return replace(like, key=f"transcription/{job_id}", version="", transcription_id=job_id)


def said(text: str, revision: str = REVISION, speakers: int = 1) -> Transcript:
    """``text`` in one segment, a word every half second."""
    words = tuple(Word(word, 0.5 * n, 0.5 * n + 0.4) for n, word in enumerate(text.split()))
    segment = replace(transcript().segments[0], text=text, words=words, start_secs=0.0, end_secs=0.5 * len(words))
    return replace(transcript(), text=text, segments=(segment,), engine_revision=revision, num_speakers=speakers)


class Worker:
    """Begins and ends files on a ledger in this process, as gateway and flow do together."""

    def __init__(self, ledger: Ledger, objects: Objects, archive: Archive, name: str = "w") -> None:
        self.ledger = ledger
        self.objects = objects
        self.archive = archive
        self.name = name

    async def begin(
        self, *files: SourceFile, revision: str = REVISION, retry_failed: bool = False, stored: bool = True
    ) -> list[Begun]:
        have = [stored] * len(files)
        return await self.ledger.archives.begin_files(self.archive.id, self.name, files, have, revision, retry_failed)

    async def end(self, begun: Begun, text: str, revision: str = REVISION, speakers: int = 1) -> FileEnd:
        """The end of a leased file, its result in the store."""
        assert begun.lease is not None
        (job,) = await self.ledger.archives.leased_files(self.archive.id, [(begun.lease.job_id, begun.lease.lease)])
        result = said(text, revision, speakers)
        key = lease_key(job, begun.lease.lease)  # type: ignore[arg-type]
        await put_result(self.objects, key, result)
        return FileEnd(begun.lease.job_id, begun.lease.lease, Outcome.of(result, key, None), result)

    async def transcribe(self, file: SourceFile, text: str, revision: str = REVISION, speakers: int = 1) -> int:
        """Begin and finish a file; returns the id of its transcription."""
        (begun,) = await self.begin(file, revision=revision)
        assert begun.state is BeginState.LEASED
        (outcome,) = await self.ledger.archives.finish_files(
            self.archive.id, [await self.end(begun, text, revision, speakers)]
        )
        assert outcome.error is None
        return outcome.job_id


def dask_forkserver(flow: int) -> list[psutil.Process]:
    """The process that the Dask workers of the archive flow with this process id are forked from, where it has one."""
    return [one for one in psutil.Process(flow).children() if "multiprocessing.forkserver" in " ".join(one.cmdline())]


def dask_workers(flow: int) -> list[psutil.Process]:
    return [worker for server in dask_forkserver(flow) for worker in server.children()]
