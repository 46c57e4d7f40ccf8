"""Renders are kept after they end: many in one commit, long ones while they go on, and rows even where the store fails."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import av
import numpy as np
import polars as pl
import psutil
import pytest
from deltalake import DeltaTable

from lakehouse.ledger.ledger import Ledger
from lakehouse.storage.location import Location
from lakehouse.storage.objects import Objects
from schemas.domain import SPEECH_RATE_HZ
from schemas.records import TtsRender
from serve.services.render_recorder import RenderRecorder
from tests.support.lakehouse_kit import home

pytestmark = pytest.mark.integration

ROW = TtsRender("ada", "maeve.h736bab09a", "Good morning.", 13, 1.0, 0.0, None, "test-1", 0.9)
MODULE = "serve.services.opus_encoder_process"
SECOND = (8000 * np.sin(2 * np.pi * 220 * np.arange(SPEECH_RATE_HZ) / SPEECH_RATE_HZ)).astype("<i2").tobytes()


def kept(tmp_path: Path, scenario: Callable[[RenderRecorder], Awaitable[None]]) -> tuple[pl.DataFrame, list[float], int]:
    """Rows after ``scenario`` and a drain, how many seconds each copy plays, and how often the table was written."""
    settings = home(tmp_path)

    async def run() -> list[float]:
        objects = Objects.of(settings)
        ledger = await Ledger.open(settings)
        try:
            recorder = RenderRecorder(objects, ledger.records)
            await scenario(recorder)
            await recorder.drain(20)
        finally:
            await ledger.close()
        copies = [await objects.get_bytes(key) async for key, _ in objects.list("renders")]
        return [_playing_secs(copy) for copy in copies]

    lengths = asyncio.run(asyncio.wait_for(run(), 60))
    table = DeltaTable(f"{settings.storage_url}/tables/tts_renders")
    writes = [entry["operation"] for entry in table.history()].count("WRITE")
    return pl.read_delta(table.table_uri), lengths, writes


def _playing_secs(copy: bytes) -> float:
    with av.open(io.BytesIO(copy), "r") as container:
        return float(container.duration or 0) / 1e6


def test_renders_that_end_together_share_a_commit_and_each_has_its_copy(tmp_path: Path) -> None:
    async def scenario(recorder: RenderRecorder) -> None:
        for _ in range(8):
            copy = recorder.open()
            await copy.add(SECOND)
            await copy.add(SECOND)
            copy.finish(ROW)

    rows, lengths, writes = kept(tmp_path, scenario)
    assert rows["audio_key"].n_unique() == 8
    assert lengths == pytest.approx([2.0] * 8, abs=0.1)
    assert writes == 1


def test_a_long_render_is_encoded_completely_while_it_runs(tmp_path: Path) -> None:
    async def scenario(recorder: RenderRecorder) -> None:
        copy = recorder.open()
        for _ in range(95):
            await copy.add(SECOND)
            await asyncio.sleep(0)
        copy.finish(ROW)

    rows, lengths, _ = kept(tmp_path, scenario)
    assert rows["audio_key"].null_count() == 0
    assert lengths == pytest.approx([95.0], abs=0.2)


def test_a_store_that_takes_nothing_costs_the_copy_and_not_the_row(tmp_path: Path) -> None:
    settings = home(tmp_path)
    folder = Location.of(settings).folder
    assert folder is not None
    (folder / "objects").mkdir(parents=True)
    (folder / "objects" / "renders").write_bytes(b"a file where the folder should be")

    async def run() -> None:
        ledger = await Ledger.open(settings)
        try:
            recorder = RenderRecorder(Objects.of(settings), ledger.records)
            copy = recorder.open()
            await copy.add(SECOND)
            copy.finish(ROW)
            await recorder.drain(20)
        finally:
            await ledger.close()

    asyncio.run(asyncio.wait_for(run(), 60))
    rows = pl.read_delta(f"{settings.storage_url}/tables/tts_renders")
    assert rows["audio_key"].to_list() == [None]


def test_an_encoder_that_hangs_costs_the_sound_and_not_the_row_and_delays_the_end_no_further(tmp_path: Path) -> None:
    settings = home(tmp_path)

    async def run() -> float:
        ledger = await Ledger.open(settings)
        before = set(psutil.Process().children())
        try:
            recorder = RenderRecorder(Objects.of(settings), ledger.records)
            copy = recorder.open()
            await copy.add(SECOND)
            while not (found := [c for c in {*psutil.Process().children()} - before if MODULE in c.cmdline()]):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            found[0].suspend()
            copy.finish(ROW)
            began = time.monotonic()
            await recorder.drain(1)
            return time.monotonic() - began
        finally:
            await ledger.close()

    assert asyncio.run(asyncio.wait_for(run(), 60)) < 30
    rows = pl.read_delta(f"{settings.storage_url}/tables/tts_renders")
    assert rows["audio_key"].to_list() == [None]
