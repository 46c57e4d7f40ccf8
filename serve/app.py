"""Builds the Ray Serve application from settings: the gateway and an engine for each slot. Also starts the ledger."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import Any, Final

import ray
from ray import serve
from ray.exceptions import GetTimeoutError, RayActorError
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy
from ray.serve.handle import DeploymentHandle

from lakehouse.storage.objects import Objects
from schemas.domain import Slot
from schemas.errors import Unavailable
from schemas.settings import Settings
from serve.engines.asr.deployment import RecognizerDeployment
from serve.engines.diarization.deployment import DiarizerDeployment
from serve.engines.events.deployment import EventDetectorDeployment
from serve.engines.language_models.deployment import LanguageModelDeployment
from serve.engines.placement import PLACEMENT_CPUS, options, role_share
from serve.engines.registry import engine_revision
from serve.engines.replica_ports import bind_as_set
from serve.engines.tts.deployment import SynthesizerDeployment
from serve.gateway import backpressure, leaving
from serve.gateway.dependencies import Services
from serve.gateway.fastapi_app import create_app
from serve.ledger_actor import NAME, NAMESPACE, LedgerActor, remote_ledger
from serve.ray_engines import RayEngines
from serve.replica_logs import configure_replica

APPLICATION = "fluxions"
_LEAVE_SECS = 20.0
_MOST_GATEWAYS: Final = 10_000

logger = logging.getLogger("fluxions.deploy")


@serve.deployment(max_ongoing_requests=1000)
@serve.ingress()
class Gateway:
    """The FastAPI ingress."""

    def __init__(
        self,
        settings: Settings,
        secret: bytes,
        recognizer: DeploymentHandle[Any],
        diarizer: DeploymentHandle[Any],
        events: DeploymentHandle[Any],
        synthesizer: DeploymentHandle[Any],
        language_model: DeploymentHandle[Any],
    ) -> None:
        configure_replica(settings)
        backpressure.install()
        bind_as_set(settings)
        settings = settings.on_this_machine()
        objects = Objects.of(settings)
        self._services = Services.build(
            settings=settings,
            ledger=remote_ledger(),
            objects=objects,
            secret=secret,
            engines=RayEngines(settings, recognizer, diarizer, events, synthesizer, language_model),
            engine_revision=engine_revision(settings),
        )

    def __serve_build_asgi_app__(self) -> Any:
        app = create_app(self._services)
        leaving.install(partial(self._services.realtime.drain, leaving.TOLD_SECS), lambda: getattr(app.state, "loop", None))
        return app


def start_ledger(settings: Settings) -> None:
    """Start the ledger, or find the running one.

    Ray restarts the ledger whenever it dies, on another machine if necessary.
    """
    actor = ray.remote(LedgerActor).options(
        name=NAME,
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        max_restarts=-1,
        max_concurrency=10_000,
        num_cpus=0,
        resources=role_share(settings, "ledger"),
    )
    actor.remote(settings)


def end_ledger() -> None:
    """End the running ledger, if there is one, after it has finished its pending calls.

    Callers wait for the next ledger. Raises Unavailable if the ledger cannot be ended.
    """
    try:
        actor = ray.get_actor(NAME, NAMESPACE)
    except ValueError:
        return
    try:
        ray.get(actor.leave.remote(), timeout=_LEAVE_SECS)
    except (RayActorError, GetTimeoutError, AttributeError):
        # The ledger is killed in this case. That is safe: everything it acknowledged is on disk. A ledger of an earlier
        # version has no `leave`.
        logger.warning("the ledger did not finish in time; its process is killed")
    ray.kill(actor, no_restart=True)
    deadline = time.monotonic() + _LEAVE_SECS
    while _is_named():
        if time.monotonic() > deadline:
            raise Unavailable("the ledger does not end")
        time.sleep(0.02)


def _is_named() -> bool:
    """Whether the ledger's name is still taken. After the actor's end it is taken for a moment."""
    try:
        ray.get_actor(NAME, NAMESPACE)
    except ValueError:
        return False
    return True


def cluster_gpus() -> float:
    """The GPUs of the machines that the connected cluster has now."""
    return float(ray.cluster_resources().get("GPU", 0.0))  # type: ignore[no-untyped-call]


def build(settings: Settings, secret: bytes, gpus: float) -> serve.Application:
    """The application graph for a cluster that has ``gpus``, with the home's ``secret``.

    Raises InvalidParameter for an unknown engine.
    """

    def placed(deployment: Any, slot: Slot) -> Any:
        return deployment.options(**options(settings, slot, gpus)).bind(settings)

    gateway: Any = Gateway
    return gateway.options(**_gateway_options(settings)).bind(  # type: ignore[no-any-return]
        settings,
        secret,
        placed(RecognizerDeployment, "recognizer"),
        placed(DiarizerDeployment, "diarizer"),
        placed(EventDetectorDeployment, "event_detector"),
        placed(SynthesizerDeployment, "synthesizer"),
        placed(LanguageModelDeployment, "language_model"),
    )


def _gateway_options(settings: Settings) -> dict[str, Any]:
    """Replicas and placement of the gateway. The setting is the number of replicas on each machine."""
    takes: dict[str, Any] = {"num_cpus": PLACEMENT_CPUS}
    if not settings.cluster.places_by_role:
        return {"num_replicas": settings.engines.gateway_replicas, "ray_actor_options": takes}
    scaling = AutoscalingConfig(
        min_replicas=1,
        max_replicas=_MOST_GATEWAYS,
        upscale_delay_s=0,
        downscale_delay_s=0,
        policy=AutoscalingPolicy(policy_function="serve.gateway_scaling:as_offered"),  # type: ignore[no-untyped-call]
    )
    return {"autoscaling_config": scaling, "ray_actor_options": takes | {"resources": {"fluxions_gateway": 1}}}
