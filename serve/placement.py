"""How many replicas a slot has, what each takes of the machine, and how many requests it holds."""

from __future__ import annotations

from typing import Any, Final

from schemas.engines import Slot
from schemas.settings import Settings
from serve.engines import ENGINES, choice, num_replicas

PLACEMENT_CPUS: Final = 0.05
"""Fractions of a CPU are for placement only; engines take what the machine has."""

_ROOM: Final[dict[Slot, int]] = {"recognizer": 64, "diarizer": 16, "event_detector": 16, "synthesizer": 32}
"""Requests a replica takes in beyond the batches it works on: in its own queue interactive ones overtake."""


def options(settings: Settings, slot: Slot, machine_gpus: float) -> dict[str, Any]:
    """Options of the deployment of ``slot`` in a cluster that has ``machine_gpus``.

    Raises InvalidParameter for an engine that does not exist.
    """
    fewest, most = num_replicas(settings, slot)
    found: dict[str, Any] = {
        "max_ongoing_requests": max_ongoing(settings, slot),
        "ray_actor_options": {"num_cpus": PLACEMENT_CPUS, "num_gpus": _gpus(settings, slot) if machine_gpus else 0},
    }
    if most == fewest:
        return {**found, "num_replicas": fewest}
    scaling = {"min_replicas": fewest, "max_replicas": most, "target_ongoing_requests": _busy(settings, slot)}
    return {**found, "autoscaling_config": scaling}


def max_ongoing(settings: Settings, slot: Slot) -> int:
    """Requests a replica holds at once."""
    return _ROOM[slot] + 2 * _batch(settings, slot)


def archive_places(settings: Settings, slot: Slot) -> int:
    """Requests of archives that one gateway may have in the replicas of ``slot``: its share of half the places."""
    fewest, _ = num_replicas(settings, slot)
    return max(1, max_ongoing(settings, slot) // 2 * fewest // settings.engines.gateway_replicas)


def _busy(settings: Settings, slot: Slot) -> int:
    """Requests at which a replica is fully used: those it works on, and as many to follow."""
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
    }
    return shares[slot]


def _loads_a_model(settings: Settings, slot: Slot) -> bool:
    return ENGINES[slot][choice(settings, slot).engine].model is not None
