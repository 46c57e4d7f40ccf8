"""A program that answers requests in a child process: the parent's side, and the child's loop.

The child runs as ``python -m MODULE``, reads frames (`runtime.frames`) from its standard input and answers each on its
standard output, in order. It ends when its input ends, and is killed when its parent dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

from runtime import frames
from runtime.children import claim_stdout, die_with_parent, module_env
from runtime.frames import Frame

PARENT_PID: Final = "FLUXIONS_PARENT_PID"
ANSWER_SECS: Final = 600.0
"""Longest time of a request; a child that needs longer counts as hanging."""
_STOP_SECS: Final = 10.0


class ChildEnded(Exception):
    """The child ended, or had to be ended, before it answered."""


class ChildProgram:
    """One child: started when it is first needed, and again when it has ended.

    Requests are answered one at a time, in the order of calls. Belongs to the event loop it is used in, whose thread must
    outlive the child.
    """

    def __init__(self, module: str, env: Mapping[str, str] | None = None, *, answer_secs: float = ANSWER_SECS) -> None:
        self._module = module
        self._env = env
        self._answer_secs = answer_secs
        self._process: Process | None = None
        self._lives = 0
        self._is_over = False
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def is_running(self) -> bool:
        """Whether there is a child now."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start the child, if none runs, so that it is loaded before the first request. Raises OSError, ChildEnded."""
        async with self._turn:
            await self._running()

    async def ask(self, head: dict[str, Any], body: bytes = b"", *, life: int | None = None) -> tuple[int, Frame]:
        """(number of the child, its answer). Children are numbered as they are started.

        A request that depends on earlier requests to the same child passes that child's number as ``life``. Raises
        ChildEnded if that child has ended or ends before it answers, OSError if none can be started. Cancelling a request
        ends the child, because its answer would be mistaken for the answer to the next request.
        """
        async with self._turn:
            process = await self._running()
            if life is not None and life != self._lives:
                raise ChildEnded(f"the process {self._module} that had this request's state has ended")
            assert process.stdin is not None  # noqa: S101 - it was given pipes
            assert process.stdout is not None  # noqa: S101
            try:
                async with asyncio.timeout(self._answer_secs):
                    process.stdin.write(frames.encode(head, body))
                    await process.stdin.drain()
                    answer = await frames.read_async(process.stdout)
            except TimeoutError:
                await self._end()
                raise ChildEnded(f"the process {self._module} did not answer within {self._answer_secs:g} s") from None
            except BaseException as error:
                await self._end()
                if isinstance(error, (OSError, EOFError, ValueError)):
                    raise ChildEnded(f"the process {self._module} ended before it answered") from error
                raise
            if answer is None:
                await self._end()
                raise ChildEnded(f"the process {self._module} ended before it answered")
            return self._lives, answer

    async def stop(self) -> None:
        """End the child once the present request is answered. A later request starts a new child."""
        async with self._turn:
            await self._end()

    async def end_for_good(self) -> None:
        """End the child at once. The present, all waiting and all later requests raise ChildEnded."""
        self._is_over = True
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self.stop()

    async def _running(self) -> Process:
        if self._is_over:
            raise ChildEnded(f"the process {self._module} was ended for good")
        if self._process is None or self._process.returncode is not None:
            env = {**(module_env() if self._env is None else self._env), PARENT_PID: str(os.getpid())}
            argv = (sys.executable, "-m", self._module)
            self._process = await asyncio.create_subprocess_exec(
                *argv, stdin=PIPE, stdout=PIPE, env=env, start_new_session=True
            )
            self._lives += 1
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await asyncio.wait_for(process.wait(), _STOP_SECS)


def serve(answer: Callable[[Frame], tuple[dict[str, Any], bytes]]) -> None:
    """The child's loop: one answer, a head and a body, for each frame, until input ends."""
    die_with_parent(int(os.environ[PARENT_PID]))
    with claim_stdout() as answers:
        while (request := frames.read(sys.stdin.buffer)) is not None:
            frames.write(answers, *answer(request))
