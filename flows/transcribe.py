"""Long recordings as a Prefect flow: one task a block of minutes, its result kept by what was heard.

A flow that is killed anywhere is run again and finds the blocks that were finished. Prefect keeps the record, the retries
and the results; it is not the queue. If its server is away the job waits, with its lease kept, and goes on when it is back.

The flow runs in a thread with an event loop of its own, for Prefect takes over the signals of a main thread it runs in;
what a block asks of the engines runs in the worker's loop, like everything else.
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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import httpx
from prefect import flow, task
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.context import AsyncClientContext
from prefect.states import Crashed
from prefect.tasks import exponential_backoff

from flows.block_words import BlockWords
from flows.blocks import Block, HeardBlock, blocks_of, sealed, unsealed
from flows.client import ClaimedJob
from flows.progress import Reporter
from flows.steps import Heard, Listening, Tools, detector
from schemas import wire
from schemas.domain import Recognition, Seconds, SoundEvent, Span
from schemas.engines import VoiceWindows
from schemas.errors import Conflict, InvalidRequest, NotFound

_FIRST_WAIT_SECS: Seconds = 1.0
_LONGEST_WAIT_SECS: Seconds = 10.0
_HEALTH_TIMEOUT_SECS: Seconds = 5.0

T = TypeVar("T")
_What = Literal["speech", "sounds"]
"""What a block is heard for: speech is words and voices."""

logger = logging.getLogger(__name__)


@dataclass
class Recording:
    """A long recording under work; made in the worker's loop and used from both."""

    tools: Tools
    job: ClaimedJob
    heard: Listening
    reporter: Reporter
    blocks: list[Block]
    loop: asyncio.AbstractEventLoop
    words: BlockWords = field(init=False)
    windows: dict[int, VoiceWindows | None] = field(default_factory=dict)
    """Of finished blocks, counted from the start of the recording; None where nobody talks."""
    sounds: dict[int, list[SoundEvent]] = field(default_factory=dict)
    computed: set[int] = field(default_factory=set)
    in_flight: asyncio.Semaphore = field(init=False)
    """As many utterances as keep the recognisers busy, beside those of short recordings: these wait in another lane."""

    def __post_init__(self) -> None:
        self.words = BlockWords(self.blocks)
        self.in_flight = asyncio.Semaphore(self.tools.utterances_at_once)

    async def hear(self, number: int) -> str:
        """Ask the engines about a block; runs in the worker's loop."""
        block = self.blocks[number]
        # Longest first: whichever comes last, the other recognisers wait for it with nothing left to do.
        order = sorted(range(len(block.utterances)), key=lambda n: -block.utterances[n].duration_secs)
        async with asyncio.TaskGroup() as group:
            utterances = {n: group.create_task(self._recognize(block, n)) for n in order}
            windows = group.create_task(self._observe(block)) if block.speech else None
        self.computed.add(number)
        recognitions = tuple(utterances[n].result() for n in sorted(order))
        heard = HeardBlock(recognitions, windows.result() if windows else None)
        return heard.sealed(block.seal)

    async def hear_sounds(self, number: int) -> str:
        """Ask the event detector about a block; runs in the worker's loop."""
        block = self.blocks[number]
        found = await self.tools.client.observe_events(self.heard.pcm.read_bytes(block.span), 0.0, "archive")
        return sealed(wire.events_to_json(found), block.seal)

    def take(self, number: int, found: str) -> None:
        """A block is finished, now or in an earlier run; runs in the worker's loop."""
        block = self.blocks[number]
        heard = HeardBlock.opened(found, block.seal)
        self.words.take(number, heard.recognitions)
        self.windows[number] = None if heard.windows is None else heard.windows.shifted(block.span.start_secs)
        self._tell()

    def take_sounds(self, number: int, found: str) -> None:
        """The same for the sounds of a block that are not words."""
        block = self.blocks[number]
        at = block.span.start_secs
        self.sounds[number] = [
            replace(e, start_secs=e.start_secs + at, end_secs=e.end_secs + at)
            for e in wire.events_from_json(unsealed(found, block.seal))
        ]

    def _tell(self) -> None:
        whole = self.heard.pcm.duration_secs
        done = {n: self.blocks[n].span.duration_secs for n in self.windows}
        self.reporter.done(sum(done.values()) / whole, sum(s for n, s in done.items() if n not in self.computed) / whole)
        self.reporter.blocks(self.words.settled())

    async def _recognize(self, block: Block, number: int) -> Recognition:
        span = block.utterances[number]
        start, end = (block.span.start_secs + at for at in (span.start_secs, span.end_secs))
        async with self.in_flight:
            pcm = self.heard.pcm.read_bytes(Span(start, end))
            return await self.tools.client.recognize(pcm, "archive")

    async def _observe(self, block: Block) -> Any:
        return await self.tools.client.observe(self.heard.pcm.read_bytes(block.span), block.speech, 0.0, "archive")


_recording: ContextVar[Recording] = ContextVar("recording")


_FINAL = (Conflict, InvalidRequest, NotFound)


def _worth_trying_again(_: Any, __: Any, state: Any) -> bool:
    """A lost lease or a block that cannot be read will not get better; an engine that restarts will."""
    error = state.data
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(_FINAL) is None
    return not isinstance(error, _FINAL)


