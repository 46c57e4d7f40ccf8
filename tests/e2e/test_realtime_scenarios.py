"""How spoken conversations behave: the scenarios of `realtime_scenarios.yaml` with rendered speech and real engines."""

from __future__ import annotations

import asyncio

import pytest

from tests.e2e import stack as stacks
from tests.e2e.realtime_scenarios import Scenario, play, scenarios

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("scenario", scenarios(), ids=lambda scenario: scenario.name)
def test_a_conversation_goes_as_its_scenario_says(stack: stacks.Stack, scenario: Scenario) -> None:
    played = asyncio.run(play(stack.url.replace("http", "ws", 1), stack.key(), scenario))
    expected = scenario.expect
    for kind, count in expected.get("events", {}).items():
        assert played.count(kind) == count, (kind, [event["type"] for event in played.events])
    statuses = [event["response"]["status"] for event in played.events if event["type"] == "response.done"]
    # An answer may reach its limit of tokens.
    ends = ["answered" if status in ("completed", "incomplete") else status for status in statuses]
    assert ends == expected.get("statuses", ends)
    completed = "conversation.item.input_audio_transcription.completed"
    heard = " ".join(event["transcript"].lower() for event in played.events if event["type"] == completed)
    for words in expected.get("heard", []):
        assert words in heard
    for words in expected.get("not_heard", []):
        assert words not in heard
