"""Adds the name of the request's field to errors of functions that do not know the field."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from schemas.errors import InvalidAudio, NotFound, PayloadTooLarge


@contextmanager
def at_field(field: str) -> Iterator[None]:
    """Within the block InvalidAudio, PayloadTooLarge and NotFound name ``field``: as ``param``, and at the start of the
    message.
    """
    try:
        yield
    except (InvalidAudio, PayloadTooLarge, NotFound) as error:
        start = f"{field}: "
        message = error.message if error.message.startswith(start) else start + error.message
        raise type(error)(message, code=error.code, param=field) from error
