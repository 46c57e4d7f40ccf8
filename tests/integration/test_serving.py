"""Engines behind a real Ray Serve: lanes, errors as they were raised, and a model that cannot load."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.domain import Lane
from schemas.errors import InvalidRequest, Unavailable
from schemas.language_model import ChatMessage, ChatRequest
from schemas.settings import EngineSettings, ScalingSettings, ServerSettings, Settings
from schemas.speech import RenderedChunk, RenderRequest
from tests.support.chat_servers import Connection, answering, saying, text
from tests.support.realtime_kit import ScriptedEngines, Talk
from tests.support.speech import SENTENCES, say

pytestmark = pytest.mark.integration

with warnings.catch_warnings():
    # Ray Serve 2.60 declares its models in a way pydantic deprecates, at import.
    warnings.simplefilter("ignore", DeprecationWarning)
    import ray
    from ray import serve

    from benchmarks.engines.serving import BenchedRecognizer, measure_handle
    from serve.engines.asr.deployment import RecognizerDeployment
    from serve.engines.events.deployment import EventDetectorDeployment
    from serve.engines.language_models.deployment import LanguageModelDeployment
    from serve.engines.placement import options
    from serve.engines.tts.deployment import SynthesizerDeployment
    from serve.ray_engines import RayEngines

ROOT = Path(__file__).resolve().parents[2]
INTERRUPTIONS = 12
TINY_AST = ROOT / "tests" / "data" / "models" / "tiny-ast"


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of one machine, and Serve without HTTP."""
    with tempfile.TemporaryDirectory(prefix="fx-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S", "2")
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
    return RayEngines(chosen, *[handle] * 5)


def pcm(number: int) -> bytes:
    return bytes((say(SENTENCES[number % len(SENTENCES)]) * 32767).astype("<i2").tobytes())


async def test_a_person_overtakes_an_archive_in_the_replica(cluster: None, tmp_path: Path) -> None:
    engines = engines_of(settings(tmp_path, asr_max_batch=1, model_threads=1), "lanes")
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
    # Longer than the model's window: heard in several, and there is nothing to hear.
    assert (await engines.recognize(np.zeros(61 * 16_000, "<i2").tobytes(), "archive")).words == ()


async def test_a_person_overtakes_an_archive_at_the_detector_of_sounds(cluster: None, tmp_path: Path) -> None:
    chosen = settings(tmp_path, events_engine="transformers", events_model=str(TINY_AST), device="cpu", model_threads=1)
    deployment: Any = EventDetectorDeployment
    placed = deployment.options(**options(chosen, "event_detector", 0.0)).bind(chosen)
    handle = serve.run(placed, name="sounds", route_prefix=None)
    engines = RayEngines(chosen, *[handle] * 5)
    sound, done = pcm(0) * 20, []

    async def observe(lane: Lane) -> None:
        await engines.observe_events(sound, 0.0, lane)
        done.append(lane)

    archive = [asyncio.create_task(observe("archive")) for _ in range(5)]
    while not done:
        await asyncio.wait(archive, return_when=asyncio.FIRST_COMPLETED)
    await observe("interactive")
    assert 5 - done.count("archive") >= 2, f"it waited for the block in hand, not for all: {done}"
    await asyncio.gather(*archive)


def running(name: str) -> int:
    states = serve.status().applications[name].deployments["RecognizerDeployment"].replica_states
    return states.get("RUNNING", 0)


async def become(name: str, count: int) -> None:
    async with asyncio.timeout(240):
        while running(name) != count:  # noqa: ASYNC110 - Serve tells nobody when it has scaled
            await asyncio.sleep(0.5)


async def test_replicas_come_with_an_old_queue_and_go_without_one(cluster: None, tmp_path: Path) -> None:
    chosen = settings(tmp_path, recognizer_replicas_max=2, asr_max_batch=1, model_threads=1)
    scaling = ScalingSettings(scale_queue_secs=0.05, scale_up_secs=0, scale_down_secs=1)
    engines = engines_of(chosen.model_copy(update={"scaling": scaling}), "scaling")

    async def client() -> None:
        while True:
            await engines.recognize(pcm(0))

    assert running("scaling") == 1
    clients = [asyncio.create_task(client()) for _ in range(8)]
    await become("scaling", 2)
    for one in clients:
        one.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    await become("scaling", 1)
    assert (await engines.recognize(pcm(0))).words


async def test_an_engine_that_nobody_uses_ends_and_the_next_request_starts_it(cluster: None, tmp_path: Path) -> None:
    chosen = settings(tmp_path, model_threads=1).model_copy(update={"scaling": ScalingSettings(engine_idle_secs=3)})
    engines = engines_of(chosen, "idle")
    (loaded,) = [slot.info for slot in await engines.slots() if slot.slot == "recognizer"]
    assert loaded is not None
    await become("idle", 0)
    (described,) = [slot.info for slot in await engines.slots() if slot.slot == "recognizer"]
    assert described is not None, "it is ready for requests"
    assert described.revision == loaded.revision
    assert running("idle") == 0, "asking for its state starts no engine"
    assert (await engines.recognize(pcm(0))).words
    await become("idle", 0)


