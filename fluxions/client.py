"""The Python client: `Client`, and `AsyncClient` for asyncio.

from fluxions.client import Client

with Client("http://127.0.0.1:8000", api_key="YOUR_API_KEY") as client:
    print(client.transcribe("interview.mp3").text)
"""

from __future__ import annotations

from clients.sdk import Client
from clients.sdk_async import AsyncClient
from clients.sdk_calls import Event, Recording
from schemas.errors import FluxionsError

__all__ = ["AsyncClient", "Client", "Event", "FluxionsError", "Recording"]
