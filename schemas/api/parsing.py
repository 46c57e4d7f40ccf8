"""Checks bodies and messages of clients against models. Errors name the field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from schemas.errors import FluxionsError, InvalidParameter, InvalidRequest

M = TypeVar("M", bound=BaseModel)


@contextmanager
def well_formed() -> Iterator[None]:
    """Within the block, a field that is absent or of another type raises InvalidRequest, which names it."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidRequest(f"the body is not of the form this route takes: {error}", code="bad_frame") from error


def validated(model: type[M], data: Any) -> M:
    """``data`` as ``model``. Raises InvalidRequest that names the field."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise InvalidRequest(first_problem(error), code="bad_frame") from error


def first_problem(error: ValidationError) -> str:
    """The first problem Pydantic found, with the path of the field, as ``files.3.sha256: ...``."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'object'}: {first['msg']}"


def validation_error(errors: Sequence[Any]) -> FluxionsError:
    """The first of Pydantic's errors as InvalidParameter that names the field, or InvalidRequest for bad JSON."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return InvalidRequest("the body is not JSON; check quotes and commas", code="invalid_json")
    # Of a field with several types Pydantic adds the type, as "literal['auto']", which is no part of the request.
    where = [str(part) for part in first["loc"] if part not in ("body", "query", "path", "header") and "[" not in str(part)]
    param = ".".join(where) or str(first["loc"][0])
    return InvalidParameter(f"{param}: {first['msg'][0].lower()}{first['msg'][1:]}", param=param)
