"""Configures logging in processes that Ray starts: replicas of the gateway and of engines, and the ledger."""

from __future__ import annotations

import sys

from schemas.settings import Settings
from telemetry.log_lines import configure, request_id


def configure_replica(settings: Settings) -> None:
    """Format this replica's log lines according to the settings. Does nothing in a process that is no replica."""
    from ray import serve
    from ray.serve.exceptions import RayServeException

    try:
        serve.get_replica_context()
    except RayServeException:
        return
    configure(settings.server.log_format, sys.stderr, _request_of_serve)


def configure_actor(settings: Settings) -> None:
    """Format the log lines of this actor according to the settings. Does nothing in a process without Ray."""
    import ray

    if ray.is_initialized():
        configure(settings.server.log_format, sys.stderr)


def _request_of_serve() -> str:
    """The id of the gateway's request. Ray Serve passes the id to the replicas that the request uses."""
    from ray.serve.context import _get_serve_request_context

    return request_id.get() or _get_serve_request_context().request_id
