"""Every error this platform raises on purpose, as one tree with one JSON shape.

    FluxionsError                  500  internal_error
    ├── InvalidRequest             400  a request that cannot be served as it is
    │   └── InvalidAudio           400  bytes that are not a recording we can read
    ├── Unauthenticated            401  no key, or one we do not know
    ├── Forbidden                  403  a known key without the needed scope
    ├── NotFound                   404  absent, or another account's
    ├── MethodNotAllowed           405  the path exists, the method does not
    ├── Conflict                   409  the thing has changed meanwhile (a lost lease, a finished job)
    │   └── RequestInProgress      409  a request with the same Idempotency-Key is being carried out
    ├── PayloadTooLarge            413  over a limit in bytes
    ├── RangeNotSatisfiable        416  a byte range outside the object
    ├── InvalidParameter           422  a field with a value outside its bounds; ``param`` names it
    ├── RateLimited                429  try again after ``retry_after_secs``
    ├── EngineFailure              500  a speech engine could not process this input
    ├── DamagedObject              500  stored bytes are not those that were written
    ├── Unavailable                503  a part is starting or away; safe to try again
    │   └── StorageFull            507  no space left; accepted work goes on, uploads are refused
    └── ServerUnreachable          503  seen by clients only: nothing answered

The body is ``{"error": {"message", "type", "code", "param"}, "request_id"}``; see `schemas.api.errors`.
Messages never carry transcript text, keys or tokens.
"""

from __future__ import annotations

from typing import Any, ClassVar


class FluxionsError(Exception):
    """Base of the tree. ``message`` is for people, ``code`` for programs, ``param`` names the field at fault."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    default_code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after_secs: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.param = param
        self.retry_after_secs = retry_after_secs
        self.headers: dict[str, str] = {}
        """Additional headers of the response; they are not passed between processes."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors are pickled between processes (Ray, child processes); keyword arguments must survive that.
        return _rebuild, (type(self), self.message, self.code, self.param, self.retry_after_secs)


def _rebuild(
    cls: type[FluxionsError], message: str, code: str, param: str | None, retry_after_secs: float | None
) -> FluxionsError:
    return cls(message, code=code, param=param, retry_after_secs=retry_after_secs)


class InvalidRequest(FluxionsError):
    """A request that cannot be served as it is."""

    status = 400
    type = "invalid_request_error"
    default_code = "invalid_request"


class InvalidAudio(InvalidRequest):
    """Bytes that are not a recording we can read, or one without sound."""

    default_code = "invalid_audio"


class Unauthenticated(FluxionsError):
    """No API key, or an unknown one."""

    status = 401
    type = "authentication_error"
    default_code = "invalid_api_key"


class Forbidden(FluxionsError):
    """A known key without the scope that is needed, or a link that was changed."""

    status = 403
    type = "permission_error"
    default_code = "forbidden"


class NotFound(FluxionsError):
    """The thing does not exist, or belongs to another account."""

    status = 404
    type = "not_found_error"
    default_code = "not_found"


class MethodNotAllowed(FluxionsError):
    """The path exists, but not with this method."""

    status = 405
    type = "invalid_request_error"
    default_code = "method_not_allowed"


class Conflict(FluxionsError):
    """The thing has changed meanwhile: a lost lease, a finished job."""

    status = 409
    type = "conflict_error"
    default_code = "conflict"


class RequestInProgress(Conflict):
    """A request with the same Idempotency-Key is being carried out; repeat this one to get its answer."""

    default_code = "idempotency_in_progress"
    retryable = True


class PayloadTooLarge(FluxionsError):
    """A body over its limit in bytes."""

    status = 413
    type = "invalid_request_error"
    default_code = "payload_too_large"


class RangeNotSatisfiable(FluxionsError):
    """A byte range outside the object."""

    status = 416
    type = "invalid_request_error"
    default_code = "range_not_satisfiable"


class InvalidParameter(FluxionsError):
    """A field whose value is outside its bounds; ``param`` names it."""

    status = 422
    type = "invalid_request_error"
    default_code = "invalid_parameter"


class RateLimited(FluxionsError):
    """Too many requests; try again after ``retry_after_secs``."""

    status = 429
    type = "rate_limit_error"
    default_code = "rate_limited"
    retryable = True


class EngineFailure(FluxionsError):
    """A speech engine could not process this input."""

    type = "engine_error"
    default_code = "engine_failure"


class DamagedObject(FluxionsError):
    """Stored bytes that are not those that were written, by their digest. Reading them again does not help."""

    type = "storage_error"
    default_code = "damaged_object"


class Unavailable(FluxionsError):
    """A part of the platform is starting or unavailable; trying again is safe."""

    status = 503
    type = "unavailable_error"
    default_code = "unavailable"
    retryable = True


class StorageFull(Unavailable):
    """The disk or the store has no space left for new data."""

    status = 507
    type = "storage_error"
    default_code = "storage_full"


class ServerUnreachable(Unavailable):
    """No server answered. Raised by clients only."""

    default_code = "server_unreachable"


def first_error(group: BaseExceptionGroup[FluxionsError]) -> FluxionsError:
    """The error that a task group failed by."""
    error = group.exceptions[0]
    return first_error(error) if isinstance(error, BaseExceptionGroup) else error


_BY_STATUS: dict[int, type[FluxionsError]] = {
    cls.status: cls
    for cls in (
        InvalidRequest,
        Unauthenticated,
        Forbidden,
        NotFound,
        Conflict,
        PayloadTooLarge,
        InvalidParameter,
        RateLimited,
        Unavailable,
        StorageFull,
    )
}


def error_from_response(status: int, body: Any) -> FluxionsError:
    """The error for a server's response; ``body`` is its decoded JSON, of any shape.

    The gateway always answers in the platform's shape. Another shape comes from the proxy before it. The proxy answers
    404 while the application starts, and 500 or more when the gateway dies during a request: both are Unavailable.
    """
    found = body.get("error") if isinstance(body, dict) else None
    if not isinstance(found, dict) and status == 404:
        return Unavailable("the gateway is starting; try again in a moment", retry_after_secs=2)
    if not isinstance(found, dict) and status >= 500:
        return Unavailable(f"the gateway went away (HTTP {status}); try again in a moment", retry_after_secs=2)
    error: dict[str, Any] = found if isinstance(found, dict) else {}
    cls = _BY_STATUS.get(status, FluxionsError)
    message = str(error.get("message") or f"the server answered HTTP {status}")
    return cls(message, code=error.get("code"), param=error.get("param"))
