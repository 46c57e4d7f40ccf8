"""The Ray Serve application, from settings: the gateway, an engine for each slot, and the ledger beside them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager, nullcontext
from functools import partial
from typing import Any, cast

import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

from lakehouse.objects import Objects
from lakehouse.signing import Signer, home_secret
from schemas.domain import Lane, Recognition, Seconds, SoundEvent, Span, SpeakerHint, Turn, Word
from schemas.engines import EngineInfo, RenderedChunk, RenderRequest, Slot, VoiceProfile, VoiceWindows
from schemas.errors import FluxionsError, Unavailable
from schemas.settings import Settings
from serve.asr.deployment import RecognizerDeployment
from serve.diarization.deployment import DiarizerDeployment
from serve.engines import engine_revision
from serve.events.deployment import EventDetectorDeployment
from serve.gateway import backpressure
from serve.gateway.app import create_app
from serve.gateway.services import Services
from serve.ledger import NAME, NAMESPACE, LedgerActor, RemoteLedger
from serve.placement import PLACEMENT_CPUS, archive_places, options
from serve.slots import SlotStatus, look
from serve.tts.deployment import SynthesizerDeployment, stream

APPLICATION = "fluxions"


class RayEngines:
    """The engines behind Ray Serve handles; our errors come out as they went in.

    Archive work waits here once it fills half of the places in the replicas, so that an interactive request never waits
    for a place; in its replica it overtakes what waits there.
    """

    def __init__(
        self,
        settings: Settings,
        recognizer: DeploymentHandle[Any],
        diarizer: DeploymentHandle[Any],
        events: DeploymentHandle[Any],
        synthesizer: DeploymentHandle[Any],
    ) -> None:
        self._settings = settings
        self._recognizer = recognizer
        self._diarizer = diarizer
        self._events = events
        self._synthesizer = synthesizer
        self._archive: dict[Slot, asyncio.Semaphore] = {
            slot: asyncio.Semaphore(archive_places(settings, slot)) for slot in ("recognizer", "diarizer", "event_detector")
        }

    async def recognize(self, pcm: bytes, lane: Lane = "interactive") -> Recognition:
        async with self._place("recognizer", lane):
            return await _result(self._recognizer.recognize.remote(pcm, lane))  # type: ignore[no-any-return]

    async def observe(self, pcm: bytes, speech: Sequence[Span], offset_secs: Seconds, lane: Lane) -> VoiceWindows:
        async with self._place("diarizer", lane):
            response = self._diarizer.observe.remote(pcm, list(speech), offset_secs, lane)
            return await _result(response)  # type: ignore[no-any-return]

    async def resolve(self, windows: Sequence[VoiceWindows], speech: Sequence[Span], hint: SpeakerHint) -> list[Turn]:
        response = self._diarizer.resolve.remote(list(windows), list(speech), hint)
        return await _result(response)  # type: ignore[no-any-return]

    async def event_detector(self) -> EngineInfo:
        return await _result(self._events.info.remote())  # type: ignore[no-any-return]

    async def observe_events(self, pcm: bytes, offset_secs: Seconds, lane: Lane) -> list[SoundEvent]:
        async with self._place("event_detector", lane):
            return await _result(self._events.observe.remote(pcm, offset_secs, lane))  # type: ignore[no-any-return]

    async def detect_events(
        self, speech: Sequence[Span], words: Sequence[Word], duration_secs: Seconds, heard: Sequence[SoundEvent]
    ) -> list[SoundEvent]:
        response = self._events.detect.remote(list(speech), list(words), duration_secs, list(heard))
        return await _result(response)  # type: ignore[no-any-return]

    async def render(self, request: RenderRequest) -> AsyncGenerator[RenderedChunk, None]:
        with _our_errors():
            chunks = cast("AsyncGenerator[RenderedChunk, None]", stream(self._synthesizer.options(stream=True), request))
            async with aclosing(chunks):
                async for chunk in chunks:
                    yield chunk

    async def match_voice(self, pcm: bytes, voice_id: str) -> tuple[VoiceProfile, float | None, str]:
        profile, similarity = await _result(self._synthesizer.match.remote(pcm, voice_id))
        info: EngineInfo = await _result(self._synthesizer.info.remote())
        return profile, similarity, info.revision

    async def slots(self) -> list[SlotStatus]:
        handles: dict[Slot, DeploymentHandle[Any]] = {
            "recognizer": self._recognizer,
            "diarizer": self._diarizer,
            "event_detector": self._events,
            "synthesizer": self._synthesizer,
        }
        return await look(self._settings, {slot: partial(_info, handle) for slot, handle in handles.items()})

    def _place(self, slot: Slot, lane: Lane) -> AbstractAsyncContextManager[Any]:
        return self._archive[slot] if lane == "archive" else nullcontext()


async def _info(handle: DeploymentHandle[Any]) -> EngineInfo:
    return await _result(handle.info.remote())  # type: ignore[no-any-return]


async def _result(response: Any) -> Any:
    """Await a handle's response. Raises as `_our_errors` does."""
    with _our_errors():
        return await response


@contextmanager
def _our_errors() -> Iterator[None]:
    """Raises our own errors unwrapped; a replica that died is Unavailable, to be tried again."""
    from ray.exceptions import RayActorError, RayTaskError

    try:
        yield
    except FluxionsError:
        raise
    except RayTaskError as error:
        if isinstance(error.cause, FluxionsError):
            raise error.cause from None
        raise
    except RayActorError as error:
        raise Unavailable("an engine's process died and is restarting; try again", retry_after_secs=2) from error


@serve.deployment(max_ongoing_requests=1000)
@serve.ingress()
class Gateway:
    """The FastAPI ingress."""

    def __init__(
        self,
        settings: Settings,
        recognizer: DeploymentHandle[Any],
        diarizer: DeploymentHandle[Any],
        events: DeploymentHandle[Any],
        synthesizer: DeploymentHandle[Any],
    ) -> None:
        backpressure.install()
        objects = Objects.of(settings)
        self._services = Services(
            settings=settings,
            ledger=RemoteLedger(),
            objects=objects,
            signer=Signer(objects, home_secret(settings.home)),
            engines=RayEngines(settings, recognizer, diarizer, events, synthesizer),
            engine_revision=engine_revision(settings),
        )

    def __serve_build_asgi_app__(self) -> Any:
        return create_app(self._services)


def start_ledger(settings: Settings) -> None:
    """Start the ledger, or find the one that runs. Ray restarts it whenever it dies."""
    actor = ray.remote(LedgerActor).options(
        name=NAME,
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        max_restarts=-1,
        max_concurrency=10_000,
        num_cpus=0,
    )
    actor.remote(settings)


def build(settings: Settings) -> serve.Application:
    """The application graph, for the cluster we are connected to. Raises InvalidParameter for an unknown engine."""
    gpus = ray.cluster_resources().get("GPU", 0.0)  # type: ignore[no-untyped-call]

    def placed(deployment: Any, slot: Slot) -> Any:
        return deployment.options(**options(settings, slot, gpus)).bind(settings)

    gateway: Any = Gateway
    replicas, takes = settings.engines.gateway_replicas, {"num_cpus": PLACEMENT_CPUS}
    return gateway.options(num_replicas=replicas, ray_actor_options=takes).bind(  # type: ignore[no-any-return]
        settings,
        placed(RecognizerDeployment, "recognizer"),
        placed(DiarizerDeployment, "diarizer"),
        placed(EventDetectorDeployment, "event_detector"),
        placed(SynthesizerDeployment, "synthesizer"),
    )
