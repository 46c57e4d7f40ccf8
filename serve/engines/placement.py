"""Number of replicas of a slot, resources of each, and the number of requests that it holds."""

from __future__ import annotations

from typing import Any, Final

from schemas.cluster_settings import Role
from schemas.domain import Slot
from schemas.settings import Settings
from serve.engines.registry import ENGINES, choice, num_replicas
from serve.engines.replica_scaling import POLICY

PLACEMENT_CPUS: Final = 0.05
"""Fractions of a CPU are for placement only; engines use all cores."""
ROLE_SHARE: Final = 0.001
"""The share that a replica takes of a machine's role, such as ``fluxions_engines``. Each machine with the role offers
1.
"""
_LOOK_BACK_SECS: Final = 11.0
"""Over which Ray Serve averages the number of requests; it warns of less than 10 s. It takes five samples in that time."""
_DRAIN_SECS: Final = 600.0
"""How long a replica that is no longer needed may finish its requests, such as the render of a long text."""

_ROOM: Final[dict[Slot, int]] = {
    "recognizer": 64,
    "diarizer": 16,
    "event_detector": 16,
    "synthesizer": 32,
    "language_model": 64,
}
"""Requests that a replica accepts beyond its current batches, because interactive requests overtake others only in the
replica's own queue.
"""


def role_share(settings: Settings, role: Role) -> dict[str, float] | None:
    """The custom resource by which Ray finds a machine with ``role``; None where every machine has all roles."""
    return {f"fluxions_{role}": ROLE_SHARE} if settings.cluster.places_by_role else None


def options(settings: Settings, slot: Slot, machine_gpus: float) -> dict[str, Any]:
    """Options of the deployment of ``slot`` in a cluster that has ``machine_gpus``.

    Raises InvalidParameter for an engine that does not exist.
    """
    fewest, most = num_replicas(settings, slot)
    actor: dict[str, Any] = {"num_cpus": PLACEMENT_CPUS, "num_gpus": _gpus(settings, slot) if machine_gpus else 0}
    if share := role_share(settings, "engines"):
        actor["resources"] = share
    found: dict[str, Any] = {"max_ongoing_requests": max_ongoing(settings, slot), "ray_actor_options": actor}
    idle_secs = settings.scaling.idle_secs(slot)
    if most == fewest and not idle_secs:
        return {**found, "num_replicas": fewest}
    return {**found, "autoscaling_config": _scaling(settings, slot), "graceful_shutdown_timeout_s": _DRAIN_SECS}


def _scaling(settings: Settings, slot: Slot) -> dict[str, Any]:
    """Between how many replicas the deployment of ``slot`` varies, and by which rule."""
    fewest, most = num_replicas(settings, slot)
    scaling, idle_secs, busy = settings.scaling, settings.scaling.idle_secs(slot), _busy(settings, slot)
    rule = {"fewest": fewest, "queue_secs": scaling.scale_queue_secs, "busy": busy, "idle_secs": idle_secs}
    return {
        "min_replicas": 0 if idle_secs else fewest,
        "initial_replicas": fewest,
        "max_replicas": most,
        "target_ongoing_requests": busy,
        "upscale_delay_s": scaling.scale_up_secs,
        "downscale_delay_s": scaling.scale_down_secs,
        "downscale_to_zero_delay_s": 0,  # The rule itself waits until an engine has not been used for long enough.
        "look_back_period_s": _LOOK_BACK_SECS,
        "policy": {"policy_function": POLICY, "policy_kwargs": rule},
    }


def max_ongoing(settings: Settings, slot: Slot) -> int:
    """Requests a replica holds at once."""
    return _ROOM[slot] + 2 * _batch(settings, slot)


def archive_places(settings: Settings, slot: Slot) -> int:
    """Requests of archives that one gateway may have in the replicas of ``slot``: the gateway's share of half the
    places.
    """
    fewest, _ = num_replicas(settings, slot)
    return max(1, max_ongoing(settings, slot) // 2 * fewest // settings.engines.gateway_replicas)


def _busy(settings: Settings, slot: Slot) -> int:
    """Requests that keep a replica busy: its current ones and the same number of waiting ones."""
    return 2 * _batch(settings, slot)


def _batch(settings: Settings, slot: Slot) -> int:
    return settings.engines.asr_max_batch if slot == "recognizer" and _loads_a_model(settings, slot) else 1


def _gpus(settings: Settings, slot: Slot) -> float:
    engines = settings.engines
    if engines.device == "cpu" or not _loads_a_model(settings, slot):
        return 0.0
    shares: dict[Slot, float] = {
        "recognizer": engines.asr_gpus,
        "diarizer": engines.diarizer_gpus,
        "event_detector": engines.events_gpus,
        "synthesizer": engines.tts_gpus,
        "language_model": 0.0,
    }
    return shares[slot]


def _loads_a_model(settings: Settings, slot: Slot) -> bool:
    return ENGINES[slot][choice(settings, slot).engine].model is not None
