"""The error bodies of all routes."""

from __future__ import annotations

from pydantic import BaseModel, Field

from schemas.errors import FluxionsError


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str = Field(description="What was wrong, with which value, and what to do.")
    type: str = Field(description="Kind of error, one for each HTTP status family.")
    code: str = Field(description="Stable name for programs.")
    param: str | None = Field(None, description="The field with the error, if there is one.")


class ErrorBody(BaseModel):
    """The body of every error response."""

    error: ErrorDetail
    request_id: str = Field(description="Also in the `X-Request-Id` header; quote it when asking for help.")


class ProblemBody(BaseModel):
    """The same error as RFC 9457 `application/problem+json`, when the client asks for it."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    param: str | None = None
    request_id: str


def error_body(error: FluxionsError, request_id: str) -> ErrorBody:
    """The JSON body for ``error``."""
    detail = ErrorDetail(message=error.message, type=error.type, code=error.code, param=error.param)
    return ErrorBody(error=detail, request_id=request_id)


def problem_body(error: FluxionsError, request_id: str) -> ProblemBody:
    """The RFC 9457 body for ``error``."""
    return ProblemBody(
        type=f"urn:fluxions:error:{error.code}",
        title=error.type.replace("_", " "),
        status=error.status,
        detail=error.message,
        code=error.code,
        param=error.param,
        request_id=request_id,
    )
