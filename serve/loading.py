"""An engine in its replica: loaded and warm, or the reason why not.

A replica whose model cannot load stays and says so to whoever asks: `/ready` answers 503 with the reason and the remedy,
where a replica that dies would be started again, load for minutes and die again, and say nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Generic, TypeVar

from schemas.engines import Slot
from schemas.errors import FluxionsError, Unavailable
from schemas.priority import step_back
from schemas.settings import Settings
from serve.engines import choice
from serve.models import cannot_load, why_not

E = TypeVar("E")

logger = logging.getLogger(__name__)


class Loaded(Generic[E]):
    """What serves a slot. ``build`` loads it, ``warm_up`` makes it work once, so that the first request waits for neither.

    Engines that listen work at a low priority, for nobody waits for the single call; the one that speaks does not.

    Raises EngineFailure of an engine that does not start: its replica is to be started again.
    """

    def __init__(
        self, settings: Settings, slot: Slot, build: Callable[[Settings], E], warm_up: Callable[[E], object]
    ) -> None:
        self._engine: E | None = None
        self._problem: Unavailable | None = None
        if slot != "synthesizer":
            step_back()
        try:
            engine = build(settings)
            warm_up(engine)
            self._engine = engine
        except Unavailable as error:
            self._problem = Unavailable(error.message, code="model_unavailable", param=error.param)
        except FluxionsError:
            raise
        except Exception as error:
            self._problem = cannot_load(choice(settings, slot), *why_not(error))
        if self._problem is not None:
            logger.error("%s", self._problem)

    @property
    def engine(self) -> E:
        """Raises Unavailable, with slot, model, reason and remedy, where it could not be loaded."""
        if self._engine is None:
            assert self._problem is not None  # noqa: S101  # one of the two is there
            # Made anew: an error that is raised again and again grows its traceback each time.
            raise Unavailable(self._problem.message, code=self._problem.code, param=self._problem.param)
        return self._engine
