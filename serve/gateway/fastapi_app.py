"""The gateway's FastAPI application: routes, errors, documentation. Knows nothing of Ray."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from schemas.api.errors import ErrorBody
from schemas.errors import FluxionsError
from schemas.records import AuditEvent
from serve.account_slots import AccountSlots
from serve.gateway import errors
from serve.gateway.access import AccessRules
from serve.gateway.access_watch import AccessWatch
from serve.gateway.dependencies import Services
from serve.gateway.gate import Gate, check_declared
from serve.gateway.http_methods import HeadRequests
from serve.gateway.idempotency import Idempotency
from serve.gateway.lease_heartbeat import LeaseHeartbeat, MarkReachable
from serve.gateway.open_streams import OpenStreams
from serve.gateway.request_metrics import RequestMetrics
from serve.gateway.routes import (
    accounts,
    archives,
    corrections,
    health,
    history,
    history_search,
    imports,
    keys,
    live_socket,
    models,
    objects,
    openai_speech,
    openai_transcriptions,
    openai_voices,
    operator,
    progress,
    realtime,
    render_audio,
    sharing,
    speakers,
    speech,
    speech_socket,
    studio,
    transcriptions,
    usage,
    voices,
    webhooks,
)

_PREFLIGHT_SECS = 600
_EXPOSED = (
    *("X-Request-Id", "Retry-After", "Content-Disposition"),
    *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
)
"""Response headers that the script of a web page may read."""
logger = logging.getLogger(__name__)

_DESCRIPTION = """
Speech to text with speakers and non-speech sounds, and text to speech, on your own machine.
Every error has the body `{"error": {"message", "type", "code", "param"}, "request_id"}`;
ask for `application/problem+json` to get RFC 9457 instead.
"""

_ERRORS = {
    status: {"model": ErrorBody, "description": text}
    for status, text in {
        400: "Not understood, for example no JSON or no recording.",
        401: "No key, or an unknown one.",
        403: "A key without the required scope.",
        404: "Does not exist, or belongs to another account.",
        409: "Not possible in the present state: changed meanwhile, or in progress.",
        413: "More bytes than are accepted.",
        422: "A field with a value outside its bounds.",
        429: "Over a limit of requests, bytes or time.",
        503: "A part is starting; try again.",
    }.items()
}


_USES_NOTED_SECS = 60.0
_BARE = (health.router, speech_socket.router, live_socket.router, studio.router)
_ROUTERS = (
    realtime.router,
    objects.router,
    transcriptions.router,
    progress.router,
    corrections.router,
    speech.router,
    voices.router,
    history_search.router,  # before the routes with an id in the place of "search"
    history.router,
    render_audio.router,
    sharing.router,
    usage.router,
    operator.router,
    keys.router,
    accounts.router,
    models.router,
    openai_transcriptions.router,
    openai_speech.router,
    openai_voices.router,
    speakers.router,
    webhooks.router,
    archives.router,
    imports.router,
)


def create_app(services: Services) -> FastAPI:
    """The application over ``services``: routes, error handlers, and the lease heartbeat."""
    errors.count_from_zero("storage_full")
    watch = AccessWatch(services.ledger.keys, services.settings.auth.key_cache_secs)
    heartbeat = LeaseHeartbeat(services.ledger.jobs, services.settings.jobs.lease_secs)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.loop = asyncio.get_running_loop()
        tasks = [
            asyncio.create_task(heartbeat.run(), name="lease heartbeat"),
            asyncio.create_task(_note_uses(services), name="uses of keys"),
            asyncio.create_task(watch.run(), name="access of what is open"),
            asyncio.create_task(services.webhook_sender.run(), name="webhook sender"),
            asyncio.create_task(services.history.run(), name="removal of old indexes"),
        ]
        yield
        for task in tasks:
            task.cancel()
        await services.close()

    app = FastAPI(title="Fluxions", version="1", description=_DESCRIPTION, redoc_url=None, lifespan=lifespan)
    app.state.services = services
    rules = AccessRules.of(services.settings)
    check_declared((*_BARE, *_ROUTERS), rules)

    async def record(event: AuditEvent) -> None:
        await services.ledger.records.add_audit([event])

    app.add_middleware(Idempotency, answers=services.stored_answers)
    at_once = services.settings.limits.uploads_at_once
    streams = OpenStreams(services.settings.limits)
    app.add_middleware(
        Gate,
        rules=rules,
        keys=services.keys,
        limits=services.client_limits,
        streams=streams,
        watch=watch,
        uploads=AccountSlots(at_once, "uploads"),
        forms=AccountSlots(at_once, "forms"),
        record=record,
    )
    errors.install(app)
    app.add_middleware(MarkReachable, heartbeat=heartbeat)
    app.add_middleware(HeadRequests)
    if origins := services.settings.auth.cors_origin_list:
        # The page's script sends the key in a header. The browser itself never sends it, so credentials are not allowed.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=_EXPOSED,
            max_age=_PREFLIGHT_SECS,
        )
    app.add_middleware(RequestMetrics, rules=rules)
    for router in _BARE:
        app.include_router(router)
    for router in _ROUTERS:
        app.include_router(router, responses=_ERRORS)  # type: ignore[arg-type]
    return app


async def _note_uses(services: Services) -> None:
    while True:
        await asyncio.sleep(_USES_NOTED_SECS)
        try:
            await services.keys.note_uses()
        except FluxionsError as error:
            logger.warning("the ledger did not record the uses of keys: %s", error.code)
