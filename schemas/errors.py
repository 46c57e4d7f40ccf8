"""Every error this platform raises on purpose, as one tree with one JSON shape.

    FluxionsError                  500  internal_error
    ├── InvalidRequest             400  a request that cannot be served as it is
    │   └── InvalidAudio           400  bytes that are not a recording we can read
    ├── Unauthenticated            401  no key, or one we do not know
    ├── Forbidden                  403  a known key without the needed scope
    ├── NotFound                   404  absent, or another account's
    ├── MethodNotAllowed           405  the path exists, the method does not
    ├── Conflict                   409  the thing moved on (a lost lease, a finished job)
    ├── PayloadTooLarge            413  over a limit in bytes
    ├── RangeNotSatisfiable        416  a byte range outside the object
    ├── InvalidParameter           422  a field with a value outside its bounds; ``param`` names it
    ├── RateLimited                429  try again after ``retry_after_secs``
    ├── EngineFailure              500  a speech engine could not process this input
    ├── Unavailable                503  a part is starting or away; safe to try again
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

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process bounds (Ray, child processes); keyword arguments must survive pickling.
        return _rebuild, (type(self), self.message, self.code, self.param, self.retry_after_secs)


def _rebuild(
    cls: type[FluxionsError], message: str, code: str, param: str | None, retry_after_secs: float | None
) -> FluxionsError:
    return cls(message, code=code, param=param, retry_after_secs=retry_after_secs)


class InvalidRequest(FluxionsError):
    status = 400
    type = "invalid_request_error"
    default_code = "invalid_request"


class InvalidAudio(InvalidRequest):
    default_code = "invalid_audio"


class Unauthenticated(FluxionsError):
    status = 401
    type = "authentication_error"
    default_code = "invalid_api_key"


class Forbidden(FluxionsError):
    status = 403
    type = "permission_error"
    default_code = "forbidden"


class NotFound(FluxionsError):
    status = 404
    type = "not_found_error"
    default_code = "not_found"


class MethodNotAllowed(FluxionsError):
    status = 405
    type = "invalid_request_error"
    default_code = "method_not_allowed"


class Conflict(FluxionsError):
    status = 409
    type = "conflict_error"
    default_code = "conflict"


class PayloadTooLarge(FluxionsError):
    status = 413
    type = "invalid_request_error"
    default_code = "payload_too_large"


class RangeNotSatisfiable(FluxionsError):
    status = 416
    type = "invalid_request_error"
    default_code = "range_not_satisfiable"


class InvalidParameter(FluxionsError):
    status = 422
    type = "invalid_request_error"
    default_code = "invalid_parameter"


class RateLimited(FluxionsError):
    status = 429
    type = "rate_limit_error"
    default_code = "rate_limited"
    retryable = True


class EngineFailure(FluxionsError):
    type = "engine_error"
    default_code = "engine_failure"


class Unavailable(FluxionsError):
    status = 503
    type = "unavailable_error"
    default_code = "unavailable"
    retryable = True


class ServerUnreachable(Unavailable):
    default_code = "server_unreachable"


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
    )
}


def error_from_response(status: int, body: Any) -> FluxionsError:
    """The error a server's answer stands for; ``body`` is its decoded JSON, or anything at all.

    The gateway always answers in its own shape. Another shape comes from the proxy before it, which knows no routes and
    says 404 while the application starts, and 500 or more when the gateway dies with a request in hand: Unavailable.
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
