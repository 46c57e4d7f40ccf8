"""Which slots have no replica because nobody has used them for a while: asking their engines would start them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ApplicationStatusOverview

from schemas.domain import Slot
from schemas.settings import Settings

_ANSWER_SECS: Final = 2.0


class IdleSlots:
    """The slots whose engines may be ended, seen from one gateway."""

    def __init__(self, settings: Settings, handles: Mapping[Slot, DeploymentHandle[Any]]) -> None:
        self._handles = {slot: handle for slot, handle in handles.items() if settings.scaling.idle_secs(slot)}
        self._usable: set[Slot] = set()
        """Slots that have had a replica: one that they start from now on was asked for by a request."""
        self._found: set[Slot] = set()

    async def found(self) -> set[Slot]:
        """Slots without a running replica that have had one, or need none. Costs a call of Serve's controller.

        While the controller does not answer, what it said last.
        """
        if not self._handles:
            return set()
        try:
            status = await asyncio.wait_for(asyncio.to_thread(serve.status), _ANSWER_SECS)
        except (TimeoutError, RayError, RayServeException):
            return self._found
        self._found = {slot for slot in self._handles if self._is_idle(slot, status.applications)}
        return self._found

    def _is_idle(self, slot: Slot, applications: Mapping[str, ApplicationStatusOverview]) -> bool:
        handle = self._handles[slot]
        application = applications.get(handle.app_name)
        deployment = application and application.deployments.get(handle.deployment_name)
        if not deployment:
            return False  # It is being deployed.
        states = {state for state, count in deployment.replica_states.items() if count}
        if "RUNNING" in states or not states:
            self._usable.add(slot)
        return "RUNNING" not in states and slot in self._usable
