"""Usage, operations, keys and webhooks: what the API counts, and what the page shows and changes."""

from __future__ import annotations

import datetime as dt

import pytest
from playwright.sync_api import expect

from tests.contract.gateway import OPERATOR_KEY
from tests.e2e import recordings
from tests.e2e.stack import until
from tests.studio.conftest import Visit
from tests.studio.server import Studio

pytestmark = pytest.mark.contract

TEXT = "Counted are these characters."


@pytest.fixture(scope="module")
def counted(platform: Studio) -> str:
    """The key of an account that has one transcribed recording and one render."""
    key = platform.key("counted")
    platform.transcribed(recordings.sentence(2), "counted.wav", key)
    with platform.client(key) as client:
        client.post("/vui/v1/tts", json={"voice": "maeve", "input": TEXT, "verify_chunks": False}).raise_for_status()
        # A render is in the history within a second of its end.
        until(lambda: client.get("/v1/usage").json()["days"][-1]["speech"]["count"], "the render is counted", 120)
    return key


def test_usage_counts_by_day_and_account(platform: Studio, counted: str) -> None:
    today = dt.datetime.now(dt.UTC).date()
    with platform.client(counted) as client:
        body = client.get("/v1/usage", params={"since": str(today - dt.timedelta(2))}).raise_for_status().json()
        assert client.get("/v1/usage", params={"since": "2020-01-01"}).json()["error"]["param"] == "since"
        audio = client.get("/transcriptions").json()["transcriptions"][0]["audio_duration"]
    *before, now = body["days"]
    assert [day["day"] for day in body["days"]] == [str(today - dt.timedelta(back)) for back in (2, 1, 0)]
    assert all(day["transcriptions"]["count"] == 0 for day in before)
    assert now["transcriptions"]["count"] == 1
    assert now["transcriptions"]["audio_secs"] == pytest.approx(audio, abs=0.01)
    assert now["speech"]["chars"] == len(TEXT)
    assert body["processing_per_audio_sec"]["count"] == 1
    with platform.client(platform.key("idle")) as client:
        assert client.get("/v1/usage").json()["days"][-1]["transcriptions"]["count"] == 0


def test_usage_and_latencies_are_shown_as_pictures_and_tables(visit: Visit, counted: str) -> None:
    page = visit.page("usage", counted)
    expect(page.locator("dl.facts")).to_contain_text(str(len(TEXT)))
    spoken = page.get_by_role("region", name="Characters spoken")
    drawn = "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value)"
    page.wait_for_function(drawn, arg=spoken.locator("canvas").element_handle())
    spoken.get_by_text("The same as a table").click()
    expect(spoken.get_by_role("row").last).to_contain_text(str(len(TEXT)))
    with visit.studio.client(counted) as client:
        found = client.get("/v1/usage").json()["processing_per_audio_sec"]
    row = page.get_by_role("region", name="How long things took").get_by_role("row").nth(1)
    expect(row.get_by_role("cell")).to_have_text(
        ["Transcription, for each second of audio", "1", *(f"{found[name]:.2f} s" for name in ("p50", "p90", "p99"))]
    )
    expect(page.get_by_role("heading", name="Operations")).to_have_count(0)


def test_operators_see_engines_the_queue_and_archives_with_their_reports(visit: Visit) -> None:
    with visit.studio.client(OPERATOR_KEY) as client:
        slots = client.get("/operator/status").json()["engines"]
        opened = client.post("/operator/archives", json={"name": "calls of May", "source": "/calls"}).raise_for_status()
        path = f"/operator/archives/{opened.json()['id']}"
        failure = {"reason": "not_audio", "message": "It is a picture."}
        files = [
            {"key": f"/calls/{n}", "location": "/calls", "account": "default", "filename": f"{n}.wav", "failure": failure}
            for n in range(2)
        ]
        client.post(f"{path}/note", json={"files": files}).raise_for_status()
    page = visit.page("usage", visit.operator_key)
    expect(page.get_by_role("region", name="Engines").get_by_role("row")).to_have_count(1 + len(slots))
    expect(page.get_by_role("region", name="Operations")).to_contain_text("Jobs waiting")
    run = page.get_by_role("region", name="Archives").get_by_role("article").filter(has_text="calls of May")
    expect(run).to_contain_text("2 of 2 files · 2 failed")
    expect(run.get_by_role("progressbar", name="Progress of calls of May")).to_have_attribute("value", "2")
    run.get_by_role("button", name="Report of calls of May").click()
    expect(run.get_by_role("row").last.get_by_role("cell")).to_have_text(["not_audio", "2"])


