"""Generated requests over the whole OpenAPI, valid and invalid: schemathesis with all its checks, for two accounts."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn

from schemas.gateway_settings import MOST_TOKEN_SECS, AuthSettings
from tests.contract.gateway import OTHER_KEY, USER_KEY, Running, quick_settings, running
from tests.support.processes import started_async

pytestmark = pytest.mark.security

EXAMPLES = 2
"""Generated requests of each operation, besides those at the edges of its schema."""
PHASES = {USER_KEY: "examples,coverage", OTHER_KEY: "fuzzing"}

USUAL = ("2xx", "3xx", "401", "403", "404", "409", "429", "503")
"""Statuses of the answers to requests that the OpenAPI calls valid."""
NOT_IN_A_SCHEMA = (
    # A cursor is valid as the server gave it, and in place of `page`, which is another parameter.
    (("/history", "/history/transcriptions", "/history/tts", "/history/conversations"), ("422",)),
    (("/history/search", "/history/conversations/search"), ("422",)),
    # `since` is not after `until`, and not more than a year before it: a rule over two parameters.
    (("/v1/usage",), ("422",)),
    # Bytes are a recording that can be decoded, or not.
    (("/vui/v1/voices", "/v1/speakers", "/v1/audio/voices", "/v1/audio/voice_consents"), ("400",)),
    (("/v1/audio/transcriptions", "/v1/audio/translations"), ("400",)),
    # The same; and some options exclude each other, or go with another only.
    (("/submit", "/akro/submit"), ("400", "422")),
    # The protocol has fields for earlier versions of a table, which are not shared.
    (("/delta-sharing/shares/{share}/schemas/{schema}/tables/{table}/query",), ("422",)),
    # The names of voices are those of the chosen engine and of the account's clones; OpenAI's answer to others is 400.
    (("/v1/audio/speech",), ("400",)),
)
"""Paths, and the further statuses of answers there, because of what JSON Schema cannot express."""
WIDE_FORMS = ("/v1/audio/transcriptions", "/v1/audio/translations")
"""Paths whose edges alone would be 1,400 requests, all of them without a recording, so with one answer."""


def config() -> str:
    """The configuration of schemathesis, TOML."""
    return "\n".join(
        f'[[operations]]\ninclude-path = "{path}"\n'
        f"checks.positive_data_acceptance.expected-statuses = {json.dumps([*USUAL, *further])}\n"
        + "phases.coverage.enabled = false\n"
        * (path in WIDE_FORMS)
        for paths, further in NOT_IN_A_SCHEMA
        for path in paths
    )


@asynccontextmanager
async def served(gateway: Running) -> AsyncIterator[str]:
    """The gateway's URL on a port of loopback."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(gateway.app, log_level="warning", access_log=False, lifespan="off"))
    serving = asyncio.create_task(server.serve([listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


async def fuzzed(url: str, key: str, phases: str, settings: Path) -> tuple[int | None, str]:
    """(exit code, output) of a run of schemathesis with an account's key."""
    async with started_async(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(settings), "run", f"{url}/openapi.json"),
        *("--checks", "all", "--report-dir", str(settings.parent)),
        *("--header", f"Authorization: {key}", "--max-examples", str(EXAMPLES), "--seed", "1"),
        *("--phases", phases, "--no-color", "--request-timeout", "120", "--suppress-health-check", "all"),
        *("--workers", "1"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=settings.parent,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    ) as program:
        output, _ = await program.communicate()
    return program.returncode, output.decode()


@pytest.mark.timeout(1500)  # some 4,000 requests, while other tests run
async def test_every_operation_answers_as_it_is_described(tmp_path: Path) -> None:
    (settings := tmp_path / "schemathesis.toml").write_text(config())
    # The bound of the OpenAPI is that of the setting.
    settings_of_home = quick_settings(tmp_path / "home").model_copy(
        update={"auth": AuthSettings(token_max_secs=MOST_TOKEN_SECS)}
    )
    async with running(tmp_path / "home", settings_of_home) as gateway, served(gateway) as url:
        await gateway.services.engines.recognizer()  # loaded; until then some requests get 503
        # The document is made at the first request, which takes long beside other tests; schemathesis waits for 10 s.
        async with httpx.AsyncClient(timeout=120, trust_env=False) as client:
            (await client.get(f"{url}/openapi.json")).raise_for_status()
        # The edges of each schema for one account, generated requests for the other.
        ends = [await fuzzed(url, key, phases, settings) for key, phases in PHASES.items()]
    for code, output in ends:
        assert code == 0, output
