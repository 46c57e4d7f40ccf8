"""Loads and warms up an engine in its replica, or holds the reason why it cannot be loaded.

A replica whose model cannot load stays alive and answers every request with the reason, so `/ready` answers 503 with
cause and remedy. A replica that dies would be restarted repeatedly, and load for minutes each time, without a message.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final, Generic, TypeVar

from runtime.priority import BACKGROUND_NICENESS, lower_priority
from schemas.domain import Slot
from schemas.errors import FluxionsError, Unavailable
from schemas.settings import Settings
from serve.engines.model_files import cannot_load, explain_load_error
from serve.engines.registry import choice
from serve.engines.replica_ports import bind_as_set
from serve.replica_logs import configure_replica

E = TypeVar("E")

_NICENESS: Final[Mapping[Slot, int]] = {"synthesizer": 0, "language_model": 5}
"""Of slots that people wait for. A language model goes on with its answer while the beginning is synthesised: with equal
shares of two cores Kokoro's first piece took .81 s instead of .64 s alone, with a niceness of 5 for the model .70 s.
"""

logger = logging.getLogger(__name__)


class Loaded(Generic[E]):
    """The engine of a slot. ``build`` loads it and ``warm_up`` runs it once, so that the first request waits for neither.

    Recogniser, diariser and event detector run at a low priority; people wait for the language model and most of all for
    the synthesiser.

    Raises EngineFailure of an engine that does not start, so that Ray starts the replica again.
    """

    def __init__(
        self, settings: Settings, slot: Slot, build: Callable[[Settings], E], warm_up: Callable[[E], object]
    ) -> None:
        settings = settings.on_this_machine()
        self._engine: E | None = None
        self._problem: Unavailable | None = None
        bind_as_set(settings)
        configure_replica(settings)
        lower_priority(_NICENESS.get(slot, BACKGROUND_NICENESS))
        try:
            engine = build(settings)
            warm_up(engine)
            self._engine = engine
        except Unavailable as error:
            self._problem = Unavailable(error.message, code="model_unavailable", param=error.param)
        except FluxionsError:
            raise
        except Exception as error:
            self._problem = cannot_load(choice(settings, slot), *explain_load_error(error))
        if self._problem is not None:
            logger.error("%s", self._problem)

    @property
    def engine(self) -> E:
        """Raises Unavailable, with slot, model, reason and remedy, where it could not be loaded."""
        if self._engine is None:
            assert self._problem is not None  # noqa: S101  # one of the two is there
            # A new instance, because an error that is raised repeatedly grows its traceback each time.
            raise Unavailable(self._problem.message, code=self._problem.code, param=self._problem.param)
        return self._engine
