"""Long recordings as a Prefect flow: one task for each kind of result of a block, cached by a hash of the block's audio.

A flow that is killed anywhere runs again and finds the finished results. Prefect stores run states, retries and results;
it is not the queue. If its server is away, the job waits, keeps its lease, and continues when the server is back.

The flow runs in a thread with its own event loop, because Prefect takes over the signals of a main thread. Requests to
the engines run in the worker's loop, like everything else.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import shutil
import threading
import time
from collections.abc import Coroutine
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
from prefect import flow, task
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.context import AsyncClientContext
from prefect.states import Crashed
from prefect.tasks import exponential_backoff

from clients.operator import ClaimedJob
from flows.progress import Reporter
from flows.transcription import stages
from flows.transcription.blocks import blocks_of, key_in_language, language_key
from flows.transcription.context import EngineOutputs, PipelineContext, SpeechAnalysis
from flows.transcription.long_recording import LongRecording, Part
from schemas.domain import Seconds
from schemas.errors import Conflict, InvalidParameter, InvalidRequest, NotFound
from telemetry.metrics import CACHE
from telemetry.traces import span

_FIRST_WAIT_SECS: Final[Seconds] = 1.0
_LONGEST_WAIT_SECS: Final[Seconds] = 10.0
_HEALTH_TIMEOUT_SECS: Final[Seconds] = 5.0
_FINAL: Final = (Conflict, InvalidParameter, InvalidRequest, NotFound)

T = TypeVar("T")

logger = logging.getLogger(__name__)

_recording: ContextVar[LongRecording] = ContextVar("recording")


def _is_retryable(_: Any, __: Any, state: Any) -> bool:
    """Whether to run a task again: after a failure of an engine, not after a lost lease or a refused request."""
    error = state.data
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(_FINAL) is None
    return not isinstance(error, _FINAL)


@task(
    name="block",
    task_run_name="{part} of block {number}",
    persist_result=True,
    result_serializer="json",
    retries=4,
    retry_delay_seconds=exponential_backoff(backoff_factor=2),
    retry_jitter_factor=0.5,
    retry_condition_fn=_is_retryable,
)
async def compute_part(part: Part, number: int, key: str) -> str:
    """One kind of result of a block, encrypted; ``key`` is its cache key."""
    recording = _recording.get()
    with span("block", part=part, block=number):
        return await _on_loop(recording.loop, recording.compute(part, number))


@flow(name="transcribe", flow_run_name="job {job_id}", persist_result=False)
async def transcribe_blocks(
    job_id: int,
    words_keys: list[str],
    voices_keys: dict[int, str],
    sounds_keys: dict[int, str],
    language: str | None,
    at_once: int,
) -> None:
    """All blocks of a recording, in order, with at most ``at_once`` tasks of each kind at a time.

    ``voices_keys`` are those of blocks with speech, ``sounds_keys`` those of blocks in which sound events are detected.
    ``language`` is the key of the choice of language; if it is set, words wait for it.
    """
    recording = _recording.get()
    policy = CacheKeyFnPolicy(cache_key_fn=_key).configure(key_storage=recording.context.block_cache / "keys")
    compute = compute_part.with_options(cache_policy=policy)
    limits = {part: asyncio.Semaphore(at_once) for part in ("language", "words", "voices", "sounds")}

    async def one(part: Part, number: int, key: str) -> None:
        async with limits[part]:
            result = await compute(part, number, key)
        await _on_loop(recording.loop, _called(recording.add, part, number, result))

    async with asyncio.TaskGroup() as group:
        for number, key in voices_keys.items():
            group.create_task(one("voices", number, key))
        for number, key in sounds_keys.items():
            group.create_task(one("sounds", number, key))
        if language is not None:
            await one("language", 0, language)
        for number, key in enumerate(words_keys):
            group.create_task(one("words", number, key_in_language(key, recording.choice.language)))


def _key(_: Any, parameters: dict[str, Any]) -> str:
    return str(parameters["key"])


async def ask_engines_by_block(
    context: PipelineContext, job: ClaimedJob, analysis: SpeechAnalysis, reporter: Reporter
) -> EngineOutputs:
    """All engine outputs, computed block by block. Raises EngineFailure, Unavailable, Conflict, InvalidParameter."""
    listening, options = context.listening, job.options
    detector = await stages.acoustic_detector(listening, non_speech=options.non_speech)
    detects = await stages.detects_language(listening, options.recognize)
    blocks = await asyncio.to_thread(
        blocks_of,
        analysis.pcm,
        analysis.probabilities,
        stages.speech_to_observe(analysis),
        analysis.windows,
        longest_secs=context.jobs.block_secs,
        options=options.recognize,
        engine_revision=job.engine_revision,
        sounds_revision=detector.revision if detector else None,
        account=job.account,
    )
    await asyncio.to_thread(prune, context.block_cache, context.jobs.block_cache_days * 86_400)
    choice_key = language_key(blocks) if detects and analysis.windows else None
    recording = LongRecording(context, job, analysis, reporter, blocks, choice_key, asyncio.get_running_loop())
    await _run_until_done(recording)
    _count_cache(recording)
    logger.info("job %d: %d blocks, %d results computed now", job.id, len(blocks), len(recording.computed))
    reporter.stage("speakers")
    recognitions = recording.transcript.whole()
    voices = [recording.voices[number] for number in sorted(recording.voices)]
    turns = await stages.resolve_turns(listening, analysis, voices, recognitions, options.speakers, recording.engine_time)
    sounds = [sound for number in sorted(recording.sounds) for sound in recording.sounds[number]]
    language = recording.choice.language or stages.language_of(recognitions, analysis.windows)
    return EngineOutputs(recognitions, turns, sounds, language, recording.engine_time)


def _count_cache(recording: LongRecording) -> None:
    wanted = sum(1 + bool(block.speech) + bool(block.sounds_key) for block in recording.blocks)
    wanted += recording.language_key is not None
    CACHE.labels("block", "miss").inc(len(recording.computed))
    CACHE.labels("block", "hit").inc(max(0, wanted - len(recording.computed)))


async def _run_until_done(recording: LongRecording) -> None:
    """Run the flow, and again after a failure of Prefect's server; finished tasks are not repeated."""
    pause = _FIRST_WAIT_SECS
    while True:
        if await _server_answers() and await _run_once(recording):
            return
        recording.reporter.stage("waiting")
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_WAIT_SECS)


