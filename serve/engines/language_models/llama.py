"""The engine ``llama``: llama.cpp in this process through xllamacpp (MIT). Describes and loads GGUF models."""

from __future__ import annotations

import os
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Final

from schemas.engines import EngineChoice, EngineInfo
from schemas.language_model import LanguageModelCapabilities
from serve.engines.language_models.gguf import GgufHeader, read_header
from serve.engines.language_models.llama_model import LlamaLanguageModel, LlamaOptions
from serve.engines.model_files import ModelFiles, cannot_load, engine_revision, resolve

_VERSION: Final = 2
"""Incremented when prompts for the same messages, or the sampling without a temperature, change."""
_VERY_SMALL: Final = 500_000_000
"""Weights below which a model is called very small."""
_SMALL_TEMPERATURE: Final = 0.2
"""Temperature of very small models without another. Higher ones leave the language of the question. Source: the model card
of SmolLM2-135M-Instruct."""
_MOST_CONTEXT_TOKENS: Final = 4096
"""Largest context without a setting, because its memory is reserved at once."""


def describe(chosen: EngineChoice) -> EngineInfo:
    """The chosen model, without loading it. Raises Unavailable."""
    files = resolve(chosen)
    header = _header(chosen, _model_file(chosen, files))
    context_tokens = _context_tokens(chosen, header)
    capabilities = LanguageModelCapabilities(
        tools=header.has_tools,
        context_tokens=context_tokens,
        size=size_in_words(header),
        parallel=chosen.settings.llm_parallel,
    )
    options = {"context_tokens": context_tokens, "version": _VERSION}
    revision = engine_revision("llama", version("xllamacpp"), files, options)
    return EngineInfo(chosen.slot, chosen.engine, chosen.model, revision, asdict(capabilities))


def build(chosen: EngineChoice) -> LlamaLanguageModel:
    """The model, loaded, with the cache for the contexts of all answers. Raises Unavailable."""
    file = _model_file(chosen, resolve(chosen))
    header = _header(chosen, file)
    options = LlamaOptions(
        context_tokens=_context_tokens(chosen, header),
        parallel=chosen.settings.llm_parallel,
        threads=chosen.settings.model_threads or _threads(),
        has_tools=header.has_tools,
        temperature=_SMALL_TEMPERATURE if header.num_weights < _VERY_SMALL else None,
        first_token_secs=chosen.settings.llm_first_token_secs,
        token_secs=chosen.settings.llm_token_secs,
        answer_secs=chosen.settings.llm_answer_secs,
    )
    return LlamaLanguageModel(file, options, describe(chosen))


def _threads() -> int:
    """Half the cores. Recogniser and synthesiser need cores as well, and llama.cpp's threads busy-wait for each other: with
    one thread too many a token takes twenty times as long."""
    return max(1, (os.cpu_count() or 2) // 2)


def size_in_words(header: GgufHeader) -> str:
    """The size of the model, and its consequence for users."""
    millions = header.num_weights / 1e6
    large = f"{millions:.0f} million" if millions < 1000 else f"{millions / 1000:.1f} billion"
    size = f"{large} weights in {header.size_bytes / 1e6:.0f} MB"
    if header.num_weights < _VERY_SMALL:
        return f"{size}: very small. It answers briefly and in whole sentences, knows little, and is often wrong."
    if millions < 4000:
        return f"{size}: small. It holds a simple conversation; check what it claims."
    return f"{size}."


def _header(chosen: EngineChoice, file: Path) -> GgufHeader:
    try:
        return read_header(file)
    except (ValueError, OSError) as error:
        raise cannot_load(chosen, f"{file.name}: {error}", f"name a whole GGUF file in {chosen.variable}") from error


def _model_file(chosen: EngineChoice, files: ModelFiles) -> Path:
    if files.path.is_file():
        return files.path
    found = sorted(files.path.glob("*.gguf"))
    if len(found) != 1:
        what = "no .gguf file" if not found else f"{len(found)} .gguf files"
        raise cannot_load(chosen, f"the folder holds {what}", f"name one file in {chosen.variable}")
    return found[0]


def _context_tokens(chosen: EngineChoice, header: GgufHeader) -> int:
    own = header.context_tokens or _MOST_CONTEXT_TOKENS
    asked = chosen.settings.llm_context_tokens
    if asked > own:
        raise cannot_load(
            chosen,
            f"FLUXIONS_LLM_CONTEXT_TOKENS is {asked}, and the model was trained on {own}",
            "set it to that or less, or to 0",
        )
    return asked or min(own, _MOST_CONTEXT_TOKENS)
