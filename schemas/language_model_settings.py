"""Settings of the language model, and the base class of all groups of settings; the other groups: `schemas.settings`."""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Concern(BaseSettings):
    """A group of settings, read from the environment variables ``FLUXIONS_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="FLUXIONS_", extra="ignore", frozen=True)


class LanguageModelSettings(Concern):
    """Language model: engine, model, endpoint and timeouts."""

    llm_engine: str = Field("", description="Language model of conversations: `llama` or `openai`; empty: the profile's.")
    llm_model: str = Field(
        "",
        description="Model: for `llama` a GGUF file or its folder, empty for SmolLM2-135M; for `openai` its name there.",
    )
    llm_url: str = Field(
        "", description="Chat endpoint of `openai`, as `http://HOST:PORT/v1`: OpenAI, vLLM, Ollama, llama.cpp and others."
    )
    llm_api_key: SecretStr = Field(SecretStr(""), description="API key of that endpoint; empty for none.")
    llm_context_tokens: int = Field(
        0,
        ge=0,
        le=1_048_576,
        description="Most tokens of prompt and answer of `llama`; 0: the model's own limit, at most 4096.",
    )
    llm_parallel: int = Field(4, ge=1, le=256, description="Answers that `llama` generates at once; further ones wait.")
    llm_first_token_secs: float = Field(
        20.0, gt=0, le=600, description="Longest wait for the first piece of an answer, including retries, s."
    )
    llm_token_secs: float = Field(10.0, gt=0, le=600, description="Longest wait between two pieces of an answer, s.")
    llm_answer_secs: float = Field(120.0, gt=0, le=3600, description="Longest duration of an answer, s.")
    llm_retries: int = Field(
        2, ge=0, le=10, description="Retries of `openai` after transient errors, before the first piece of an answer."
    )
