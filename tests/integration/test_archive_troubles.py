"""Archives in trouble: engines that fail for a while, files that failed before, a source that goes away meanwhile."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from schemas.settings import JobSettings
from tests.e2e import recordings
from tests.integration.test_archive_flow import asked, at_least, counts, flow, history, platform, reasons
from tests.integration.test_long_files import Instance

pytestmark = pytest.mark.integration

RECOGNIZE = "/operator/recognize"
_LONG_AGO = "Thu, 01 Jan 2026 00:00:00 GMT"


def calls(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """An order for a folder of ``count`` recordings of one utterance each."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{seed}-{number:02}.wav").write_bytes(recordings.sentence(number % 4, seed=seed + number))
    return {"source": str(folder)}


def notes(folder: Path) -> Path:
    """A folder of files that are no recordings."""
    folder.mkdir()
    (folder / "notes.txt").write_text("these are the calls of May")
    (folder / "calls.m3u8").write_text("#EXTM3U\ncall.wav\n")
    (folder / "empty.wav").touch()
    os.mkfifo(folder / "pipe.wav")
    return folder


async def run(here: Instance, request: dict[str, Any], **changes: str) -> None:
    async with flow(here, "run", request, **changes) as process:
        await process.events()
    assert process.process.returncode == 0, (here.home / "archive.log").read_text()[-2000:]


async def test_engine_failures_are_retried_and_final_ones_only_on_request(tmp_path: Path) -> None:
    request = calls(tmp_path / "calls", 3, seed=0)
    hopeless = calls(tmp_path / "more", 2, seed=50)
    async with platform(tmp_path) as here:
        with here.prefect():
            # Two of its files fail once, and are done by the same run, each once.
            here.failing[RECOGNIZE] = 2
            await run(here, request)
            assert (await counts(here))["completed"] == 3
            assert here.asked[RECOGNIZE] == 3 + 2
            assert len(await history(here)) == 3

            # As often as any job is tried, each of these fails.
            here.asked.clear()
            here.failing[RECOGNIZE] = 1000
            await run(here, hopeless)
            found = await counts(here)
            assert (found["completed"], found["failed"]) == (0, 2)
            assert here.asked[RECOGNIZE] == 2 * JobSettings().max_attempts

            # Running it again leaves them; being asked to, it tries them again.
            here.failing.clear()
            here.asked.clear()
            await run(here, hopeless)
            assert (here.asked[RECOGNIZE], (await counts(here))["failed"]) == (0, 2)
            await run(here, hopeless | {"retry_failed": True})
            found = await counts(here)
            assert (here.asked[RECOGNIZE], found["completed"], found["failed"]) == (2, 2, 0)
            assert sorted(Counter(one["filename"] for one in await history(here)).values()) == [1] * 5

            # A folder without a recording has ended as well, and says why.
            await run(here, {"source": str(notes(tmp_path / "notes"))})
            (newest, *_) = (await asked(here, "/operator/archives"))["archives"]
            assert (newest["status"], newest["counts"]["skipped"], newest["counts"]["failed"]) == ("completed", 4, 0)
            told = (await asked(here, f"/operator/archives/{newest['id']}/report"))["failures"]
            assert {(one["status"], one["reason"]) for one in told} == {
                ("skipped", reason) for reason in ("empty_audio", "not_a_file", "not_audio", "playlist")
            }


class Store(ThreadingHTTPServer):
    """An S3 store of one bucket that lists its objects in pages of two; ``broken``: all pages but the first are cut off."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Asked)
        self.objects, self.broken = objects, True


class _Asked(BaseHTTPRequestHandler):
    server: Store

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if "list-type" in query:
            self._answer(self._page(int(query.get("continuation-token", ["0"])[0])))
        else:
            self._answer(self.server.objects[url.path.rpartition("/")[2]])

    do_HEAD = do_GET  # noqa: N815 - the base class calls it so

    def log_message(self, *_: object) -> None:
        pass

    def _page(self, first: int) -> bytes:
        names = sorted(self.server.objects)
        said = "".join(
            f"<Contents><Key>{name}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;{name}&quot;</ETag>"
            f"<Size>{len(self.server.objects[name])}</Size></Contents>"
            for name in names[first : first + 2]
        )
        more = first + 2 < len(names)
        if more:
            said += f"<NextContinuationToken>{first + 2}</NextContinuationToken>"
        page = f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{said}</ListBucketResult>".encode()
        return page[: len(page) // 2] if first and self.server.broken else page

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        for name, value in (("Content-Length", str(len(body))), ("ETag", '"1"'), ("Last-Modified", _LONG_AGO)):
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@contextmanager
def store(objects: dict[str, bytes]) -> Iterator[Store]:
    with Store(objects) as serving:
        thread = threading.Thread(target=serving.serve_forever, daemon=True)
        thread.start()
        try:
            yield serving
        finally:
            serving.shutdown()
            thread.join(20)


async def test_a_listing_that_breaks_off_fails_no_file(tmp_path: Path) -> None:
    objects = {f"{number}.wav": recordings.sentence(number % 4, seed=200 + number) for number in range(4)}
    async with platform(tmp_path) as here:
        with here.prefect(), store(objects) as bucket:
            access = {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{bucket.server_port}",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_REGION": "us-east-1",
                "AWS_ALLOW_HTTP": "true",
            }
            async with flow(here, "run", {"source": "s3://calls/"}, **access) as process:
                said = await process.events()
            assert process.process.returncode == 1
            assert "bucket calls cannot be read just now" in said[-1]["message"], said
            assert await reasons(here) == {}  # What was not listed has not failed.

            bucket.broken = False
            await run(here, {"source": "s3://calls/"}, **access)
            assert sorted(one["filename"] for one in await history(here)) == sorted(objects)
            assert here.asked[RECOGNIZE] == 4


async def test_a_source_that_disappears_is_reported_file_by_file(tmp_path: Path) -> None:
    request = calls(tmp_path / "calls", 16, seed=100)
    async with platform(tmp_path) as here:
        with here.prefect():
            small = {"FLUXIONS_ARCHIVE_BATCH_FILES": "2", "FLUXIONS_ARCHIVE_FILES_AT_ONCE": "1"}
            async with flow(here, "run", request, **small) as process:
                await at_least(here, "completed", 1)
                (tmp_path / "calls").rename(tmp_path / "elsewhere")
                await process.events()
            assert process.process.returncode == 0
            done, why = (await counts(here))["completed"], await reasons(here)
            assert set(why.values()) <= {"no_such_file"}
            assert 1 <= done < 16
            assert done + len(why) == 16
            assert len(await history(here)) == done

            # It comes back, and what was missing is done.
            (tmp_path / "elsewhere").rename(tmp_path / "calls")
            await run(here, request | {"retry_failed": True})
            assert (await counts(here))["completed"] == 16
            assert await reasons(here) == {}
            assert len((await asked(here, "/operator/archives/1/files", status="completed"))["files"]) == 16
