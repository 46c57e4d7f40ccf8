"""The Realtime protocol in text: sessions, items, responses, errors; checks 2 to 7, 10, 12, 25 to 29, 31."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.language_model import ChatMessage, NamedTool
from tests.support.realtime_kit import TEXT, WEATHER, ScriptedEngines, Talk, text_of, written
from tests.unit.test_realtime_audio_in import TURN, spoken

pytestmark = pytest.mark.unit


async def test_a_session_begins_with_its_whole_configuration() -> None:
    async with Talk(ScriptedEngines()) as talk:
        await talk.quiet()
        assert talk.kinds() == ["session.created"]
        session = talk.events[0]["session"]
        assert session["type"] == "realtime"
        assert session["object"] == "realtime.session"
        assert session["id"].startswith("sess_")
        assert session["model"] == "test"
        assert session["output_modalities"] == ["audio"]
        assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24000}
        assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 500
        assert session["audio"]["input"]["transcription"] is None


async def test_an_update_changes_what_it_names_and_nothing_else() -> None:
    async with Talk(ScriptedEngines()) as talk:
        before = talk.events[0]["session"]
        updated = await talk.update(
            instructions="Be brief.",
            tools=[WEATHER],
            audio={"input": {"turn_detection": {"type": "server_vad", "threshold": 0.7}}},
            model="another",
            tracing="auto",
            reasoning={"effort": "low"},
        )
        session = updated["session"]
        assert session["instructions"] == "Be brief."
        assert session["tools"] == [WEATHER]
        assert session["model"] == "test"
        turns = session["audio"]["input"]["turn_detection"]
        assert (turns["threshold"], turns["silence_duration_ms"]) == (0.7, 500)
        assert session["audio"]["output"] == before["audio"]["output"]
        cleared = await talk.update(instructions="", tools=[], audio={"input": {"turn_detection": None}})
        assert cleared["session"]["instructions"] == ""
        assert cleared["session"]["tools"] == []
        assert cleared["session"]["audio"]["input"]["turn_detection"] is None
        again = await talk.update(audio={"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "high"}}})
        assert again["session"]["audio"]["input"]["turn_detection"] == {
            "type": "semantic_vad",
            "eagerness": "high",
            "create_response": True,
            "interrupt_response": True,
        }
        assert len(talk.of("session.updated")) == 3


@pytest.mark.parametrize(
    ("session", "param", "code"),
    [
        ({"instructions": "x"}, "session.type", "missing_required_parameter"),
        ({"type": "realtime", "output_modalities": ["text", "audio"]}, "session.output_modalities", "invalid_value"),
        ({"type": "realtime", "tools": [{"type": "function"}]}, "session.tools[0].name", "missing_required_parameter"),
        ({"type": "realtime", "tools": [{"type": "mcp", "name": "x"}]}, "session.tools[0].type", "invalid_value"),
        ({"type": "realtime", "max_output_tokens": 9999}, "session.max_output_tokens", "invalid_value"),
        (
            {"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcm", "rate": 16000}}}},
            "session.audio.input.format.rate",
            "invalid_value",
        ),
        (
            {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "none"}}}},
            "session.audio.input.turn_detection.type",
            "invalid_value",
        ),
        (
            {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 1}}}},
            "session.audio.input.turn_detection.idle_timeout_ms",
            "invalid_value",
        ),
        ({"type": "realtime", "audio": {"output": {"voice": "nobody"}}}, "session.audio.output.voice", "invalid_value"),
        ({"type": "realtime", "audio": {"output": {"speed": 9}}}, "session.audio.output.speed", "invalid_value"),
        (
            {"type": "realtime", "audio": {"input": {"transcription": {"language": "fr"}}}},
            "session.audio.input.transcription.language",
            "invalid_value",
        ),
        ({"type": "dance"}, "session.type", "invalid_value"),
    ],
)
async def test_a_wrong_update_names_its_field_and_changes_nothing(session: dict[str, Any], param: str, code: str) -> None:
    async with Talk(ScriptedEngines()) as talk:
        before = talk.session.config
        await talk.send("session.update", session=session, event_id="mine")
        error = (await talk.until("error"))["error"]
        assert (error["param"], error["code"], error["event_id"]) == (param, code, "mine")
        assert error["type"] == "invalid_request_error"
        assert len(error["message"]) > 10
        assert talk.session.config == before


async def test_items_are_added_where_they_are_asked_for() -> None:
    async with Talk(ScriptedEngines()) as talk:
        first = await talk.say("one", id="my-item")
        assert talk.kinds()[1:] == ["conversation.item.added", "conversation.item.done"]
        assert first["item"]["id"] == "my-item"
        assert first["previous_item_id"] is None
        assert first["item"]["content"] == [{"type": "input_text", "text": "one"}]
        second = await talk.say("two")
        assert second["previous_item_id"] == "my-item"
        text = [{"type": "input_text", "text": "zero"}]
        item = {"type": "message", "role": "system", "content": text, "id": "head"}
        await talk.send("conversation.item.create", item=item, previous_item_id="root")
        assert (await talk.until("conversation.item.added"))["previous_item_id"] is None
        await talk.send("conversation.item.create", item={**item, "id": "after"}, previous_item_id="my-item")
        assert (await talk.until("conversation.item.added"))["previous_item_id"] == "my-item"
        assert [one.id for one in talk.session.conversation] == ["head", "my-item", "after", second["item"]["id"]]
        await talk.send("conversation.item.create", item={**item, "id": "x"}, previous_item_id="nowhere")
        assert (await talk.until("error"))["error"]["param"] == "previous_item_id"
        await talk.send("conversation.item.create", item={**item, "id": "head"}, event_id="dup")
        error = (await talk.until("error"))["error"]
        assert (error["code"], error["event_id"]) == ("item_create_duplicate_item_id", "dup")


async def test_items_are_retrieved_and_deleted_by_id() -> None:
    async with Talk(ScriptedEngines()) as talk:
        await talk.say("one", id="a")
        await talk.send("conversation.item.retrieve", item_id="a")
        assert (await talk.until("conversation.item.retrieved"))["item"]["content"][0]["text"] == "one"
        await talk.send("conversation.item.delete", item_id="a")
        assert (await talk.until("conversation.item.deleted"))["item_id"] == "a"
        for kind in ("delete", "retrieve"):
            await talk.send(f"conversation.item.{kind}", item_id="a")
            error = (await talk.until("error"))["error"]
            assert error["code"] == f"item_{kind}_invalid_item_id"
            assert error["event_id"] is None
            assert error["param"] is None
        await talk.send("conversation.item.truncate", item_id="a", content_index=0, audio_end_ms=0)
        assert (await talk.until("error"))["error"]["code"] == "item_truncate_invalid_item_id"


async def test_a_text_response_has_its_events_in_order() -> None:
    async with Talk(ScriptedEngines([written("Good ", "morning.")])) as talk:
        user = await talk.say("Hello")
        since = len(talk.events)
        done = await talk.ask(**TEXT, metadata={"client_event_id": "e1"})
        await talk.quiet()
        assert talk.kinds(since) == [
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
            "rate_limits.updated",
        ]
        created = talk.of("response.created")[0]["response"]
        assert created["status"] == "in_progress"
        assert created["output"] == []
        assert created["usage"] is None
        assert created["metadata"] == done["response"]["metadata"] == {"client_event_id": "e1"}
        assert created["conversation_id"] == done["response"]["conversation_id"] == talk.session.conversation.id
        added = talk.of("conversation.item.added")[-1]
        assert added["previous_item_id"] == user["item"]["id"]
        assert added["item"]["status"] == "in_progress"
        assert talk.of("response.content_part.added")[0]["part"] == {"type": "text", "text": ""}
        response = done["response"]
        assert response["status"] == "completed"
        assert response["output"][0]["content"] == [{"type": "output_text", "text": "Good morning."}]
        assert response["usage"]["total_tokens"] == 22
        assert response["usage"]["input_token_details"]["cached_tokens"] == 5
        assert [(m.role, m.content) for m in talk.told()] == [("user", "Hello")]


async def test_a_response_may_differ_from_its_session_and_leaves_it_as_it_was() -> None:
    async with Talk(ScriptedEngines()) as talk:
        await talk.update(instructions="Session.", tools=[WEATHER], tool_choice="required", **TEXT)
        await talk.say("Hello")
        await talk.ask(instructions="Just this.", tools=[], tool_choice="none", max_output_tokens=7, temperature=0.1)
        first = talk.engines.asked[0]
        assert first.messages[0] == ChatMessage("system", "Just this.")
        assert (first.tools, first.tool_choice, first.max_tokens, first.temperature) == ((), "none", 7, 0.1)
        await talk.ask(tool_choice={"type": "function", "name": "get_weather"})
        second = talk.engines.asked[1]
        assert second.messages[0] == ChatMessage("system", "Session.")
        assert [tool.name for tool in second.tools] == ["get_weather"]
        assert second.tool_choice == NamedTool("get_weather")
        assert second.max_tokens is None
        await talk.update(instructions="")
        await talk.ask()
        assert talk.engines.asked[2].messages[0].role == "user"
        assert talk.engines.asked[2].tool_choice == "required"


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        ("{", "invalid_json", None),
        ("[1]", "invalid_event", None),
        (b"\x00\x01", "invalid_event", None),
        ('{"type": "dance"}', "invalid_event", "type"),
        ('{"type": []}', "invalid_event", "type"),
        ('{"session": {}}', "missing_required_parameter", "type"),
        ('{"type": "session.update"}', "missing_required_parameter", "session"),
        ('{"type": "input_audio_buffer.append", "audio": "%%%"}', "invalid_value", "audio"),
        ('{"type": "input_audio_buffer.append"}', "missing_required_parameter", "audio"),
        ('{"type": "conversation.item.create", "item": {"type": "mcp_call"}}', "invalid_value", "item.type"),
        ('{"type": "conversation.item.create", "item": {}}', "missing_required_parameter", "item.type"),
        (
            '{"type": "conversation.item.create", "item": {"type": "message", "role": "robot", "content": []}}',
            "invalid_value",
            "item.role",
        ),
        (
            '{"type": "conversation.item.create", "item": {"type": "message", "role": "assistant",'
            ' "content": [{"type": "output_text"}]}}',
            "missing_required_parameter",
            "item.content[0].text",
        ),
        (
            '{"type": "conversation.item.create", "item": {"type": "message", "role": "user",'
            ' "content": [{"type": "input_image", "image_url": "x"}]}}',
            "invalid_value",
            "item.content[0].type",
        ),
        (
            '{"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": -1}',
            "invalid_value",
            "audio_end_ms",
        ),
        ('{"type": "response.create", "response": {"metadata": {"a": 1}}}', "invalid_type", "response.metadata.a"),
    ],
)
async def test_what_cannot_be_understood_is_an_error_and_the_session_goes_on(
    message: str | bytes, code: str, param: str | None
) -> None:
    async with Talk(ScriptedEngines([written("Yes.")])) as talk:
        await talk.session.take(message)
        error = (await talk.until("error"))["error"]
        assert (error["code"], error["param"]) == (code, param)
        await talk.say("Hello")
        assert text_of(await talk.ask(**TEXT)) == "Yes."


async def test_the_previous_ids_of_items_give_the_order_of_a_conversation() -> None:
    engines = ScriptedEngines([written(f"Answer {number}.") for number in range(3)], hears=["One.", "Two.", "Three."])
    async with Talk(engines) as talk:
        await talk.update(**TEXT)
        for _ in range(3):
            await talk.hear(spoken(TURN))
            await talk.until("response.done")
        await talk.say("Before all.", id="head")
        item = {"type": "message", "role": "system", "id": "root", "content": [{"type": "input_text", "text": "First."}]}
        await talk.send("conversation.item.create", item=item, previous_item_id="root")
        await talk.until("conversation.item.done")
        order: list[str] = []
        for event in talk.of("conversation.item.added"):
            before = event["previous_item_id"]
            order.insert(0 if before is None else order.index(before) + 1, event["item"]["id"])
        assert order == [one.id for one in talk.session.conversation]
        assert len(order) == 8
        assert (order[0], order[-1]) == ("root", "head")
