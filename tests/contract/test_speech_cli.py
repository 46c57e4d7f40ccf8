"""`fluxions say` and `fluxions voices` against the gateway behind a real server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click
import pytest

from cli.main import main
from cli.output import FAILED, OK
from tests.contract.gateway import USER_KEY, Running
from tests.contract.speaking import assert_is_speech, pcm_of, served

pytestmark = pytest.mark.contract


async def _run(gateway: Running, *arguments: str) -> int:
    async with served(gateway) as address:
        options = ["--url", f"http://{address}", "--key", USER_KEY]
        return await asyncio.to_thread(main, [*arguments, *options])


def _left(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.is_file()]


async def test_a_text_becomes_a_file_of_the_kind_its_name_says(gateway: Running, tmp_path: Path) -> None:
    wav, flac = tmp_path / "a.wav", tmp_path / "a.flac"
    assert await _run(gateway, "say", "Good morning to you all.", "-o", str(wav), "--no-verify") == OK
    assert_is_speech(pcm_of(wav.read_bytes()), 0.8, 4)
    assert await _run(gateway, "say", "Good morning.", "-o", str(flac), "--voice", "harry", "--no-verify") == OK
    assert flac.read_bytes()[:4] == b"fLaC"


async def test_text_that_cannot_be_rendered_leaves_no_file_and_an_error(
    gateway: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "a.wav"
    assert await _run(gateway, "say", "Hello.", "-o", str(target), "--voice", "nobody") == FAILED
    assert "nobody" in capsys.readouterr().err
    assert await _run(gateway, "say", "Hello.", "-o", str(tmp_path / "a.doc")) == click.UsageError.exit_code
    assert await _run(gateway, "say", "Hello.", "-o", str(target), "--play") == click.UsageError.exit_code
    assert _left(tmp_path) == []


async def test_voices_are_listed_and_a_stranger_is_not_deleted(
    gateway: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await _run(gateway, "voices", "list", "--json") == OK
    listed = json.loads(capsys.readouterr().out)
    assert "maeve.h736bab09a" in {voice["voice_id"] for voice in listed["voices"]}
    assert listed["mine"] == []
    assert await _run(gateway, "voices", "delete", "u-no-body") == FAILED
    assert "u-no-body" in capsys.readouterr().err
