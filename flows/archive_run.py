"""One archive run, or its estimate, in a process of its own: what `fluxions archive run` and a shell start.

Run as ``python -m flows.archive_run`` with a request as JSON on stdin. Each line of stdout is a JSON object with ``event``:
``estimate``, ``opened`` or ``error``. The key comes from the environment or HOME, never from the request.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from typing import Any

import httpx
from pydantic import BaseModel, Field

from flows.archive_connecting import connect
from flows.archive_estimate import estimate
from flows.archive_order import new_archive
from flows.archive_template import start_template
from schemas.archives import NewArchive
from schemas.domain import JobOptions, Seconds, SpeakerHint
from schemas.errors import FluxionsError, Unavailable
from schemas.settings import ArchiveSettings, Settings

_LOOKS = 60
_LOOK_SECS: Seconds = 1.0
_LOOK_TIMEOUT_SECS: Seconds = 5.0


class Request(BaseModel):
    """The flow's parameters, and what is wanted: an estimate, an estimate that asks the cache, or the run."""

    source: str
    account: str = "default"
    name: str = ""
    reprocess: bool = False
    include_current: bool = False
    non_speech: bool = False
    min_speakers: int = Field(1, ge=1)
    max_speakers: int | None = Field(None, ge=1)
    retry_failed: bool = False

    @property
    def new(self) -> NewArchive:
        options = JobOptions(self.non_speech, SpeakerHint(self.min_speakers, self.max_speakers))
        return new_archive(
            self.source,
            self.account,
            self.name,
            options,
            reprocess=self.reprocess,
            include_current=self.include_current,
        )


async def tell_estimate(request: Request, *, hashing: bool) -> None:
    settings = Settings()
    client = connect(settings)
    try:
        found = await estimate(client, settings, request.new, retry_failed=request.retry_failed, hashing=hashing)
    finally:
        await client.close()
    _say("estimate", **found.to_json())


async def run(request: Request) -> None:
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        raise Unavailable("no Prefect server: start the platform with `fluxions up`, or set PREFECT_API_URL")
    if not ArchiveSettings().dask_address:
        start_template()
    client = connect(Settings())
    try:
        _say("opened", archive=(await client.open_archive(request.new)).id)
    finally:
        await client.close()
    await _prefect_answers(url)
    # Prefect takes seconds to import; an estimate, and a mistake, go without it.
    from flows.archive import archive

    state = await archive(**request.model_dump(), return_state=True)
    if not state.is_completed() and not state.is_cancelled():
        error = await state.aresult(raise_on_failure=False)
        raise error if isinstance(error, FluxionsError) else FluxionsError(f"the run failed: {error}")


async def _prefect_answers(url: str) -> None:
    """Raises Unavailable if Prefect's server stays away: it may be starting, or starting again."""
    async with httpx.AsyncClient(trust_env=False, timeout=_LOOK_TIMEOUT_SECS) as client:
        for _ in range(_LOOKS):
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(f"{url}/health")).is_success:
                    return
            await asyncio.sleep(_LOOK_SECS)
    raise Unavailable(f"Prefect's server does not answer at {url}; nothing is lost, run the same command again")


def _say(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}, ensure_ascii=False), flush=True)  # noqa: T201 - the protocol


def main(arguments: list[str]) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    request = Request.model_validate_json(sys.stdin.read())
    try:
        if arguments == ["run"]:
            asyncio.run(run(request))
        else:
            asyncio.run(tell_estimate(request, hashing=arguments == ["dry-run"]))
    except FluxionsError as error:
        _say("error", message=error.message, type=error.type, code=error.code, param=error.param, status=error.status)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
