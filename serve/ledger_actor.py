"""The ledger as a named, detached Ray actor, and the client by which other processes call it.

Ray restarts the actor without limit. The actor rebuilds its state from the tables. Answers carry our errors as values, so
a refusal (a lost lease, a full store) is not mistaken for a failure of the actor.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import os
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any, Final, cast, get_origin, get_type_hints

from lakehouse.ledger.interface import LedgerClient
from lakehouse.ledger.ledger import Ledger
from schemas.errors import Conflict, FluxionsError, Unavailable
from schemas.records import TtsRender
from schemas.settings import Settings
from serve.replica_logs import configure_actor

NAME = "ledger"
NAMESPACE = "fluxions"
_RETRY_SECS = 30.0
_CLOSE_SECS = 5.0

NOT_REPEATABLE: Final = frozenset(
    {
        ("keys", "create"),
        ("keys", "rotate"),
        ("voices", "delete"),
        ("consents", "delete"),
        ("speakers", "delete"),
        ("webhooks", "delete"),
        ("deletions", "render"),
        ("deletions", "conversation"),
    }
)
"""(part, method) of calls that are not sent again when the actor dies before it answers. The actor may have carried such
a call out, so a repeated one would make a second key, or find nothing to delete. All other calls may be repeated, see
`lakehouse.ledger.interface`.
"""

logger = logging.getLogger(__name__)


class LedgerActor:
    """Runs one `Ledger` for the whole instance. Concurrency is asyncio's; commits run in the ledger's own threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.on_this_machine()
        configure_actor(self._settings)
        self._opening: asyncio.Task[Ledger] | None = None
        self._is_leaving = False
        self._unrepeatable: set[asyncio.Task[Any] | None] = set()

    async def _ledger(self) -> Ledger:
        if self._opening is None or (self._opening.done() and self._opening.exception()):
            self._opening = asyncio.create_task(Ledger.open(self._settings, behind_gateway=True))
            self._opening.add_done_callback(self._watch)
        try:
            return await asyncio.shield(self._opening)
        except Conflict as error:
            # Callers must not mistake this for a conflict about their own job: the condition ends when the other ledger
            # ends.
            raise Unavailable(error.message, code=error.code, retry_after_secs=5) from error

    def _watch(self, opening: asyncio.Task[Ledger]) -> None:
        if not opening.cancelled() and opening.exception() is None:
            self._watching = asyncio.create_task(_end_when_lost(opening.result()))

    async def call(self, part: str, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bool, Any]:
        """(True, value) or (False, error) of a method of one of the ledger's parts."""
        if self._is_leaving:
            await _end_of_process()
        if (part, method) in NOT_REPEATABLE:
            self._unrepeatable.add(asyncio.current_task())
        try:
            ledger = await self._ledger()
            return True, await getattr(getattr(ledger, part), method)(*args, **kwargs)
        except FluxionsError as error:
            if self._is_leaving and asyncio.current_task() not in self._unrepeatable:
                await _end_of_process()
            return False, error
        finally:
            self._unrepeatable.discard(asyncio.current_task())

    async def leave(self) -> None:
        """Finish pending calls, because this process is about to be replaced.

        Later calls get no answer; their callers send them again to the next process.
        """
        self._is_leaving = True
        if self._unrepeatable:
            await asyncio.wait([task for task in self._unrepeatable if task is not None])
        await self.close()

    async def alive(self) -> str:
        """Ray's id of the machine. Also answered while the ledger opens."""
        import ray

        return ray.get_runtime_context().get_node_id()

    async def close(self) -> None:
        """Close the ledger, if it was opened."""
        if self._opening is not None:
            await (await self._opening).close()


async def _end_of_process() -> None:
    await asyncio.Event().wait()


async def _end_when_lost(ledger: Ledger) -> None:
    """End this process when another ledger has taken over the storage.

    Ray restarts the process if it is still the actor.
    """
    await ledger.lost()
    logger.critical("another ledger took the storage over; this process ends")
    os._exit(1)


