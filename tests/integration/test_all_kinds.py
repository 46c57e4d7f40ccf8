"""A folder of all kinds at once, through the command line, the gateway and a worker: each comes out as its table says."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.contract.gateway import USER_KEY
from tests.integration.test_long_files import instance
from tests.support.processes import started_async

pytestmark = pytest.mark.integration

CASES = Path(__file__).resolve().parents[1] / "data" / "cases"
TABLE: dict[str, dict[str, Any]] = json.loads((CASES / "table.json").read_text())
LATIN = os.fsdecode(b"caf\xe9 [note].3gp")


async def transcribed(folder: Path, port: int) -> tuple[dict[str, Any], str]:
    """Results by file name, and what was said beside them."""
    env = {**os.environ, "FLUXIONS_URL": f"http://127.0.0.1:{port}", "FLUXIONS_API_KEY": USER_KEY}
    command = (sys.executable, "-m", "cli.main", "transcribe", str(folder), "--json", "--words", "--language", "en")
    pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
    async with started_async(*command, env=env, **pipes) as program, asyncio.timeout(280):
        out, err = await program.communicate()
    lines = [json.loads(line) for line in out.decode().splitlines()]
    return {Path(line["source"]).name: line for line in lines}, err.decode()


def problems(name: str, right: dict[str, Any], found: dict[str, Any], said: str) -> list[str]:
    """What differs from the table."""
    if "refused" in right:
        about = [line for line in said.splitlines() if f"/{name}: " in line]
        told = found.get("error", {}).get("message", " ".join(about))
        return [] if right["refused"] in told and "segments" not in found else [f"{name}: not refused, {found or about}"]
    wrong = []
    text = str(found.get("text", found.get("error"))).lower()
    if not re.search(r"\b.*\b".join(right["words"]), text):
        wrong.append(f"{name}: {text}")
    if [w["code"] for w in found.get("warnings", [])] != right["warnings"]:
        wrong.append(f"{name}: warnings {found.get('warnings')}")
    if found.get("audio_track") != right.get("audio_track"):
        wrong.append(f"{name}: audio track {found.get('audio_track')}")
    words = [word for segment in found.get("segments", []) for word in segment["words"]]
    second = next((word["start"] for word in words if "thank" in word["word"].lower()), -1.0)
    if abs(second - right["second_sentence_secs"]) > 0.3:
        wrong.append(f"{name}: its second sentence begins at {second}, not {right['second_sentence_secs']}")
    return wrong


@pytest.mark.timeout(330)
async def test_a_folder_of_all_kinds_comes_out_as_its_table_says(tmp_path: Path) -> None:
    folder = tmp_path / "all kinds"
    shutil.copytree(CASES, folder)
    # A name that not every system can hold.
    shutil.move(folder / "note.3gp", folder / LATIN)
    (home := tmp_path / "home").mkdir()
    async with instance(home) as here:
        await here.gateway.services.engines.recognizer()
        with here.worker():
            found, said = await transcribed(folder, here.port)
    table = {("café [note].3gp" if name == "note.3gp" else name): right for name, right in TABLE.items()}
    wrong = [line for name, right in table.items() for line in problems(name, right, found.get(name, {}), said)]
    assert wrong == [], "\n".join([*wrong, said[-2000:]])
    assert len(table) > 25
