"""Archives on the whole product: parts killed -9 while a run is under way, the same command again, every file once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from schemas.domain import SAMPLE_RATE_HZ
from tests.e2e import recordings
from tests.e2e import stack as stacks
from tests.support import archive_kit, speech
from tests.support.processes import started

pytestmark = pytest.mark.e2e

GOOD = 60
SHORT_TEXTS = ("the old man walked", "she opened the window", "the children played", "he left the room")
LONGEST_SECS = 240.0
"""Far more than a run takes, on a machine that has other things to do."""
SMALL = {"FLUXIONS_ARCHIVE_WORKERS": "2", "FLUXIONS_ARCHIVE_BATCH_FILES": "10"}
IN_BLOCKS = {"FLUXIONS_LONG_FILE_SECS": "12", "FLUXIONS_BLOCK_SECS": "10", "FLUXIONS_BLOCKS_AT_ONCE": "1"}


class Command:
    """One ``fluxions archive run`` as an operator starts it, with its flow and its Dask workers."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def flow(self) -> psutil.Process:
        (found,) = _children(psutil.Process(self.process.pid), "flows.archives.program run")
        return found

    def dask_workers(self) -> list[psutil.Process]:
        return archive_kit.dask_workers(self.flow().pid)

    def end(self) -> tuple[int, str, str]:
        """Its exit code, and what it wrote to stdout and stderr."""
        out, err = self.process.communicate(timeout=LONGEST_SECS)
        return self.process.returncode, out, err


@contextmanager
def archive_run(stack: stacks.Stack, source: Path, account: str, **settings: str) -> Iterator[Command]:
    program = str(Path(sys.executable).parent / "fluxions")
    argv = [program, "archive", "run", str(source), "--account", account, "--home", str(stack.home), "--json"]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("FLUXIONS_", "PREFECT_"))}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with started(argv, env=env | SMALL | settings, stop_secs=60, text=True, **pipes) as process:
        yield Command(process)


def _children(parent: psutil.Process, text: str) -> list[psutil.Process]:
    found = []
    for child in parent.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if text in " ".join(child.cmdline()):
                found.append(child)
    return found


class Operator:
    """What the operator API and history say, through restarts of the gateway."""

    def __init__(self, stack: stacks.Stack, account: str) -> None:
        self.http = stack.client(stack.key("operator"))
        made = self.http.post("/operator/keys", json={"account": account, "name": "archives"}).raise_for_status().json()
        self.owner = stack.client(made["key"])

    def __enter__(self) -> Operator:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        self.owner.close()

    def counts(self, source: Path) -> dict[str, Any]:
        """Of the run of ``source``; nothing while it is not there, or the gateway away."""
        try:
            runs = self.http.get("/operator/archives").raise_for_status().json()["archives"]
        except (httpx.HTTPError, ValueError):
            return {}
        return next((dict(run["counts"]) for run in runs if run["source"] == str(source)), {})

    def reaches(self, source: Path, completed: int) -> None:
        stacks.until(lambda: self.counts(source).get("completed", 0) >= completed, f"{completed} files", LONGEST_SECS)

    def files(self, archive_id: int, status: str) -> list[dict[str, Any]]:
        answer = self.http.get(f"/operator/archives/{archive_id}/files", params={"status": status, "limit": 1000})
        return list(answer.raise_for_status().json()["files"])

    def history(self) -> list[dict[str, Any]]:
        answer = self.owner.get("/transcriptions", params={"limit": 100})
        return list(answer.raise_for_status().json()["transcriptions"])


def plant(folder: Path) -> tuple[Path, dict[str, str]]:
    """A manifest of ``GOOD`` recordings and of bad rows among them; also where the bad ones are, and why they are bad."""
    folder.mkdir()
    rows = ["path,shelf,strict"]
    expected: dict[str, str] = {}

    def bad(name: str, content: bytes | None, reason: str) -> None:
        if content is not None:
            (folder / name).write_bytes(content)
        rows.append(f"{name},bad,true")
        expected[f"line {len(rows)}: {folder / name}"] = reason

    for number in range(GOOD):
        name = f"call-{number:02}.wav"
        (folder / name).write_bytes(_short(number))
        rows.append(f"{name},{number % 7},")
        if number == 5:
            bad("notes.mp3", b"these are the calls of May, and no sound at all\n" * 20, "not_audio")
        if number == 20:
            bad("cut.wav", recordings.sentence(0)[:9000], "truncated_audio")
        if number == 35:
            bad("empty.wav", b"", "empty_audio")
            bad("gone.wav", None, "no_such_file")
    manifest = folder / "calls.csv"
    rows.append("call-03.wav,twice,")
    expected[f"line {len(rows)}: {manifest}"] = "duplicate_path"
    manifest.write_text("\n".join(rows) + "\n")
    return manifest, expected


