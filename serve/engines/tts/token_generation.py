"""Runs token-generating speech models: one generation at a time, in a thread, with its tokens as a stream."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from schemas.domain import Seconds
from schemas.errors import EngineFailure

if TYPE_CHECKING:
    import torch

_PATIENCE_SECS: Final = 0.05
"""Interval at which a caller that waits for a token can stop."""
_BASE_SECS, _SECS_PER_CHAR = 2.0, 0.2


def longest_secs(text: str) -> Seconds:
    """Limit on a model's audio of ``text``: three times the length of a slow reader's, against endless generation."""
    return _BASE_SECS + _SECS_PER_CHAR * len(text)


class _Left(Exception):
    """The generation was stopped by its caller."""


class _Tap:
    """A streamer of transformers: `put` is called with the prompt, then after each step with its tokens.

    It ends a generation by raising, because CSM ignores stopping criteria.
    """

    def __init__(self) -> None:
        self.rows: SimpleQueue[torch.Tensor | None] = SimpleQueue()
        self.left = threading.Event()
        self._begun = False

    def put(self, tokens: torch.Tensor) -> None:
        if self.left.is_set():
            raise _Left
        if self._begun:
            self.rows.put(tokens)
        self._begun = True

    def end(self) -> None:
        """Required of a streamer; the end of a generation is noticed by its thread."""


class Generations:
    """A queue for one model, first come first served. A generation does not wait for the consumer of its tokens."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "generation")

    def tokens(self, generate: Callable[..., object], seed: int) -> Generator[torch.Tensor | None, None, None]:
        """The tokens of each step of ``generate(streamer=...)``, on the CPU; None after an interval without any.

        Closing it stops the generation after the current step, and returns when the model is free again. The same
        ``seed`` gives the same tokens on the same machine. Raises EngineFailure.
        """
        tap = _Tap()
        running = self._thread.submit(_run, generate, tap, seed)
        try:
            while (tokens := _next(tap, running)) is not _ENDED:
                yield tokens
            if error := running.exception():
                raise EngineFailure(f"the model failed while it spoke: {type(error).__name__}") from error
        finally:
            tap.left.set()
            if not running.cancel():
                wait([running])


_ENDED: Final[Any] = object()


def _next(tap: _Tap, running: Future[None]) -> torch.Tensor | None:
    try:
        tokens = tap.rows.get(timeout=_PATIENCE_SECS)
    except Empty:
        return None
    return _ENDED if tokens is None else tokens


def _run(generate: Callable[..., object], tap: _Tap, seed: int) -> None:
    import torch

    try:
        torch.manual_seed(seed)
        generate(streamer=tap)
    except _Left:
        pass
    finally:
        tap.rows.put(None)
