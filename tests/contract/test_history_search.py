"""Searches below `/history`: what they find, their pages, and cursors that are none."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from tests.contract.filled_history import conversation
from tests.contract.gateway import Running
from tests.support.lakehouse_kit import until_projected

pytestmark = pytest.mark.contract


def cursor(content: Any) -> str:
    """A cursor of this content, right or wrong."""
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


BAD = [
    ("/history/search?q=a&cursor=abc", "cursor"),
    ("/history/search?q=a&cursor=", "cursor"),
    (f"/history/search?q=a&cursor={cursor({})}", "cursor"),
    (f"/history/search?q=a&cursor={cursor([1, 2])}", "cursor"),
    (f"/history/search?q=a&cursor={cursor({'video': [1, 2]})}", "cursor"),
    (f"/history/search?q=a&cursor={cursor({'tts': [1, 2**63]})}", "cursor"),
    (f"/history/search?q=a&cursor={cursor({'tts': [-1, 2]})}", "cursor"),
    (f"/history/conversations/search?q=a&cursor={cursor({'tts': [1, 2]})}", "cursor"),
    (f"/history/search?q=a&type=conversation&cursor={cursor({'tts': [1, 2]})}", "cursor"),
    ("/history/search?q=a&type=video", "type"),
    ("/history/search?q=a&since=yesterday", "since"),
    ("/history/conversations/search?q=a&until=tomorrow", "until"),
]


async def test_search_finds_turns_transcripts_names_and_spoken_texts(filled: Running, client: httpx.AsyncClient) -> None:
    turns = (await client.get("/history/conversations/search", params={"q": "dentist", "limit": 3})).json()
    assert (turns["object"], turns["query"], len(turns["data"])) == ("list", "dentist", 3)
    assert turns["data"][0]["snippet"] == "turn 1 about the <mark>dentist</mark>"
    await until_projected(filled.ledger)
    both = (await client.get("/history/search", params={"q": "dentists"})).json()["data"]
    assert [hit["object"] for hit in both] == ["conversation_turn"] * 4 + ["transcription"]
    assert both[-1]["start_secs"] == 0.5
    assert both[-1]["snippet"] == "Good morning, <mark>dentists</mark>."
    (named,) = (await client.get("/history/search", params={"q": "interview"})).json()["data"]
    assert set(named) == {
        "object", "id", "created_at", "status", "filename", "audio_duration_secs", "snippet", "start_secs",
    }  # fmt: skip
    assert (named["filename"], named["start_secs"]) == ("interview.wav", None)
    spoken = (await client.get("/history/search", params={"q": '"good evening"', "limit": 2})).json()["data"]
    assert [(hit["object"], hit["text"]) for hit in spoken] == [("tts", "Good evening.")] * 2
    assert (await client.get("/history/search", params={"q": "the of and"})).json()["data"] == []


async def test_a_search_goes_on_where_its_page_ended(filled: Running, client: httpx.AsyncClient) -> None:
    await filled.ledger.records.add_conversation(*conversation("sess_many", 4, turns=5))
    await until_projected(filled.ledger)

    async def pages(path: str, query: str, limit: int, **more: str) -> list[list[dict[str, Any]]]:
        found: list[list[dict[str, Any]]] = []
        cursor = None
        while not found or cursor:
            params = {"q": query, "limit": str(limit), **more, **({"cursor": cursor} if cursor else {})}
            body = (await client.get(path, params=params)).raise_for_status().json()
            found.append(body["data"])
            cursor = body["next_cursor"]
            # What comes meanwhile is newer than the next page.
            await filled.ledger.records.add_conversation(*conversation(f"sess_new_{len(found)}", 500 + len(found)))
        return found

    whole = (await client.get("/history/conversations/search", params={"q": "dentist", "limit": "100"})).json()
    assert (len(whole["data"]), whole["next_cursor"]) == (9, None)
    turns = await pages("/history/conversations/search", "dentist", 4)
    assert [len(page) for page in turns] == [4, 4, 1]
    assert [hit for page in turns for hit in page] == whole["data"]
    everything = await pages("/history/search", "dentist or evening", 3)
    kinds = [[hit["object"] for hit in page] for page in everything]
    assert kinds[0] == ["conversation_turn"] * 3 + ["transcription"] + ["tts"] * 3
    assert kinds[1] == ["conversation_turn"] * 3 + ["tts"] * 2, "a kind of which all was shown does not begin again"
    assert set(kinds[-1]) == {"conversation_turn"}
    ids = [(hit["object"], hit["id"]) for page in everything for hit in page]
    assert len(ids) == len(set(ids))
    by_time = await pages("/history/search", "dentist or evening", 3, order="time")
    together = [hit for page in by_time for hit in page]
    assert {len(page) for page in by_time[:-1]} == {3}
    assert [hit["created_at"] for hit in together] == sorted((hit["created_at"] for hit in together), reverse=True)
    found = [(hit["object"], hit["id"]) for hit in together]
    # Between the pages of both searches came what the later one finds as well.
    assert len(found) == len(set(found))
    assert set(ids) < set(found)


async def test_a_search_has_the_filters_of_the_feed(filled: Running, client: httpx.AsyncClient) -> None:
    await until_projected(filled.ledger)
    query = "dentist or evening"

    async def found(**filters: str) -> list[tuple[str, str]]:
        hits: list[dict[str, Any]] = []
        cursor: str | None = None
        while not hits or cursor:
            params = {"q": query, "order": "time", "limit": "2", **filters, **({"cursor": cursor} if cursor else {})}
            body = (await client.get("/history/search", params=params)).raise_for_status().json()
            hits, cursor = hits + body["data"], body["next_cursor"]
            if not body["data"]:
                break
        return [(hit["object"], hit["created_at"]) for hit in hits]

    everything = await found()
    assert {kind for kind, _ in everything} == {"conversation_turn", "transcription", "tts"}
    for type, kind in (("conversation", "conversation_turn"), ("transcription", "transcription"), ("tts", "tts")):
        assert await found(type=type) == [hit for hit in everything if hit[0] == kind]
    assert await found(type="tts,conversation") == [hit for hit in everything if hit[0] != "transcription"]
    renders = [at for kind, at in everything if kind == "tts"]
    since, until = renders[3], renders[1]
    assert await found(since=since, until=until) == [hit for hit in everything if since <= hit[1] <= until]
    assert await found(since=since, type="tts") == [("tts", at) for at in renders[:4]]
    turns = {"q": "dentist", "until": "2026-06-29T12:45:00Z"}
    early = (await client.get("/history/conversations/search", params=turns)).json()
    assert ({hit["session_id"] for hit in early["data"]}, early["next_cursor"]) == ({"sess_abc"}, None)


async def test_a_turn_that_was_found_has_its_conversations_title(filled: Running, client: httpx.AsyncClient) -> None:
    for path in ("/history/search", "/history/conversations/search"):
        hits = (await client.get(path, params={"q": "dentist"})).json()["data"]
        titles = {hit["session_id"]: hit["title"] for hit in hits if hit["object"] == "conversation_turn"}
        assert titles == dict.fromkeys(("sess_abc", "sess_def"), "turn 0 about the dentist"), path
        other = (await client.get(path, params={"q": "dentist", "since": "2026-06-29T13:00:00Z"})).json()["data"]
        assert {hit["session_id"] for hit in other if hit["object"] == "conversation_turn"} == {"sess_def"}


async def test_a_cursor_that_is_none_is_named(client: httpx.AsyncClient) -> None:
    for path, param in BAD:
        response = await client.get(path)
        assert (response.status_code, response.json()["error"]["param"]) == (422, param), path