def _short(number: int) -> bytes:
    """A second or two of speech; ``number`` makes the bytes unique."""
    samples = speech.say(SHORT_TEXTS[number % len(SHORT_TEXTS)])
    return recordings.wav(samples + speech.noise(samples.size / SAMPLE_RATE_HZ, 1e-3, number)[: samples.size])


def test_an_archive_survives_the_death_of_all_its_parts_and_every_file_is_in_history_once(
    stack: stacks.Stack, tmp_path: Path
) -> None:
    manifest, expected = plant(tmp_path / "calls")
    with Operator(stack, "sixty") as operator:
        with archive_run(stack, manifest, "sixty") as first:
            operator.reaches(manifest, 6)
            first.dask_workers()[0].kill()
            operator.reaches(manifest, operator.counts(manifest)["completed"] + 10)
            family = [*first.dask_workers(), *archive_kit.dask_forkserver(first.flow().pid)]
            first.flow().kill()
            code, _, said = first.end()
            assert code == 1
            assert "the run ended unexpectedly" in said
            assert not psutil.wait_procs(family, LONGEST_SECS)[1]
        finished = operator.counts(manifest)["completed"]
        assert finished < GOOD
        with archive_run(stack, manifest, "sixty") as second:
            operator.reaches(manifest, finished + 5)
            killed = stack.kill_one("Gateway")
            code, out, said = second.end()
        assert code == 1, said  # Files have failed.
        stacks.until(lambda: any(p.pid != killed.pid for p in stack.processes("Gateway")), "a new gateway")
        report = json.loads(out)
        assert report["archive"]["status"] == "completed"
        archive_id = report["archive"]["id"]
        bad = [*operator.files(archive_id, "failed"), *operator.files(archive_id, "skipped")]
        assert {one["location"]: one["reason"] for one in bad} == expected, bad
        assert len(bad) == len(expected)
        assert all(one["message"] for one in bad)
        assert (report["archive"]["counts"]["completed"], report["archive"]["counts"]["cached"]) == (GOOD, 0)

        done = operator.history()
        good = [f"call-{number:02}.wav" for number in range(GOOD)]
        assert sorted(one["filename"] for one in done if one["status"] == "completed") == good
        # What began like a recording came to work, and is in history as a transcription that failed.
        assert [one["filename"] for one in done if one["status"] != "completed"] == ["cut.wav"]

        with archive_run(stack, manifest, "sixty") as third:
            _, out, _ = third.end()
        again = json.loads(out)["archive"]
        assert again["counts"] == report["archive"]["counts"]
        assert [(one["id"], one["status"]) for one in operator.history()] == [(one["id"], one["status"]) for one in done]


def test_a_long_file_continues_after_a_worker_kill_without_repeating_finished_blocks(
    stack: stacks.Stack, tmp_path: Path
) -> None:
    (tmp_path / "talks").mkdir()
    (tmp_path / "talks" / "talk.wav").write_bytes(recordings.long(45, seed=77))
    with Operator(stack, "talks") as operator:
        before = _kept(stack)

        def heard() -> dict[str, int]:
            return {name: at for name, at in _kept(stack).items() if name not in before}

        with archive_run(stack, tmp_path / "talks", "talks", **IN_BLOCKS) as command:
            stacks.until(lambda: len(heard()) >= 2, "two finished blocks", LONGEST_SECS)
            busy = next(one for one in command.dask_workers() if _has_open(one, "decoded.s16"))
            busy.kill()
            busy.wait(LONGEST_SECS)
            finished = heard()
            code, out, said = command.end()
        assert code == 0, said
        blocks = heard()
        assert len(blocks) >= len(finished) + 2
        # The result of a block that is heard again is written again.
        assert {name: blocks[name] for name in finished} == finished
        assert json.loads(out)["archive"]["counts"]["completed"] == 1
        (done,) = operator.history()
        assert (done["filename"], done["status"]) == ("talk.wav", "completed")


def _has_open(process: psutil.Process, name: str) -> bool:
    return any(Path(file.path).name == name for file in process.open_files())


def _kept(stack: stacks.Stack) -> dict[str, int]:
    """When each kept result of a block was written, in ns. It counts once its key, which is written after it, names it."""
    folder, kept = stack.home / "blocks", {}
    for key in (folder / "keys").glob("*"):
        with suppress(ValueError):  # half written
            json.loads(key.read_text())
            kept[key.name] = (folder / "results" / key.name).stat().st_mtime_ns
    return kept
