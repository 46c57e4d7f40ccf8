"""Scales the gateway to the number of replicas that the machines of a cluster offer. Runs in Ray Serve's controller."""

from __future__ import annotations

from typing import Any


def as_offered(context: Any) -> tuple[int, dict[str, Any]]:
    """(replicas, state) for Ray Serve.

    The replicas are the sum of the resource ``fluxions_gateway`` of all live machines.
    """
    import ray

    offered = ray.cluster_resources().get("fluxions_gateway", 0.0)  # type: ignore[no-untyped-call]
    return max(1, int(offered)), {}
