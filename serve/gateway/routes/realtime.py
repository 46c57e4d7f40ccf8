"""`/v1/realtime`: voice conversations over a WebSocket, in OpenAI's protocol, and client secrets for browsers."""

from __future__ import annotations

import time
from functools import partial
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Body, Depends, WebSocket
from starlette.websockets import WebSocketState

from schemas.api.realtime.client_secrets import ClientSecretBody, ExpiresAfter, NewClientSecret
from schemas.api.realtime.server_events import error_event
from schemas.api.realtime.session_config import Config
from schemas.errors import FluxionsError, InvalidParameter
from serve.gateway.auth import Principal, User, without_scheme
from serve.gateway.dependencies import Services, services
from serve.gateway.errors import refuse_handshake
from serve.gateway.socket_messages import close_code, is_gone, is_open, parted, received
from serve.realtime import beta_dialect
from serve.realtime.items import new_id
from serve.services.client_secrets import PREFIX

router = APIRouter(tags=["realtime"])

_SUBPROTOCOL: Final = "realtime"
_KEY_SUBPROTOCOL: Final = "openai-insecure-api-key."
_Services = Annotated[Services, Depends(services)]
_Flag = TypeVar("_Flag", bool, None)


@router.websocket("/v1/realtime")
@router.websocket("/realtime")
async def converse(socket: WebSocket) -> None:
    """A session that lasts as long as its socket. The key is in the Authorization header, or, from a browser, in the
    subprotocol `openai-insecure-api-key.KEY`."""
    s: Services = socket.app.state.services
    try:
        stores, eager = _flag(socket, "store_audio", default=True), _flag(socket, "eager", default=None)
        async with socket.state.stream.while_valid(partial(_tell, socket)):
            account, config = await _opened(socket, s)
            earlier = await s.realtime.earlier(account, socket.query_params.get("conversation_id"))
            async with s.realtime.room(account):
                await socket.accept(subprotocol=_SUBPROTOCOL if _SUBPROTOCOL in _offered(socket) else None)
                ending = await s.realtime.run(
                    account,
                    config,
                    socket.send_text,
                    lambda: received(socket),
                    earlier=earlier,
                    beta=_speaks_beta(socket),
                    store_audio=stores,
                    eager=eager,
                )
                # The session counts as open until then: who ends this process waits for the last one.
                if not ending.is_gone and not is_gone(socket):
                    await parted(socket.close(ending.code, ending.reason))
    except FluxionsError as error:
        await parted(_refuse(socket, error))


async def _opened(socket: WebSocket, s: Services) -> tuple[str, Config]:
    """The account of the socket, and the initial session. Raises Unauthenticated, Forbidden, RateLimited."""
    key = _key(socket)
    secret = without_scheme(key or "")
    if secret.startswith(PREFIX):
        grant = await s.client_secrets.find(secret)
        if grant.key_id is not None:
            await s.keys.check_key(grant.key_id, "realtime")
        holder = Principal(
            grant.account,
            f"secret {grant.id}",
            frozenset({"realtime"}),
            is_key=False,
            ends_at=grant.session_ends_at,
            api_key_id=grant.key_id,
        )
        socket.state.stream.belongs_to(holder)
        return grant.account, await s.realtime.config_of(grant.session, grant.account)
    principal = await s.keys.principal(key)
    principal.require("realtime")
    socket.state.stream.belongs_to(principal)
    return principal.account, s.realtime.config(socket.query_params.get("model"), socket.query_params.get("intent"))


def _flag(socket: WebSocket, name: str, *, default: _Flag) -> bool | _Flag:
    """A query parameter that is `true` or `false`. Raises InvalidParameter."""
    value = socket.query_params.get(name)
    if value not in (None, "true", "false"):
        raise InvalidParameter(f"{name}: {value[:80]!r} is neither true nor false", param=name)
    return default if value is None else value == "true"


def _offered(socket: WebSocket) -> list[str]:
    offered: list[str] = socket.scope.get("subprotocols", [])
    return offered


def _key(socket: WebSocket) -> str | None:
    """The key from the header or the subprotocol."""
    if (header := socket.headers.get("authorization")) is not None:
        return header
    offered = (one.removeprefix(_KEY_SUBPROTOCOL) for one in _offered(socket) if one.startswith(_KEY_SUBPROTOCOL))
    return next(offered, None)


def _speaks_beta(socket: WebSocket) -> bool:
    name, value = beta_dialect.HEADER
    return value in socket.headers.get(name, "") or beta_dialect.SUBPROTOCOL in _offered(socket)


async def _tell(socket: WebSocket, error: FluxionsError) -> None:
    """Tell an open session at once why it ends. A handshake is refused by `converse`."""
    if is_open(socket):
        await parted(_refuse(socket, error))


async def _refuse(socket: WebSocket, error: FluxionsError) -> None:
    """Refuse the handshake with the error's status. Where the server cannot, or the session is open, send the error and
    close."""
    if is_gone(socket):
        return
    if socket.application_state is WebSocketState.CONNECTING:
        if await refuse_handshake(socket, error):
            return
        await socket.accept()
    event = error_event(kind="invalid_request_error", code=error.code, message=error.message)
    await socket.send_json({"event_id": new_id("event"), **event})
    await socket.close(close_code(error), error.code)


@router.post("/v1/realtime/client_secrets")
@router.post("/realtime/client_secrets", include_in_schema=False)
async def create_client_secret(ask: NewClientSecret, user: User, s: _Services) -> ClientSecretBody:
    """A secret for browsers, which can only open realtime sessions of your account, for some minutes."""
    return await _created(s, user, ask.session, ask.expires_after.seconds)


async def _created(s: Services, user: Principal, session: dict[str, Any], seconds: int) -> ClientSecretBody:
    """The response with a new secret, which expires no later than the key or token that made it. Its sessions end with that
    key or token, too."""
    config = await s.realtime.config_of(session, user.account)
    if user.ends_at is not None:
        seconds = min(seconds, user.ends_at - int(time.time()))
    value, grant = await s.client_secrets.create(user.account, config.model_dump(), seconds, user.api_key_id, user.ends_at)
    return ClientSecretBody(value=value, expires_at=grant.expires_at, session=config.body(new_id("sess"), grant.expires_at))


@router.post("/v1/realtime/sessions", include_in_schema=False)
async def create_session(user: User, s: _Services, flat: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
    """A client secret in the form of the beta protocol."""
    return await _flat_session(s, user, flat, "realtime")


@router.post("/v1/realtime/transcription_sessions", include_in_schema=False)
async def create_transcription_session(user: User, s: _Services, flat: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
    """A client secret of a transcription session, in the form of the beta protocol."""
    return await _flat_session(s, user, flat, "transcription")


async def _flat_session(s: Services, user: Principal, flat: dict[str, Any], kind: str) -> dict[str, Any]:
    made = await _created(s, user, beta_dialect.ga_session(flat, kind), ExpiresAfter().seconds)
    secret = {"value": made.value, "expires_at": made.expires_at}
    return {**beta_dialect.flat_session(made.session), "client_secret": secret}
