"""`/v1/listen`: live transcription, with the platform's own protocol or Deepgram's; `/v3/ws`: with AssemblyAI's.

On `/v1/listen`, connections with a query use Deepgram's protocol, and connections without a query the platform's own.
"""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from schemas.errors import FluxionsError, InvalidRequest, Unauthenticated
from serve.gateway.auth import Principal
from serve.gateway.dependencies import Services
from serve.gateway.errors import logger
from serve.gateway.socket_messages import is_gone, is_open, parted, received
from serve.live.assemblyai_protocol import AssemblyAIProtocol
from serve.live.assemblyai_protocol import parse_query as parse_assemblyai_query
from serve.live.deepgram_protocol import DeepgramProtocol, parse_query
from serve.live.live_protocol import LiveProtocol, LiveRequest, Message
from serve.live.live_stream import ClientLeft, next_message
from serve.live.own_protocol import OwnProtocol, parse_start

router = APIRouter()


@router.websocket("/v1/listen")
async def listen(socket: WebSocket) -> None:
    """Transcribe audio while it is received."""
    # Browsers cannot send headers. In a browser, Deepgram's clients send the key as a subprotocol.
    offered: list[str] = socket.scope.get("subprotocols", [])
    await socket.accept(subprotocol="token" if offered[:1] == ["token"] else None)
    await _serve(socket, DeepgramProtocol(socket.query_params) if socket.query_params else OwnProtocol())


@router.websocket("/v3/ws")
async def listen_as_assemblyai(socket: WebSocket) -> None:
    """Transcribe audio while it is received, for AssemblyAI's clients."""
    await socket.accept()
    await _serve(socket, AssemblyAIProtocol(socket.query_params))


async def _serve(socket: WebSocket, protocol: LiveProtocol) -> None:
    s: Services = socket.app.state.services
    try:
        async with socket.state.stream.while_valid(partial(_tell, socket, protocol)):
            # A socket takes a place only with a key, so that clients without one cannot take all of them.
            principal, request = await _opened(socket, s, protocol)
            principal.require("transcribe")
            socket.state.stream.belongs_to(principal)
            with s.live_streams.place(principal.account):
                await s.live_streams.run(
                    principal.account, request, protocol, partial(_send, socket), partial(received, socket)
                )
            await socket.close()
    except (ClientLeft, WebSocketDisconnect):
        return
    except FluxionsError as error:
        await parted(_refuse(socket, protocol, error))
    except Exception as error:
        logger.error("unexpected %s on a live socket", type(error).__name__, exc_info=error)
        await parted(_refuse(socket, protocol, FluxionsError("something broke on our side; try again")))


async def _opened(socket: WebSocket, s: Services, protocol: LiveProtocol) -> tuple[Principal, LiveRequest]:
    """The account and the request of a socket. Raises Unauthenticated, InvalidParameter, InvalidRequest, ClientLeft."""
    header = socket.headers.get("authorization")
    query = socket.query_params
    if isinstance(protocol, AssemblyAIProtocol):
        return await s.keys.principal(header or query.get("token")), parse_assemblyai_query(query)
    offered: list[str] = socket.scope.get("subprotocols", [])
    if header is None and len(offered) > 1 and offered[0] == "token":
        header = offered[1]
    if isinstance(protocol, DeepgramProtocol):
        key = (header or "").removeprefix("Token ").removeprefix("token ")
        return await s.keys.principal(key or None), parse_query(query, query.getlist("keyterm"))
    message = await next_message(partial(received, socket), s.live_streams.limits.idle_secs)
    start = parse_start(message) if isinstance(message, str) else None
    if start is None:
        raise InvalidRequest("the first message must be `start`", code="not_started")
    if start.token is None and header is None:
        raise Unauthenticated(
            "send your API key in the Authorization header, or as `token` of `start`", code="missing_api_key"
        )
    return await s.keys.principal(start.token or header), start.request()


async def _send(socket: WebSocket, message: Message) -> None:
    """Raises ClientLeft."""
    try:
        await socket.send_json(message)
    except WebSocketDisconnect:
        raise ClientLeft from None


async def _tell(socket: WebSocket, protocol: LiveProtocol, error: FluxionsError) -> None:
    """Tell the client at once why its stream ends."""
    if is_open(socket):
        await parted(_refuse(socket, protocol, error))


async def _refuse(socket: WebSocket, protocol: LiveProtocol, error: FluxionsError) -> None:
    if is_gone(socket):
        return
    messages, code, reason = protocol.failed(error)
    for message in messages:
        await socket.send_json(message)
    await socket.close(code, reason)
