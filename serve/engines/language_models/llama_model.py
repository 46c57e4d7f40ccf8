"""A loaded GGUF model: llama.cpp's server in this process, called without HTTP, with several answers at once.

The server batches concurrent answers token by token and caches prompts, so that a conversation's next turn processes only
new tokens. It also listens on a loopback port, which cannot be used because its key is discarded.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from schemas.domain import Seconds
from schemas.engines import EngineInfo
from schemas.errors import EngineFailure, FluxionsError, InvalidRequest, Unavailable
from schemas.language_model import ChatDelta, ChatRequest
from serve.engines.language_models import chat_body
from serve.engines.language_models.chat_chunks import ChunkReader
from serve.engines.language_models.forced_call import forced_call, is_forced
from serve.engines.language_models.pieces import Pacing, next_piece
from serve.engines.language_models.plain_messages import without_tools

_WHO: Final = "the language model"
_THREADS: Final = 80
"""Most concurrent requests; each waits in a thread, in C++ and without the GIL."""
_CACHE_MIB: Final = 256
"""Memory for cached prompts of idle conversations."""
_QUIET: Final = 1
"""llama.cpp logs errors only, because its higher levels log prompts."""
_TOO_LONG: Final = "exceed_context_size_error"


@dataclass(frozen=True, slots=True)
class LlamaOptions:
    """``context_tokens`` is for each of ``parallel`` answers; ``has_tools``: the chat template supports tools.

    ``temperature`` is that of requests without one; None for llama.cpp's own.
    """

    context_tokens: int
    parallel: int
    threads: int
    has_tools: bool
    temperature: float | None
    first_token_secs: Seconds
    token_secs: Seconds
    answer_secs: Seconds


class LlamaLanguageModel:
    """A loaded model; a `schemas.language_model.LanguageModel`. Raises Unavailable for a file that llama.cpp refuses."""

    def __init__(self, file: Path, options: LlamaOptions, info: EngineInfo) -> None:
        self.info = info
        self._options = options
        self._threads = ThreadPoolExecutor(_THREADS, "language-model")
        self._stops: set[threading.Event] = set()
        self._server: Any = _server(file, options)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """See `LanguageModel.stream`.

        A model whose template does not support tools gets none. If a call is required, a grammar constrains it to arguments
        that match a tool's schema.
        """
        if not request.messages:
            raise InvalidRequest("a language model needs at least one message", param="messages")
        if request.temperature is None:
            request = replace(request, temperature=self._options.temperature)
        if not self._options.has_tools:
            request = replace(request, messages=without_tools(request.messages))
            if is_forced(request):
                async with aclosing(forced_call(request, self._answer)) as deltas:
                    async for delta in deltas:
                        yield delta
                return
            request = replace(request, tools=())
        async with aclosing(self._answer(chat_body.body(request))) as deltas:
            async for delta in deltas:
                yield delta

    async def close(self) -> None:
        """End all answers and free the model."""
        for stop in list(self._stops):
            stop.set()
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)
        self._server = None

    async def _answer(self, body: dict[str, Any]) -> AsyncGenerator[ChatDelta, None]:
        """One generation. Closing it stops the model after the current token, or after a prompt in progress."""
        reader, loop = ChunkReader(_WHO), asyncio.get_running_loop()
        pieces: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        stop = threading.Event()
        self._stops.add(stop)

        def put(piece: dict[str, Any] | None) -> None:
            try:
                loop.call_soon_threadsafe(pieces.put_nowait, piece)
            except RuntimeError:  # the loop was closed by a program that ended
                stop.set()

        def take(piece: dict[str, Any]) -> bool:
            put(piece)
            return stop.is_set()

        work = loop.run_in_executor(self._threads, self._generate, body, take, stop)
        work.add_done_callback(lambda _: pieces.put_nowait(None))
        pacing = Pacing(_WHO, self._options.first_token_secs, self._options.token_secs, self._options.answer_secs)
        try:
            while (piece := await next_piece(pieces.get(), pacing)) is not None:
                if "error" in piece:
                    raise _refusal(piece["error"])
                for delta in reader.read(piece):
                    pacing.has_begun = True
                    yield delta
            if work.cancelled():
                raise Unavailable("the language model is being closed", retry_after_secs=2)
            await work
            if not reader.has_ended:
                raise EngineFailure("the language model's answer broke off")
        finally:
            stop.set()
            self._stops.discard(stop)
            work.add_done_callback(_seen)

    def _generate(self, body: dict[str, Any], take: Callable[[dict[str, Any]], bool], stop: threading.Event) -> None:
        """Runs in a thread until the end of the answer. ``take`` is called with each chunk and returns whether to stop."""
        server = self._server
        if stop.is_set() or server is None:
            return
        try:
            server.handle_chat_completions(body, take)
        except (ValueError, RuntimeError) as error:
            # Its message may repeat the conversation, so it is dropped.
            raise InvalidRequest(
                "the language model cannot work with this request: check that each tool's parameters are a JSON schema",
                code="llm_rejected",
            ) from error


def _server(file: Path, options: LlamaOptions) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.n_ctx = options.context_tokens * options.parallel
    params.n_parallel = options.parallel
    params.cpuparams.n_threads = options.threads
    params.cpuparams_batch.n_threads = options.threads
    params.cache_ram_mib = _CACHE_MIB
    params.prefill_assistant = False
    params.verbosity = _QUIET
    params.hostnames = ["127.0.0.1"]
    params.api_keys = [secrets.token_urlsafe(32)]
    params.ui = False
    params.endpoint_slots = False
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise Unavailable(
            f"language_model: llama.cpp cannot load {file.name}: {error}", code="model_unavailable"
        ) from error


def _refusal(error: Any) -> FluxionsError:
    """The exception for an error chunk of llama.cpp, whose message may repeat the conversation."""
    kind = error.get("type") if isinstance(error, dict) else None
    if kind == _TOO_LONG:
        asked, most = error.get("n_prompt_tokens"), error.get("n_ctx")
        return InvalidRequest(
            f"the messages are {asked} tokens long, and the language model reads {most}",
            code="context_length_exceeded",
            param="messages",
        )
    if isinstance(error, dict) and error.get("code") == 400:
        return InvalidRequest("the language model refused the request as malformed", code="llm_rejected")
    return EngineFailure(f"the language model failed ({kind})")


def _seen(work: asyncio.Future[None]) -> None:
    """Retrieves an unused exception, so that asyncio does not report it."""
    if not work.cancelled():
        work.exception()
