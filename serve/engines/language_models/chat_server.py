"""The engine ``openai``: a language model behind any endpoint of OpenAI's chat completions."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Final
from urllib.parse import urlsplit

from schemas.engines import EngineChoice, EngineInfo
from schemas.errors import Unavailable
from schemas.language_model import LanguageModelCapabilities
from serve.engines.language_models.chat_client import ChatClient, Endpoint

_PATH: Final = "/chat/completions"
_PARALLEL: Final = 64


def describe(chosen: EngineChoice) -> EngineInfo:
    """The model from the settings, without a request. Raises Unavailable for invalid settings."""
    url = _url(chosen)
    if not chosen.model:
        raise _amiss("FLUXIONS_LLM_MODEL", "names no model", "give the name the endpoint knows it by, as `gpt-4.1-mini`")
    host = urlsplit(url).netloc
    capabilities = LanguageModelCapabilities(
        tools=True, context_tokens=None, size=f"as large as the server at {host} makes it", parallel=_PARALLEL
    )
    revision = "openai-" + re.sub(r"[^\w.-]+", "-", f"{host}-{chosen.model}")
    return EngineInfo(chosen.slot, chosen.engine, chosen.model, revision, asdict(capabilities))


def build(chosen: EngineChoice) -> ChatClient:
    """A client of the endpoint, which need not be up yet. Raises the errors of `describe`."""
    info, settings = describe(chosen), chosen.settings
    endpoint = Endpoint(
        url=_url(chosen),
        model=chosen.model,
        key=settings.llm_api_key.get_secret_value(),
        first_token_secs=settings.llm_first_token_secs,
        token_secs=settings.llm_token_secs,
        answer_secs=settings.llm_answer_secs,
        retries=settings.llm_retries,
    )
    return ChatClient(endpoint, info)


def _url(chosen: EngineChoice) -> str:
    """The URL of requests; the configured one may end with or without ``/chat/completions``."""
    url = chosen.settings.llm_url.strip().rstrip("/")
    example = "write it as `http://HOST:PORT/v1`"
    if not url:
        raise _amiss("FLUXIONS_LLM_URL", "is empty", example)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _amiss("FLUXIONS_LLM_URL", "is no http or https URL", example)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise _amiss("FLUXIONS_LLM_URL", "holds more than a host and a path", "put the key into FLUXIONS_LLM_API_KEY")
    return url if url.endswith(_PATH) else url + _PATH


def _amiss(variable: str, why: str, remedy: str) -> Unavailable:
    return Unavailable(
        f"language_model: the engine openai has no endpoint: {variable} {why}; {remedy}",
        code="model_unavailable",
        param=variable,
    )
