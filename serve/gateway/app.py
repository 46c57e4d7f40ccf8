"""The gateway's FastAPI application: routes, errors, documentation. Knows nothing of Ray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from schemas.api.errors import ErrorBody
from serve.gateway import errors
from serve.gateway.attending import Attendance, NoteReached
from serve.gateway.routes import (
    archives,
    health,
    history,
    imports,
    models,
    objects,
    operator,
    progress,
    speech,
    speech_socket,
    transcriptions,
    voices,
)
from serve.gateway.services import Services

_DESCRIPTION = """
Speech to text with speakers and non-speech sounds, and text to speech, on a machine of your own.
Every error has the body `{"error": {"message", "type", "code", "param"}, "request_id"}`;
ask for `application/problem+json` to get RFC 9457 instead.
"""

_ERRORS = {
    status: {"model": ErrorBody, "description": text}
    for status, text in {
        401: "No key, or one we do not know.",
        404: "Absent, or another account's.",
        422: "A field with a value outside its bounds.",
        503: "A part is starting; try again.",
    }.items()
}


def create_app(services: Services) -> FastAPI:
    attendance = Attendance(services.ledger, services.settings.jobs.lease_secs)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        attending = asyncio.create_task(attendance.run(), name="attendance")
        yield
        attending.cancel()
        await services.speech.drain()

    app = FastAPI(title="Fluxions", version="1", description=_DESCRIPTION, redoc_url=None, lifespan=lifespan)
    app.state.services = services
    errors.install(app)
    app.add_middleware(NoteReached, attendance=attendance)
    app.include_router(health.router)
    app.include_router(transcriptions.router, responses=_ERRORS)  # type: ignore[arg-type]
    app.include_router(progress.router, responses=_ERRORS)  # type: ignore[arg-type]
    app.include_router(speech.router, responses=_ERRORS)  # type: ignore[arg-type]
    app.include_router(voices.router, responses=_ERRORS)  # type: ignore[arg-type]
    app.include_router(speech_socket.router)
    app.include_router(history.router, responses=_ERRORS)  # type: ignore[arg-type]
    app.include_router(objects.router)
    app.include_router(operator.router, responses=_ERRORS)  # type: ignore[arg-type]
    app.include_router(models.router, responses=_ERRORS)  # type: ignore[arg-type]
    app.include_router(archives.router, responses=_ERRORS)  # type: ignore[arg-type]
    app.include_router(imports.router, responses=_ERRORS)  # type: ignore[arg-type]
    return app