async def _run_once(recording: LongRecording) -> bool:
    """Run the flow once; False if Prefect's server failed."""
    recording.reporter.stage("transcribing")
    done = True
    try:
        with span("flow", job=recording.job.id):
            await _on_loop(_prefect_loop(), _start_flow(recording))
    except* (httpx.HTTPError, OSError) as group:
        logger.warning("job %d: Prefect's server failed: %r", recording.job.id, group.exceptions[0])
        done = False
    return done


async def _start_flow(recording: LongRecording) -> None:
    _recording.set(recording)
    transcribe = transcribe_blocks.with_options(result_storage=recording.context.block_cache / "results")
    blocks = recording.blocks
    # Prefect would create a client for each of these calls, and each client loads all certificates: 60 ms of a core.
    async with AsyncClientContext.get_or_create() as prefect:
        await _close_earlier_runs(prefect.client, recording.job.id)
        await transcribe(
            job_id=recording.job.id,
            words_keys=[block.words_key for block in blocks],
            voices_keys={block.number: block.voices_key for block in blocks if block.speech},
            sounds_keys={block.number: block.sounds_key for block in blocks if block.sounds_key},
            language=recording.language_key,
            at_once=recording.context.jobs.blocks_at_once,
        )


async def _close_earlier_runs(client: PrefectClient, job_id: int) -> None:
    """Mark earlier runs of the job crashed. Prefect shows runs of killed processes as running for ever, but this worker
    has the lease, so none runs."""
    unfinished = FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING])
    runs = FlowRunFilter(name=FlowRunFilterName(any_=[f"job {job_id}"]), state=FlowRunFilterState(type=unfinished))
    for run in await client.read_flow_runs(flow_run_filter=runs):
        await client.set_flow_run_state(run.id, Crashed(message="its worker ended"), force=True)


async def _server_answers() -> bool:
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        logger.error("PREFECT_API_URL is not set: long recordings wait until a worker that has it takes them")
        return False
    try:
        # The check sends and receives nothing that certificates would protect, and loading them takes 30 ms of a core.
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=_HEALTH_TIMEOUT_SECS) as client:  # noqa: S501
            return (await client.get(f"{url}/health")).is_success
    except httpx.HTTPError:
        return False


def prune(block_cache: Path, older_than_secs: Seconds) -> None:
    """Remove results of blocks that are older than ``older_than_secs``."""
    before = time.time() - older_than_secs
    for folder in ("keys", "results"):
        for path in (block_cache / folder).glob("*"):
            try:
                if path.stat().st_mtime < before:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            except FileNotFoundError:
                continue  # Another job of this worker removed it first.


@functools.cache
def _prefect_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="prefect", daemon=True).start()
    return loop


async def _called(function: Any, *arguments: Any) -> None:
    function(*arguments)


async def _on_loop(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, run in the event loop of another thread; cancelled with its caller."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))
