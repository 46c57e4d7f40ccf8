"""The Ray Serve application, from settings: the gateway, an engine for each slot, and the ledger beside them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any, cast

import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

from lakehouse.objects import Objects
from lakehouse.signing import Signer, home_secret
from schemas.domain import Recognition, Seconds, SoundEvent, Span, SpeakerHint, Turn, Word
from schemas.engines import EngineInfo, RenderedChunk, RenderRequest, VoiceProfile, VoiceWindows
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
from serve.tts.deployment import SynthesizerDeployment, stream

APPLICATION = "fluxions"
_PLACEMENT_CPUS = 0.05


class RayEngines:
    """The engines behind Ray Serve handles; our errors come out as they went in."""

    def __init__(
        self,
        recognizer: DeploymentHandle[Any],
        diarizer: DeploymentHandle[Any],
        events: DeploymentHandle[Any],
        synthesizer: DeploymentHandle[Any],
    ) -> None:
        self._recognizer = recognizer
        self._diarizer = diarizer
        self._events = events
        self._synthesizer = synthesizer

    async def recognize(self, pcm: bytes) -> Recognition:
        return await _result(self._recognizer.recognize.remote(pcm))  # type: ignore[no-any-return]

    async def observe(self, pcm: bytes, speech: Sequence[Span], offset_secs: Seconds) -> VoiceWindows:
        return await _result(self._diarizer.observe.remote(pcm, list(speech), offset_secs))  # type: ignore[no-any-return]

    async def resolve(self, windows: Sequence[VoiceWindows], speech: Sequence[Span], hint: SpeakerHint) -> list[Turn]:
        response = self._diarizer.resolve.remote(list(windows), list(speech), hint)
        return await _result(response)  # type: ignore[no-any-return]

    async def detect_events(
        self, speech: Sequence[Span], words: Sequence[Word], duration_secs: Seconds
    ) -> list[SoundEvent]:
        response = self._events.detect.remote(list(speech), list(words), duration_secs)
        return await _result(response)  # type: ignore[no-any-return]

    async def render(self, request: RenderRequest) -> AsyncGenerator[RenderedChunk, None]:
        with _our_errors():
            chunks = cast("AsyncGenerator[RenderedChunk, None]", stream(self._synthesizer.options(stream=True), request))
            async with aclosing(chunks):
                async for chunk in chunks:
                    yield chunk

    async def match_voice(self, pcm: bytes, voice_id: str) -> tuple[VoiceProfile, float, str]:
        profile, similarity = await _result(self._synthesizer.match.remote(pcm, voice_id))
        info: EngineInfo = await _result(self._synthesizer.info.remote())
        return profile, similarity, info.revision

    async def infos(self) -> list[EngineInfo]:
        handles = (self._recognizer, self._diarizer, self._events, self._synthesizer)
        return [await _result(handle.info.remote()) for handle in handles]


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
            engines=RayEngines(recognizer, diarizer, events, synthesizer),
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
    """The application graph. Fractions of a CPU are for placement only; the recognisers take what the machine has."""
    engines = settings.engines
    recognizer = _replicas(RecognizerDeployment, engines.num_recognizers).bind(settings)
    diarizer = _replicas(DiarizerDeployment, engines.diarizer_replicas).bind(settings)
    events = _replicas(EventDetectorDeployment, 1).bind(settings)
    synthesizer = _replicas(SynthesizerDeployment, 1).bind(settings)
    gateway = _replicas(Gateway, engines.gateway_replicas)
    return gateway.bind(settings, recognizer, diarizer, events, synthesizer)  # type: ignore[no-any-return]


def _replicas(deployment: Any, count: int) -> Any:
    return deployment.options(num_replicas=count, ray_actor_options={"num_cpus": _PLACEMENT_CPUS})
