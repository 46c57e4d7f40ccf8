"""The language model as a Ray Serve deployment that streams answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, TypeVar

from ray import serve

from schemas.engines import EngineInfo
from schemas.language_model import ChatDelta, ChatRequest
from schemas.settings import Settings
from serve.engines.registry import build_language_model
from serve.engines.replica_load import ReplicaLoad
from serve.engines.replica_loader import Loaded
from telemetry.metrics import count_engine

T = TypeVar("T")


@serve.deployment
class LanguageModelDeployment:
    """A replica processes several requests at once."""

    def __init__(self, settings: Settings) -> None:
        # llama.cpp warms up while it loads, and a remote server needs no warm-up from here.
        self._loaded = Loaded(settings, "language_model", build_language_model, lambda model: model.info)
        self._load = ReplicaLoad()

    async def chat(self, request: ChatRequest) -> AsyncIterator[tuple[ChatDelta, ...]]:
        """The answer in portions; called with ``handle.options(stream=True)``.

        The generation ends when the caller disconnects. Raises the errors of `LanguageModel.stream`, and Unavailable if the
        model could not be loaded.
        """
        began = time.perf_counter()
        try:
            with self._load.use():
                async with aclosing(gathered(self._loaded.engine.stream(request))) as portions:
                    async for portion in portions:
                        yield portion
        finally:
            count_engine("language_model", time.perf_counter() - began)

    async def info(self) -> EngineInfo:
        """Raises Unavailable if the model could not be loaded."""
        return self._loaded.engine.info

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Called by Ray Serve where the number of replicas follows the load."""
        return self._load.report()


async def gathered(items: AsyncGenerator[T, None]) -> AsyncGenerator[tuple[T, ...], None]:
    """``items`` in portions: the first item alone, then all items that arrived while the last portion was processed.

    A message between processes takes about a millisecond, in which a fast model generates several tokens. Closing this
    closes ``items``. Their exceptions are raised after the items before them.
    """
    waiting: list[T] = []
    changed = asyncio.Event()

    async def collect() -> None:
        async with aclosing(items):
            async for item in items:
                waiting.append(item)
                changed.set()

    collecting = asyncio.create_task(collect())
    collecting.add_done_callback(lambda _: changed.set())
    try:
        while True:
            await changed.wait()
            changed.clear()
            if waiting:
                portion = tuple(waiting)
                waiting.clear()
                yield portion
            if collecting.done() and not waiting:
                await collecting
                return
    finally:
        collecting.cancel()
        await asyncio.gather(collecting, return_exceptions=True)


async def chat(handle: Any, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
    """An answer from a deployment's handle with ``stream=True``. Closing it ends the generation.

    Raises the errors of `LanguageModelDeployment.chat`, as Ray delivers them.
    """
    portions = handle.chat.remote(request)
    try:
        async for portion in portions:
            for delta in portion:
                yield delta
    finally:
        portions.cancel()
