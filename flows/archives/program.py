"""One archive run, or its estimate, in a process of its own: ``python -m flows.archives.program MODE``.

It reads one request from standard input and writes events to standard output (`flows.archives.protocol`). MODE is estimate,
dry-run or run. The operator key comes from the environment or HOME, never from the request. SIGINT stops a run: files in
work are released.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import sys
from typing import BinaryIO

import httpx

from clients.connection import connect
from flows.archives.batch_spec import new_archive
from flows.archives.estimate import estimate
from flows.archives.protocol import ArchiveRequest, read_request, write_error, write_event
from flows.archives.worker_forkserver import start_forkserver
from runtime.children import claim_stdout
from schemas.archives import NewArchive
from schemas.domain import Seconds
from schemas.errors import FluxionsError, Unavailable
from schemas.settings import ArchiveSettings, ServerSettings, Settings
from telemetry.log_lines import configure

_TRIES = 60
_PAUSE_SECS: Seconds = 1.0
_ANSWER_SECS: Seconds = 5.0


async def report_estimate(request: ArchiveRequest, events: BinaryIO, *, hashing: bool) -> None:
    """Write an ``estimate`` event."""
    settings = Settings()
    client = connect(settings)
    try:
        found = await estimate(client, settings, _new(request), retry_failed=request.retry_failed, hashing=hashing)
    finally:
        await client.close()
    write_event(events, "estimate", **found.to_json())


async def run(request: ArchiveRequest, events: BinaryIO) -> None:
    """Write an ``opened`` event, then work until the run has ended. Raises Unavailable without a Prefect server."""
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        raise Unavailable("no Prefect server: start the platform with `fluxions up`, or set PREFECT_API_URL")
    if not ArchiveSettings().dask_address:
        start_forkserver()
    client = connect(Settings())
    try:
        opened = await client.open_archive(_new(request))
    finally:
        await client.close()
    write_event(events, "opened", archive=opened.id)
    await _wait_for_prefect(url)
    # Prefect takes seconds to import; an estimate and a refused request do not need it.
    from flows.archives.flow import archive

    state = await archive(**request.model_dump(), return_state=True)
    if not state.is_completed() and not state.is_cancelled():
        error = await state.aresult(raise_on_failure=False)
        raise error if isinstance(error, FluxionsError) else FluxionsError(f"the run failed: {error}")


async def _wait_for_prefect(url: str) -> None:
    """Wait up to a minute for Prefect's server, which may be starting. Raises Unavailable if it does not answer."""
    # In a cluster the server has a certificate of the cluster's own authority.
    authority = os.environ.get("PREFECT_API_SSL_CERT_FILE")
    known = ssl.create_default_context(cafile=authority) if authority else True
    async with httpx.AsyncClient(trust_env=False, timeout=_ANSWER_SECS, verify=known) as client:
        for _ in range(_TRIES):
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(f"{url}/health")).is_success:
                    return
            await asyncio.sleep(_PAUSE_SECS)
    raise Unavailable(f"Prefect's server does not answer at {url}; nothing is lost, run the same command again")


def _new(request: ArchiveRequest) -> NewArchive:
    return new_archive(
        request.source,
        request.account,
        request.name,
        request.options,
        reprocess=request.reprocess,
        include_current=request.include_current,
    )


def main(arguments: list[str]) -> int:
    """Exit status 0, 1 after an ``error`` event, or 130 when it was stopped by SIGINT."""
    # A shell starts background programs with SIGINT ignored, and child processes inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    configure(ServerSettings().log_format, sys.stderr)
    events = claim_stdout()
    request = read_request(sys.stdin.buffer)
    try:
        if arguments == ["run"]:
            asyncio.run(run(request, events))
        else:
            asyncio.run(report_estimate(request, events, hashing=arguments == ["dry-run"]))
    except FluxionsError as error:
        write_error(events, error)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
