"""The gateway's FastAPI application: routes, errors, documentation. Knows nothing of Ray."""

from __future__ import annotations

from fastapi import FastAPI

from schemas.api.errors import ErrorBody
from serve.gateway import errors
from serve.gateway.routes import health, history, imports, objects, operator, transcriptions
from serve.gateway.services import Services

_DESCRIPTION = """
Speech to text with speakers and non-speech sounds, on a machine of your own.
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
    app = FastAPI(title="Fluxions", version="1", description=_DESCRIPTION, redoc_url=None)
    app.state.services = services
    errors.install(app)
    app.include_router(health.router)
    app.include_router(transcriptions.router, responses=_ERRORS)  # type: ignore[arg-type]
    app.include_router(history.router, responses=_ERRORS)  # type: ignore[arg-type]
    app.include_router(objects.router)
    app.include_router(operator.router, responses=_ERRORS)  # type: ignore[arg-type]
    app.include_router(imports.router, responses=_ERRORS)  # type: ignore[arg-type]
    return app