@task(
    name="block",
    task_run_name="block {number}, {what}",
    persist_result=True,
    result_serializer="json",
    retries=4,
    retry_delay_seconds=exponential_backoff(backoff_factor=2),
    retry_jitter_factor=0.5,
    retry_condition_fn=_worth_trying_again,
)
async def hear_block(number: int, what: _What, key: str) -> str:
    """One block heard by the engines, sealed; ``key`` is what its result is kept by."""
    recording = _recording.get()
    hear = recording.hear if what == "speech" else recording.hear_sounds
    return await _there(recording.loop, hear(number))


@flow(name="transcribe", flow_run_name="job {job_id}", persist_result=False)
async def transcribe_blocks(job_id: int, keys: list[str], sound_keys: list[str], at_once: int) -> None:
    """Every block of a recording, ``at_once`` of them at a time, in order; its sounds too if there are ``sound_keys``."""
    recording = _recording.get()
    policy = CacheKeyFnPolicy(cache_key_fn=_key).configure(key_storage=recording.tools.kept / "keys")
    hear = hear_block.with_options(cache_policy=policy)
    places = asyncio.Semaphore(at_once)

    async def one(number: int, what: _What, key: str) -> None:
        async with places:
            found = await hear(number, what, key)
        take = recording.take if what == "speech" else recording.take_sounds
        recording.loop.call_soon_threadsafe(take, number, found)

    async with asyncio.TaskGroup() as group:
        for number, key in enumerate(keys):
            group.create_task(one(number, "speech", key))
            if sound_keys:
                group.create_task(one(number, "sounds", sound_keys[number]))


def _key(_: Any, parameters: dict[str, Any]) -> str:
    return str(parameters["key"])


async def hear_in_blocks(tools: Tools, job: ClaimedJob, heard: Listening, reporter: Reporter) -> Heard:
    """Ask the engines about a recording block by block. Raises EngineFailure, Unavailable, Conflict."""
    listens = await detector(tools, job)
    blocks = await asyncio.to_thread(
        blocks_of,
        heard.pcm,
        heard.probabilities,
        heard.speech,
        heard.utterances,
        longest_secs=tools.jobs.block_secs,
        engine_revision=job.engine_revision,
        sounds_revision=listens.revision if listens else None,
    )
    await asyncio.to_thread(prune, tools.kept, tools.jobs.block_cache_days * 86_400)
    recording = Recording(tools, job, heard, reporter, blocks, asyncio.get_running_loop())
    await _run_to_the_end(recording)
    logger.info("job %d: %d blocks, %d of them heard now", job.id, len(blocks), len(recording.computed))
    reporter.stage("speakers")
    windows = [w for number in range(len(blocks)) if (w := recording.windows[number]) is not None]
    turns = await tools.client.resolve(windows, heard.speech, job.speakers) if windows else []
    sounds = [sound for number in sorted(recording.sounds) for sound in recording.sounds[number]]
    return Heard(recording.words.whole(), turns, sounds)


async def _run_to_the_end(recording: Recording) -> None:
    """Run the flow, again where Prefect's server failed it: what is finished is not done twice."""
    pause = _FIRST_WAIT_SECS
    while True:
        if await _server_answers() and await _done(recording):
            return
        recording.reporter.stage("waiting")
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_WAIT_SECS)


async def _done(recording: Recording) -> bool:
    """Run the flow once; False if Prefect's server failed it."""
    recording.reporter.stage("transcribing")
    done = True
    try:
        await _there(_prefect_loop(), _run(recording))
    except* (httpx.HTTPError, OSError) as group:
        logger.warning("job %d: Prefect's server failed: %r", recording.job.id, group.exceptions[0])
        done = False
    return done


async def _run(recording: Recording) -> None:
    _recording.set(recording)
    transcribe = transcribe_blocks.with_options(result_storage=recording.tools.kept / "results")
    keys = [block.key for block in recording.blocks]
    sound_keys = [block.sounds_key for block in recording.blocks if block.sounds_key]
    # Prefect would make itself a client for each of these, and each loads all certificates: 60 ms of a core.
    async with AsyncClientContext.get_or_create() as prefect:
        await _close_earlier_runs(prefect.client, recording.job.id)
        await transcribe(recording.job.id, keys, sound_keys, recording.tools.jobs.blocks_at_once)


async def _close_earlier_runs(client: PrefectClient, job_id: int) -> None:
    """Prefect believes for ever that the run of a killed process is running; the lease says that it is not."""
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
        # Nothing is told or believed here that certificates would protect, and loading them takes 30 ms of a core.
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=_HEALTH_TIMEOUT_SECS) as client:  # noqa: S501
            return (await client.get(f"{url}/health")).is_success
    except httpx.HTTPError:
        return False


def prune(kept: Path, older_than_secs: Seconds) -> None:
    """Remove results of blocks that are older."""
    before = time.time() - older_than_secs
    for folder in ("keys", "results"):
        for path in (kept / folder).glob("*"):
            try:
                if path.stat().st_mtime < before:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            except FileNotFoundError:
                continue  # Another job of this worker was faster.


@functools.cache
def _prefect_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="prefect", daemon=True).start()
    return loop


async def _there(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """``work``'s result, from another thread's loop; cancelled with its caller."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))
