"""Engines behind a real Ray Serve: lanes, errors as they were raised, and a model that cannot load."""

from __future__ import annotations

import asyncio
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.domain import Lane
from schemas.errors import EngineFailure, InvalidRequest, Unavailable
from schemas.settings import EngineSettings, ServerSettings, Settings
from tests.speech import SENTENCES, say

with warnings.catch_warnings():
    # Ray Serve 2.60 declares its models in a way pydantic deprecates, at import.
    warnings.simplefilter("ignore", DeprecationWarning)
    import ray
    from ray import serve

    from serve.app import RayEngines
    from serve.asr.deployment import RecognizerDeployment
    from serve.cli.bench_engines import BenchedRecognizer, measure_handle
    from serve.placement import options

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of one machine, and Serve without HTTP."""
    with tempfile.TemporaryDirectory(prefix="fx-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))))
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", _temp_dir=folder)
        serve.start(proxy_location="Disabled")
        try:
            yield
        finally:
            serve.shutdown()
            ray.shutdown()


def settings(home: Path, **engines: Any) -> Settings:
    return Settings(server=ServerSettings(home=home), engines=EngineSettings(recognizer_replicas=1, **engines))


def engines_of(chosen: Settings, name: str) -> RayEngines:
    deployment: Any = RecognizerDeployment
    placed = deployment.options(**options(chosen, "recognizer", 0.0)).bind(chosen)
    handle = serve.run(placed, name=name, route_prefix=None)
    return RayEngines(chosen, handle, handle, handle, handle)


def pcm(number: int) -> bytes:
    return bytes((say(SENTENCES[number % len(SENTENCES)]) * 32767).astype("<i2").tobytes())


async def test_a_person_overtakes_an_archive_in_the_replica(cluster: None, tmp_path: Path) -> None:
    engines = engines_of(settings(tmp_path), "lanes")
    done: list[Lane] = []

    async def recognize(number: int, lane: Lane) -> int:
        words = (await engines.recognize(pcm(number), lane)).words
        done.append(lane)
        return len(words)

    archive = [asyncio.create_task(recognize(number, "archive")) for number in range(5)]
    while not done:  # the archive is being worked on, and the rest of it waits in the replica
        await asyncio.wait(archive, return_when=asyncio.FIRST_COMPLETED)
    assert await recognize(0, "interactive") > 0
    overtaken = 5 - done.count("archive")
    assert overtaken >= 2, f"it waited for the utterance in hand, not for all: {done}"
    assert all(words > 0 for words in await asyncio.gather(*archive))

    with pytest.raises(InvalidRequest, match="3 bytes"):
        await engines.recognize(b"abc")
    with pytest.raises(EngineFailure, match="over the recogniser's"):
        await engines.recognize(np.zeros(61 * 16_000, "<i2").tobytes(), "archive")


async def test_a_model_that_cannot_load_is_said_and_not_tried_for_ever(cluster: None, tmp_path: Path) -> None:
    engines = engines_of(settings(tmp_path, asr_engine="nemo", asr_model="/nope"), "broken")
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"recognizer: the engine nemo cannot load /nope .*no such file"):
            await engines.recognize(pcm(0))
    status = (await engines.slots())[0]
    assert status.info is None
    assert status.problem is not None
    assert not status.loading
    assert "FLUXIONS_ASR_MODEL" in status.problem


async def test_the_benchmark_measures_bare_and_served_on_one_model(cluster: None, tmp_path: Path) -> None:
    deployment: Any = BenchedRecognizer
    handle = serve.run(deployment.bind(settings(tmp_path)), name="bench", route_prefix=None)
    found = await measure_handle(handle, (1,), utterance_secs=0.5, seconds=0.1, rounds=1)
    assert found.engine == "pocketsphinx"
    (row,) = found.rows
    assert row.batch == 1
    assert row.share == pytest.approx(row.served_rtfx / row.bare_rtfx)
    assert 0 < row.share < 2
    assert found.memory_mib > 0