def test_a_key_is_created_shown_once_used_and_revoked(visit: Visit) -> None:
    page = visit.page("access", visit.operator_key)
    page.get_by_role("button", name="New key").click()
    page.get_by_role("textbox", name="Name").fill("for a colleague")
    page.get_by_role("textbox", name="Account").fill("other")
    page.get_by_label("Expires").select_option(label="After a day")
    page.get_by_role("checkbox", name="Talk", exact=True).uncheck()
    page.get_by_role("button", name="Create").click()
    key = page.locator(".secret").inner_text()
    with visit.studio.client(key) as client:
        assert client.get("/v1/account").json()["scopes"] == ["history", "speak", "transcribe"]
        page.get_by_text("Close", exact=True).click()
        expect(page.locator("dialog")).to_have_count(0)
        assert key not in page.content()
        expect(page.get_by_role("row").filter(has_text="for a colleague")).to_contain_text("Until ")
        page.get_by_role("button", name="Revoke for a colleague").click()
        page.get_by_role("dialog").get_by_role("button", name="Revoke", exact=True).click()
        row = page.get_by_role("row").filter(has_text="for a colleague")
        expect(row.get_by_text("Revoked")).to_be_visible()
        until(lambda: client.get("/v1/account").status_code == 401, "the key is refused", 120)


def test_a_webhook_is_created_tested_replayed_and_deleted(visit: Visit, receiver: tuple[str, list[bytes]]) -> None:
    url, got = receiver
    page = visit.page("access")
    expect(page.get_by_role("heading", name="API keys")).to_have_count(0)
    page.get_by_role("button", name="New webhook").click()
    page.get_by_label("Address").fill(url)
    page.get_by_role("button", name="Create").click()
    expect(page.locator(".secret")).to_contain_text("whsec_")
    page.get_by_text("Close", exact=True).click()
    page.get_by_role("button", name="Send a test to").click()
    until(lambda: got, "the test event is received", 120)
    page.get_by_role("button", name="Deliveries to").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("cell", name="webhook.test", exact=True)).to_be_visible()
    dialog.get_by_role("button", name="Send webhook.test again").click()
    until(lambda: len(got) >= 2, "the event is received again", 120)
    assert set(got) == {got[0]}
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Delete the webhook").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("There are no webhooks.")).to_be_visible()


def test_a_deletion_that_fails_says_why(visit: Visit) -> None:
    with visit.studio.client(visit.key) as client:
        made = client.post("/v1/webhooks", json={"url": "https://example.org/gone"}).raise_for_status().json()
        page = visit.page("access")
        page.get_by_role("button", name="Delete the webhook https://example.org/gone").click()
        client.delete(f"/v1/webhooks/{made['id']}").raise_for_status()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text(made["id"])
    visit.forgive("404")


def test_tables_of_keys_and_webhooks_fit_a_phone(visit: Visit) -> None:
    with visit.studio.client(visit.operator_key) as client:
        client.post("/v1/webhooks", json={"url": f"https://example.org/{'long-path/' * 8}"}).raise_for_status()
    page = visit.page("access", visit.operator_key, phone=True)
    for table in ("API keys", "Webhooks"):
        region = page.get_by_role("region", name=table)
        region.locator("table").wait_for()
        wide = "table => table.scrollWidth > table.clientWidth"
        assert not region.locator(".scroll-x").evaluate(wide), f"{table} is moved sideways"
    revoke = page.get_by_role("button", name="Revoke").first
    revoke.scroll_into_view_if_needed()
    expect(revoke).to_be_in_viewport(ratio=1)
    with visit.studio.client(visit.operator_key) as client:
        for webhook in client.get("/v1/webhooks").json()["data"]:
            client.delete(f"/v1/webhooks/{webhook['id']}").raise_for_status()
