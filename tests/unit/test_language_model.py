"""The embedded language model: SmolLM2 in this process, through llama.cpp."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest

from schemas.errors import InvalidRequest, Unavailable
from schemas.language_model import ChatDelta, ChatMessage, ChatRequest, NamedTool, Tool, ToolCall
from schemas.settings import EngineSettings, ServerSettings, Settings
from serve.engines.bundled_weights import find_weights
from serve.engines.language_models.gguf import read_header
from serve.engines.language_models.llama_model import LlamaLanguageModel
from serve.engines.registry import build_language_model, describe_slot
from serve.engines.self_test import self_test
from serve.engines.weights_catalog import SMOLLM2

pytestmark = pytest.mark.unit

WEATHER = Tool(
    "get_weather",
    "The weather in a city",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
        "required": ["city", "unit"],
        "additionalProperties": False,
    },
)
LIGHTS = Tool("switch_lights", "Switches the lights of a room on or off")
STORY = ChatRequest((ChatMessage("user", "Tell me a long story about a river."),), max_tokens=2000)


def settings(home: Path, **engines: Any) -> Settings:
    return Settings(server=ServerSettings(home=home), engines=EngineSettings(**engines))


def bundled() -> Path:
    return find_weights(SMOLLM2, Path("/nowhere")).folder / SMOLLM2.files[0].name


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaLanguageModel]:
    loaded = build_language_model(settings(tmp_path_factory.mktemp("home"), model_threads=1))
    assert isinstance(loaded, LlamaLanguageModel)
    yield loaded
    asyncio.run(loaded.close())


def asking(text: str, **more: Any) -> ChatRequest:
    return ChatRequest((ChatMessage("user", text),), **{"temperature": 0.0, "max_tokens": 24, **more})


async def answer(model: LlamaLanguageModel, request: ChatRequest) -> list[ChatDelta]:
    async with aclosing(model.stream(request)) as deltas:
        return [delta async for delta in deltas]


def words(deltas: list[ChatDelta]) -> str:
    return "".join(delta.text for delta in deltas)


async def test_it_answers_token_by_token_and_counts(model: LlamaLanguageModel) -> None:
    deltas = await answer(model, asking("What is the capital of France? Answer in one short English sentence."))
    assert "Paris" in words(deltas)
    assert sum(bool(delta.text) for delta in deltas) > 3
    assert [delta.finish for delta in deltas if delta.finish] in (["stop"], ["length"])
    usage = deltas[-1].usage
    assert usage is not None
    assert usage.input_tokens > 10
    assert 3 < usage.output_tokens <= 24
    again = (await answer(model, asking("What is the capital of France? Answer in one short English sentence.")))[-1].usage
    assert again is not None
    assert again.cached_tokens > 0.8 * again.input_tokens, "what was read of a conversation is not read again"


async def test_the_limit_of_tokens_is_an_end_of_its_own(model: LlamaLanguageModel) -> None:
    deltas = await answer(model, asking("Count from one to fifty.", max_tokens=5))
    assert [delta.finish for delta in deltas if delta.finish] == ["length"]
    assert deltas[-1].usage is not None
    assert deltas[-1].usage.output_tokens == 5


async def test_closing_ends_the_generation_within_a_token(model: LlamaLanguageModel) -> None:
    stories = [model.stream(STORY) for _ in range(4)]
    for story in stories:
        assert (await anext(story)).text
    for story in stories:
        await story.aclose()
    # All four slots are free again: had a generation continued, the last of these would wait for its 2000 tokens.
    greetings = [answer(model, asking("Say hi.", max_tokens=4)) for _ in range(4)]
    await asyncio.wait_for(asyncio.gather(*greetings), 60)


async def test_several_at_once_each_get_their_own(model: LlamaLanguageModel) -> None:
    wanted = {"France": "Paris", "Japan": "Tokyo", "Italy": "Rome", "Germany": "Berlin"}
    questions = [asking(f"What is the capital of {country}? Answer in one short English sentence.") for country in wanted]
    # Six requests for four slots: two wait, and are answered too.
    found = await asyncio.gather(*(answer(model, request) for request in (*questions, *questions[:2])))
    for deltas, capital in zip(found, (*wanted.values(), "Paris", "Tokyo"), strict=True):
        assert capital in words(deltas)
        assert not any(other in words(deltas) for other in set(wanted.values()) - {capital})


async def test_a_very_small_model_has_a_low_temperature_of_its_own(
    model: LlamaLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies: list[dict[str, Any]] = []
    generate = model._generate

    def seen(body: dict[str, Any], *rest: Any) -> None:
        bodies.append(body)
        generate(body, *rest)

    monkeypatch.setattr(LlamaLanguageModel, "_generate", lambda _, *arguments: seen(*arguments))
    for temperature in (None, 1.1):
        assert words(await answer(model, asking("Say hi.", max_tokens=4, temperature=temperature)))
    assert [body["temperature"] for body in bodies] == [0.2, 1.1]


async def test_a_conversation_too_long_is_refused_with_its_length(model: LlamaLanguageModel) -> None:
    with pytest.raises(InvalidRequest, match=r"\d+ tokens long, and the language model reads 4096") as refused:
        await answer(model, asking("river " * 6000))
    assert refused.value.code == "context_length_exceeded"
    with pytest.raises(InvalidRequest, match="at least one message"):
        await answer(model, ChatRequest(()))


async def test_offered_tools_are_left_out_and_results_become_text(model: LlamaLanguageModel) -> None:
    offered = await answer(
        model, asking("What is the capital of France? Answer in one short English sentence.", tools=(WEATHER,))
    )
    assert "Paris" in words(offered)
    assert not any(delta.call for delta in offered)
    call = ToolCall("call_1", "get_weather", '{"city": "Rome"}')
    told = ChatRequest(
        (
            ChatMessage("user", "What is the weather in Rome?"),
            ChatMessage("assistant", "", (call,)),
            ChatMessage("tool", "It is snowing, 3 degrees below zero.", tool_call_id="call_1"),
        ),
        (WEATHER,),
        temperature=0.0,
        max_tokens=40,
    )
    assert "snow" in words(await answer(model, told))


@pytest.mark.parametrize("choice", ["required", NamedTool("get_weather")])
async def test_a_demanded_call_is_written_by_its_schema(model: LlamaLanguageModel, choice: Any) -> None:
    tools = (WEATHER,) if choice == "required" else (LIGHTS, WEATHER)
    deltas = await answer(model, asking("What is the weather in Paris?", tools=tools, tool_choice=choice, max_tokens=60))
    parts = [delta.call for delta in deltas if delta.call]
    assert parts[0].name == "get_weather"
    assert parts[0].call_id is not None
    assert len(parts) > 3, "arguments are streamed"
    written = json.loads("".join(part.arguments for part in parts))
    assert written["city"] == "Paris"
    assert written["unit"] in ("celsius", "fahrenheit")
    assert [delta.finish for delta in deltas if delta.finish] == ["tool_calls"]
    assert words(deltas) == ""


async def test_one_of_several_tools_is_chosen_and_an_unknown_one_refused(model: LlamaLanguageModel) -> None:
    deltas = await answer(model, asking("Lights on!", tools=(WEATHER, LIGHTS), tool_choice="required", max_tokens=40))
    assert deltas[0].call is not None
    assert deltas[0].call.name in ("get_weather", "switch_lights")
    with pytest.raises(InvalidRequest, match="no tool is called dance") as refused:
        await answer(model, asking("Dance!", tools=(LIGHTS,), tool_choice=NamedTool("dance")))
    assert refused.value.param == "tool_choice"
    bad = Tool("broken", parameters={"type": "no such type"})
    with pytest.raises(InvalidRequest) as refused:
        await answer(model, asking("Go.", tools=(bad,), tool_choice="required"))
    assert refused.value.code == "llm_rejected"


async def test_a_model_that_lets_wait_too_long_is_left(tmp_path: Path) -> None:
    slow = build_language_model(settings(tmp_path, llm_parallel=1, llm_answer_secs=0.05, model_threads=1))
    assert isinstance(slow, LlamaLanguageModel)
    try:
        with pytest.raises(Unavailable) as late:
            await answer(slow, asking("river " * 300))
        assert late.value.code == "llm_timeout"
    finally:
        await slow.close()


async def test_no_other_process_can_use_the_port_it_listens_on(model: LlamaLanguageModel) -> None:
    url = model._server.listening_address
    async with httpx.AsyncClient() as stranger:
        for path in ("/v1/chat/completions", "/completion"):
            refused = await stranger.post(url + path, json={"messages": [], "prompt": "Hello"})
            assert refused.status_code == 401
        assert (await stranger.get(url + "/slots")).status_code in (401, 501)


def test_its_description_states_the_size_of_the_model(model: LlamaLanguageModel, tmp_path: Path) -> None:
    info = describe_slot(settings(tmp_path), "language_model")
    assert model.info.capabilities == info.capabilities
    assert info.capabilities["tools"] is False
    assert info.capabilities["context_tokens"] == 4096
    assert "135 million weights in 98 MB: very small" in info.capabilities["size"]
    assert info.revision.startswith("llama-")
    shorter = describe_slot(settings(tmp_path, llm_context_tokens=1024), "language_model")
    assert shorter.revision != info.revision


def test_it_tries_itself_out(tmp_path: Path) -> None:
    trial = self_test(settings(tmp_path), "language_model")
    assert "Paris" in trial.result
    assert trial.rtfx is None


def test_any_gguf_file_is_described_by_its_header(tmp_path: Path) -> None:
    header = read_header(bundled())
    assert header.architecture == "llama"
    assert header.num_weights == 134_515_008
    assert not header.has_tools
    mine = tmp_path / "mine.gguf"
    mine.symlink_to(bundled())
    assert describe_slot(settings(tmp_path, llm_model=str(mine)), "language_model").capabilities["context_tokens"] == 4096


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"GGUF", "too short"),
        (b"nothing of the kind at all", "no GGUF file"),
        (b"GGUF" + struct.pack("<IQQ", 9, 0, 0), "version 9"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + bytes(64), "damaged|not all of it"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 1) + bytes(64), "more entries than any model"),
        ("first MB", "not all of it is here"),
        ("half", "not all of it is here"),
    ],
)
def test_a_file_that_is_not_whole_is_refused_before_it_is_loaded(tmp_path: Path, content: Any, why: str) -> None:
    if isinstance(content, str):
        with bundled().open("rb") as whole:
            content = whole.read(1_000_000 if content == "first MB" else 50_000_000)
    (tmp_path / "mine.gguf").write_bytes(content)
    with pytest.raises(Unavailable, match=why) as refused:
        build_language_model(settings(tmp_path, llm_model=str(tmp_path / "mine.gguf")))
    assert refused.value.param == "FLUXIONS_LLM_MODEL"
    (tmp_path / "words.txt").write_text("words")
    with pytest.raises(Unavailable, match=r"must be a \.gguf file"):
        describe_slot(settings(tmp_path, llm_model=str(tmp_path / "words.txt")), "language_model")


def test_a_context_longer_than_the_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="FLUXIONS_LLM_CONTEXT_TOKENS is 9000, and the model was trained on 8192"):
        describe_slot(settings(tmp_path, llm_context_tokens=9000), "language_model")