async def test_a_model_that_cannot_load_is_reported_and_not_retried_for_ever(cluster: None, tmp_path: Path) -> None:
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
    assert found.engine == "whisper"
    (row,) = found.rows
    assert row.batch == 1
    assert row.share == pytest.approx(row.served_rtfx / row.bare_rtfx)
    assert 0 < row.share < 2
    assert found.memory_mib > 0


async def test_an_answer_streams_through_a_replica_and_ends_with_its_listener(cluster: None, tmp_path: Path) -> None:
    async def endless(connection: Connection) -> None:
        await connection.begin()
        while True:
            await connection.event(text("and "))
            await asyncio.sleep(0.01)

    async def refuse(connection: Connection) -> None:
        await connection.status(400, {"error": {"code": "context_length_exceeded"}})

    asked = ChatRequest((ChatMessage("user", "Hello."),))
    async with answering(saying("Good ", "morning."), endless, refuse) as server:
        chosen = settings(tmp_path, llm_engine="openai", llm_url=server.url, llm_model="test-model")
        deployment: Any = LanguageModelDeployment
        placed = deployment.options(**options(chosen, "language_model", 0.0)).bind(chosen)
        engines = RayEngines(chosen, *[serve.run(placed, name="answers", route_prefix=None)] * 5)
        assert (await engines.language_model()).capabilities["tools"] is True
        assert "".join([delta.text async for delta in engines.chat(asked)]) == "Good morning."
        async with aclosing(engines.chat(asked)) as deltas:
            assert (await anext(deltas)).text == "and "
        await asyncio.wait_for(server.requests[1].closed.wait(), 20)
        with pytest.raises(InvalidRequest) as refused:
            await anext(engines.chat(asked))
        assert refused.value.code == "context_length_exceeded"


@serve.deployment(max_ongoing_requests=16)
class NotedSynthesizer(SynthesizerDeployment.func_or_class):  # type: ignore[misc, name-defined]
    """The synthesiser, which notes when each of its renders has ended, by the machine's monotonic clock."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._num_open, self._ended_at = 0, 0.0

    async def render(self, request: RenderRequest) -> AsyncIterator[RenderedChunk]:
        self._num_open += 1
        try:
            async with aclosing(super().render(request)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            self._num_open -= 1
            self._ended_at = time.monotonic()

    async def ended(self) -> float | None:
        """When the last render has ended; None while there are any."""
        return None if self._num_open else self._ended_at


class _Served(ScriptedEngines):
    """Its language model and its synthesiser are replicas."""

    def __init__(self, model: RayEngines, synthesizer: RayEngines) -> None:
        super().__init__()
        self.chat, self.render, self.language_model = model.chat, synthesizer.render, model.language_model  # type: ignore[assignment, method-assign]


async def test_an_interruption_ends_the_work_of_the_replicas(
    cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that never ends and a render that goes on: both end with the interruption, as the printed times say."""

    async def endless(connection: Connection) -> None:
        await connection.begin()
        while True:
            await connection.event(text("It goes on and on, and then it goes on a little more. "))
            await asyncio.sleep(0.05)

    async with answering(endless) as server:
        chosen = settings(tmp_path, llm_engine="openai", llm_url=server.url, llm_model="test", tts_engine="kokoro")
        model: Any = LanguageModelDeployment
        synthesizer: Any = NotedSynthesizer
        answers = serve.run(model.bind(chosen), name="model", route_prefix=None)
        voices = serve.run(synthesizer.bind(chosen), name="voices", route_prefix=None)
        engines = _Served(RayEngines(chosen, *[answers] * 5), RayEngines(chosen, *[voices] * 5))
        model_secs, render_secs = [], []
        async with asyncio.timeout(240), Talk(engines, voices_of="kokoro") as talk:
            for number in range(INTERRUPTIONS):
                await talk.say("Tell me everything.")
                await talk.send("response.create")
                await talk.until("response.output_audio.delta")
                while await voices.ended.remote() is not None:  # noqa: ASYNC110 - one piece ends before the next begins
                    await asyncio.sleep(0.005)
                began = time.monotonic()
                talk.session._responding.interrupt()
                assert (await talk.until("response.done"))["response"]["status"] == "cancelled"
                await server.requests[number].closed.wait()
                model_secs.append(time.monotonic() - began)
                while (ended := await voices.ended.remote()) is None:  # noqa: ASYNC110 - the replica tells nobody
                    await asyncio.sleep(0.005)
                render_secs.append(max(0.0, ended - began))
    with capsys.disabled():
        for name, secs in (("request to the model closed", model_secs), ("render ended", render_secs)):
            print(f"\ninterruption to {name}: p50 {np.median(secs):.3f} s, most {max(secs):.3f} s", end="")  # noqa: T201
    # A machine that does much else may take longer than a quiet one; work that goes on would take for ever.
    assert max(*model_secs, *render_secs) < 10
