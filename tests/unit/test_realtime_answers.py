"""Answers in text: tools, cancellation, failures, long contexts; checks 11, 16 to 19, 22, 32, 33, 36, 39."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from schemas.engines import EngineInfo
from schemas.errors import EngineFailure, Unavailable
from schemas.language_model import ChatMessage
from serve.realtime.session import Session
from tests.support.realtime_kit import (
    TEXT,
    WEATHER,
    ScriptedEngines,
    Talk,
    calling,
    endless,
    failing,
    gather,
    text_of,
    written,
)

pytestmark = pytest.mark.unit


async def test_a_tool_is_called_and_its_result_used() -> None:
    engines = ScriptedEngines([calling(("get_weather", '{"city": "Oslo"}')), written("It rains.")])
    async with Talk(engines) as talk:
        await talk.update(tools=[WEATHER], **TEXT)
        await talk.say("How is the weather in Oslo?")
        since = len(talk.events)
        done = await talk.ask()
        await talk.quiet()
        kinds = [kind for kind in talk.kinds(since) if kind != "response.function_call_arguments.delta"]
        assert kinds == [
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.function_call_arguments.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
            "rate_limits.updated",
        ]
        added = talk.of("response.output_item.added")[0]["item"]
        assert (added["type"], added["status"], added["arguments"]) == ("function_call", "in_progress", "")
        assert (added["name"], added["call_id"]) == ("get_weather", "call_0")
        arguments = talk.of("response.function_call_arguments.done")[0]
        assert json.loads(arguments["arguments"]) == {"city": "Oslo"}
        assert (arguments["name"], arguments["call_id"]) == ("get_weather", "call_0")
        deltas = "".join(event["delta"] for event in talk.of("response.function_call_arguments.delta"))
        assert deltas == arguments["arguments"]
        assert done["response"]["output"][0]["status"] == "completed"
        since = len(talk.events)
        output = {"type": "function_call_output", "call_id": "call_0", "output": "rain"}
        await talk.send("conversation.item.create", item=output)
        await talk.quiet()
        assert talk.kinds(since) == ["conversation.item.added", "conversation.item.done"]
        assert text_of(await talk.ask()) == "It rains."
        _, call, result = talk.told()
        assert (call.role, call.tool_calls[0].call_id, call.tool_calls[0].name) == ("assistant", "call_0", "get_weather")
        assert (result.role, result.tool_call_id, result.content) == ("tool", "call_0", "rain")


async def test_text_and_several_calls_of_one_response_have_their_own_places() -> None:
    asked = calling(("get_weather", '{"city": "Oslo"}'), ("get_weather", ""), say="Let me look.")
    async with Talk(ScriptedEngines([asked, written("Fine.")])) as talk:
        await talk.update(tools=[WEATHER], **TEXT)
        await talk.say("Oslo?")
        done = await talk.ask()
        assert [item["type"] for item in done["response"]["output"]] == ["message", "function_call", "function_call"]
        assert [event["output_index"] for event in talk.of("response.output_item.added")] == [0, 1, 2]
        assert done["response"]["output"][2]["arguments"] == "{}"
        # A call the client never answered has a result all the same: strict servers refuse the prompt otherwise.
        await talk.say("Never mind.")
        await talk.ask()
        roles = [m.role for m in talk.told()]
        assert roles == ["user", "assistant", "tool", "tool", "user"]
        assert talk.told()[1].content == "Let me look."


async def test_broken_arguments_fail_the_response_and_are_never_offered_as_complete() -> None:
    async with Talk(ScriptedEngines([calling(("get_weather", '{"city": '))])) as talk:
        await talk.update(tools=[WEATHER], **TEXT)
        await talk.say("Oslo?")
        response = (await talk.ask())["response"]
        assert response["status"] == "failed"
        assert response["status_details"]["error"]["code"] == "broken_call"
        assert response["output"][0]["status"] == "incomplete"
        assert (await talk.ask())["response"]["status"] == "completed"


async def test_a_cancelled_response_ends_at_once_and_stops_its_model() -> None:
    answer, stopped = endless()
    async with Talk(ScriptedEngines([answer, written("Next.")])) as talk:
        await talk.say("Go on.")
        await talk.send("response.create", response=TEXT)
        await talk.until("response.output_text.delta")
        await talk.send("response.create", response=TEXT, event_id="second")
        error = (await talk.until("error"))["error"]
        assert (error["code"], error["event_id"]) == ("conversation_already_has_active_response", "second")
        await talk.send("response.cancel", response_id="resp_unknown")
        assert (await talk.until("error"))["error"]["message"].startswith("Cancellation failed")
        await talk.send("response.cancel")
        done = await talk.until("response.done")
        assert done["response"]["status"] == "cancelled"
        assert done["response"]["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
        assert done["response"]["output"][0]["status"] == "incomplete"
        async with asyncio.timeout(5):
            await stopped.wait()
        since = len(talk.events)
        await talk.send("response.cancel")
        error = (await talk.until("error"))["error"]
        assert error["code"] == "response_cancel_not_active"
        assert error["message"].startswith("Cancellation failed")
        assert text_of(await talk.ask(**TEXT)) == "Next."
        late = [event for event in talk.events[since:] if event.get("response_id") == done["response"]["id"]]
        assert late == []


async def test_a_response_beside_the_conversation_leaves_no_trace_in_it() -> None:
    async with Talk(ScriptedEngines([written("Aside."), written("Main.")])) as talk:
        await talk.say("Hello")
        since = len(talk.events)
        aside = await talk.ask(**TEXT, conversation="none", input=[])
        assert aside["response"]["conversation_id"] is None
        assert not {"conversation.item.added", "conversation.item.done"} & set(talk.kinds(since))
        assert talk.told() == []
        await talk.ask(**TEXT)
        assert [m.content for m in talk.told()] == ["Hello"]


async def test_responses_beside_run_at_once_and_take_references() -> None:
    answer, _ = endless()
    async with Talk(ScriptedEngines([answer, written("Aside.")])) as talk:
        item = await talk.say("Hello")
        await talk.send("response.create", response=TEXT)
        await talk.until("response.output_text.delta")
        given = [{"type": "item_reference", "id": item["item"]["id"]}]
        await talk.send("response.create", response={**TEXT, "conversation": "none", "input": given})
        done = await talk.until("response.done")
        assert (done["response"]["conversation_id"], text_of(done)) == (None, "Aside.")
        assert [m.content for m in talk.told()] == ["Hello"]
        missing = [{"type": "item_reference", "id": "nothing"}]
        await talk.send("response.create", response={**TEXT, "conversation": "none", "input": missing})
        assert (await talk.until("error"))["error"]["param"] == "response.input[0].id"


async def test_an_answer_that_is_cut_short_says_so() -> None:
    async with Talk(ScriptedEngines([written("One two", finish="length")])) as talk:
        await talk.say("Count.")
        response = (await talk.ask(**TEXT, max_output_tokens=2))["response"]
        assert response["status"] == "incomplete"
        assert response["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
        assert response["max_output_tokens"] == 2
        assert response["output"][0]["status"] == "incomplete"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (failing(Unavailable("the model is away")), "unavailable"),
        (failing(EngineFailure("it broke off"), "Half a "), "engine_failure"),
        (failing(RuntimeError("a secret of the user")), "internal_error"),
    ],
)
async def test_a_model_that_fails_fails_the_response_and_not_the_session(
    answer: Any, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)  # a library that another test imported may have raised the root logger's level
    async with Talk(ScriptedEngines([answer, written("Here I am.")])) as talk:
        await talk.say("Hello")
        response = (await talk.ask(**TEXT))["response"]
        assert response["status"] == "failed"
        assert response["status_details"]["error"]["code"] == code
        assert "secret" not in json.dumps(response)
        assert caplog.text
        assert "secret" not in caplog.text
        assert text_of(await talk.ask(**TEXT)) == "Here I am."
        assert len(talk.of("response.created")) == len(talk.of("response.done")) == 2


async def test_a_model_that_stalls_is_given_up() -> None:
    async def silent(_: Any) -> Any:
        await asyncio.Event().wait()
        yield

    async with Talk(ScriptedEngines([silent]), realtime_model_stall_secs=0.05) as talk:
        await talk.say("Hello")
        assert (await talk.ask(**TEXT))["response"]["status_details"]["error"]["code"] == "model_stalled"


async def test_a_long_conversation_loses_its_beginning_and_never_its_instructions() -> None:
    engines = ScriptedEngines(context_tokens=1400)
    async with Talk(engines) as talk:
        await talk.update(instructions="Be kind.", truncation={"type": "retention_ratio", "retention_ratio": 0.5}, **TEXT)
        for number in range(12):
            await talk.say(f"{number} " + "word " * 60)
            await talk.ask()
        sent = engines.asked[-1].messages
        assert sent[0] == ChatMessage("system", "Be kind.")
        assert sent[-1].content.startswith("11 ")
        assert not any(m.content.startswith("0 ") for m in sent)
        # Cut down to a share, so that the beginning of the prompt stays the same for some turns.
        beginnings = [request.messages[1].content[:3] for request in engines.asked]
        assert 2 <= len(set(beginnings)) <= 6
        await talk.update(truncation="disabled")
        for _ in range(12):
            await talk.say("word " * 60)
        num_asked = len(engines.asked)
        response = (await talk.ask())["response"]
        assert response["status"] == "failed"
        assert response["status_details"]["error"]["code"] == "context_length_exceeded"
        assert len(engines.asked) == num_asked


async def test_the_length_of_the_models_context_is_asked_once() -> None:
    class Counting(ScriptedEngines):
        asked_for = 0

        async def language_model(self) -> EngineInfo:
            self.asked_for += 1
            if self.asked_for == 1:
                raise Unavailable("it is loading")
            return await super().language_model()

    engines = Counting(context_tokens=4000)
    async with Talk(engines) as talk:
        for _ in range(4):
            await talk.say("Hello")
            assert (await talk.ask(**TEXT))["response"]["status"] == "completed"
        assert engines.asked_for == 2, "once more after an error, and not again"


async def test_two_sessions_share_nothing() -> None:
    one, other = Talk(ScriptedEngines([written("One.")])), Talk(ScriptedEngines([written("Other.")]))
    async with one, other:
        await gather(one.say("first"), other.say("second"))
        done = await gather(one.ask(**TEXT), other.ask(**TEXT))
        assert [text_of(event) for event in done] == ["One.", "Other."]
        assert one.told()[0].content == "first"
        assert other.told()[0].content == "second"
        ids = [[event["event_id"] for event in talk.events] for talk in (one, other)]
        assert not set(ids[0]) & set(ids[1])


async def test_closing_a_session_stops_its_model() -> None:
    answer, stopped = endless()
    async with Talk(ScriptedEngines([answer])) as talk:
        assert isinstance(talk.session, Session)
        await talk.say("Go on.")
        await talk.send("response.create", response=TEXT)
        await talk.until("response.output_text.delta")
    assert stopped.is_set()
