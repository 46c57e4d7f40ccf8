"""The application for a Ray cluster that deploys it by a Serve configuration, as KubeRay's RayService does.

``import_path: serve.cluster_app:application``. Ray calls `application` in a task on the cluster. Settings come from the
environment of Ray's processes, which must be the same on all machines. Keys are needed only where the ledger may run.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import ray
from ray import serve

from lakehouse.storage.signed_urls import home_secret
from schemas.domain import Seconds
from schemas.errors import InvalidParameter, Unavailable
from schemas.settings import Settings
from serve import app
from serve.built_in_keys import ensure_keys
from serve.engines.placement import role_share
from serve.ledger_watch import start_watch
from serve.supervisor.instance import reached_by_all
from telemetry.log_lines import configure

_LEDGER_SECS: Final[Seconds] = 180.0
"""How long the ledger may take to open. An earlier ledger may hold its lease, and a large one reads for long."""
_PAUSE_SECS: Final[Seconds] = 2.0


def application(arguments: dict[str, Any]) -> serve.Application:
    """Start the ledger and its watch, and return the application graph.

    Raises InvalidParameter for any ``arguments``, for storage that other machines cannot reach, and for an unknown engine;
    Unavailable if the ledger does not open within three minutes.
    """
    if arguments:
        raise InvalidParameter("the application has no arguments; settings are environment variables", param="args")
    settings = settings_of(ray.get_runtime_context().gcs_address)
    configure(settings.server.log_format)
    app.start_ledger(settings)
    start_watch(settings)
    prepare = ray.remote(_prepared).options(num_cpus=0, resources=role_share(settings, "ledger"))
    secret = ray.get(prepare.remote(settings))
    # A Ray cluster of Kubernetes has no GPU yet when it deploys the application: its pods start later.
    gpus = 1.0 if settings.engines.device == "cuda" else app.cluster_gpus()
    return app.build(settings, secret, gpus)


def settings_of(ray_address: str) -> Settings:
    """The settings of the environment, for the cluster at ``ray_address``.

    Raises InvalidParameter for storage that other machines cannot reach.
    """
    settings = Settings()
    if not reached_by_all(settings.storage.storage_url):
        raise InvalidParameter(
            "a cluster needs storage that every machine reaches: set FLUXIONS_STORAGE_URL to a bucket (s3://…) or to the "
            "absolute path of a shared folder",
            param="FLUXIONS_STORAGE_URL",
        )
    cluster = settings.cluster.model_copy(update={"ray_address": ray_address})
    return settings.model_copy(update={"cluster": cluster})


def _prepared(settings: Settings) -> bytes:
    """Record the home's keys; returns its secret. Runs on a machine where the ledger may run. Raises Unavailable."""
    settings = settings.on_this_machine()
    deadline = time.monotonic() + _LEDGER_SECS
    while True:
        try:
            asyncio.run(ensure_keys(settings))
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECS)
        else:
            return home_secret(settings.home)
