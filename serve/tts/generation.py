"""Speech from models that generate tokens: one generation at a time in a thread of its own, its tokens as they come."""

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
"""How long a caller waits for a token before it is given a moment to leave."""
_BASE_SECS, _SECS_PER_CHAR = 2.0, 0.2


def longest_secs(text: str) -> Seconds:
    """Longest rendering of ``text`` that a model may make: three times what a slow reader takes, against one that runs
    away."""
    return _BASE_SECS + _SECS_PER_CHAR * len(text)


class _Left(Exception):
    """The listener is gone."""


class _Tap:
    """What transformers calls a streamer: `put` is called with the prompt, then after each step with its tokens.

    It ends a generation by raising: CSM drops the stopping criteria it is given, but not what its streamer raises.
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
        """Part of what a streamer must have; a generation's end is seen by its thread."""


class Generations:
    """Turns at one model, first come, first served. A generation runs to its end however slowly its tokens are taken."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "generation")

    def tokens(self, generate: Callable[..., object], seed: int) -> Generator[torch.Tensor | None, None, None]:
        """What each step of ``generate(streamer=...)`` makes, on the CPU; None for a moment in which there was nothing.

        Closing it stops the generation with the step in hand, and returns when the model is free again. The same
        ``seed`` makes the same tokens on the same machine. Raises EngineFailure.
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
