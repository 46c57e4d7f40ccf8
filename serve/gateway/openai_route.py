"""Common behaviour of the routes of OpenAI's API: bad fields are a 400, and a header names the model that answered."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from schemas.api.parsing import validation_error
from schemas.errors import InvalidParameter, InvalidRequest


class OpenAIRoute(APIRoute):
    """A route that answers 400 for invalid fields, as OpenAI's servers do, where other routes answer 422."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of the base class, with invalid fields as bad requests."""
        handle = super().get_route_handler()

        async def handle_openai(request: Request) -> Response:
            try:
                answer: Response = await handle(request)
            except RequestValidationError as error:
                raise _bad_request(validation_error(error.errors())) from None
            except InvalidParameter as error:
                raise _bad_request(error) from error
            return answer

        return handle_openai


def _bad_request(error: Any) -> InvalidRequest:
    return InvalidRequest(error.message, code=error.code, param=error.param)