async def answers(timeout_secs: float) -> bool:
    """Whether the actor answers within this time, or is being started by Ray. If so, it is neither paused nor stuck."""
    from ray.exceptions import RayActorError

    try:
        await asyncio.wait_for(_find_actor().alive.remote(), timeout_secs)
    except TimeoutError:
        return False
    except RayActorError:
        return True
    return True


def restart() -> None:
    """End the actor's process, so that Ray starts it again, here or on another machine."""
    import ray
    from ray.exceptions import RayActorError

    with contextlib.suppress(RayActorError):
        ray.kill(_find_actor(), no_restart=False)


async def move_ledger(node_id: str) -> None:
    """Close the ledger if it runs on this machine, and have Ray start it elsewhere."""
    from ray.exceptions import RayActorError

    with contextlib.suppress(RayActorError, TimeoutError):
        actor = _find_actor()
        if await asyncio.wait_for(actor.alive.remote(), _CLOSE_SECS) == node_id:
            await asyncio.wait_for(actor.leave.remote(), _CLOSE_SECS)
            restart()


async def close_ledger() -> None:
    """Close the ledger and end its actor for good."""
    import ray
    from ray.exceptions import RayActorError

    with contextlib.suppress(RayActorError, TimeoutError):
        actor = _find_actor()
        await asyncio.wait_for(actor.close.remote(), _CLOSE_SECS)
        ray.kill(actor)


def remote_ledger() -> LedgerClient:
    """The ledger's parts over Ray.

    Their methods raise the ledger's errors, and Unavailable while the actor cannot be reached.
    """
    calls = _ActorCalls()
    hints = get_type_hints(LedgerClient)
    parts = {part: _stub(part, get_origin(hint) or hint, calls.send) for part, hint in hints.items()}
    return cast("LedgerClient", SimpleNamespace(**parts))


class _ActorCalls:
    """Sends calls to the actor.

    While the actor restarts, calls are repeated for half a minute, except those in `NOT_REPEATABLE`.
    """

    def __init__(self) -> None:
        self._actor: Any = None

    async def send(self, part: str, method: str, *args: Any, **kwargs: Any) -> Any:
        """The result of a method of a part.

        Raises the method's errors, and Unavailable if the actor cannot be reached.
        """
        from ray.exceptions import RayActorError

        if (part, method) == ("records", "add_renders"):
            args, kwargs = (_with_identities(*args, **kwargs),), {}
        repeatable = (part, method) not in NOT_REPEATABLE
        deadline = asyncio.get_running_loop().time() + (_RETRY_SECS if repeatable else 0.0)
        pause = 0.05
        while True:
            try:
                if self._actor is None:
                    self._actor = await asyncio.to_thread(_find_actor)
                ok, value = await self._actor.call.remote(part, method, args, kwargs)
            except RayActorError as error:
                self._actor = None
                if asyncio.get_running_loop().time() >= deadline:
                    raise Unavailable(
                        "the ledger is restarting; nothing was lost, try again in a moment", retry_after_secs=2
                    ) from error
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)
                continue
            if not ok:
                raise value
            return value


def _stub(part: str, protocol: type, call: Callable[..., Awaitable[Any]]) -> SimpleNamespace:
    """An object with the methods of ``protocol``. Each method passes its name and its arguments to ``call``."""
    methods = inspect.getmembers(protocol, inspect.isfunction)
    return SimpleNamespace(**{name: partial(call, part, name) for name, _ in methods if not name.startswith("_")})


def _find_actor() -> Any:
    """The actor's handle.

    Raises RayActorError if there is no actor, for example while Ray restarts it. Ray raises ValueError in this case. It
    is converted here, so that a ValueError of a ledger's method remains visible as a defect.
    """
    import ray
    from ray.exceptions import RayActorError

    try:
        return ray.get_actor(NAME, NAMESPACE)
    except ValueError as error:
        raise RayActorError from error


def _with_identities(renders: Sequence[TtsRender]) -> list[TtsRender]:
    """The renders, each with an import key, so that a call can be repeated after a lost answer without adding rows."""
    return [one if one.import_key is not None else replace(one, import_key=uuid.uuid4().hex) for one in renders]
