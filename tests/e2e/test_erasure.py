"""Deletions, and secrets that are told once. When the shared stack has ended, every file of it is searched for them."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.e2e import stack as stacks
from tests.e2e.recordings import wav
from tests.support import speech

pytestmark = pytest.mark.e2e

SPOKEN = "Seven purple elephants juggle enormous turnips"
RENDERED = "Twelve polite walruses recite forgotten limericks."


def test_a_deleted_transcription_and_a_deleted_render_leave_nothing(stack: stacks.Stack, client: httpx.Client) -> None:
    name, term = "elephants-at-the-circus.wav", "Brobdingnagian"
    sent = client.post("/submit", content=wav(speech.say(SPOKEN)), params={"filename": name, "keyterms": term})
    job_id = sent.json()["id"]
    body = stacks.wait_for(client, job_id)
    assert body["status"] == "completed"
    heard = re.findall(r"[a-z]+", str(body["text"]).lower())
    assert len({"purple", "elephants", "enormous"} & set(heard)) >= 2
    words = client.get(f"/transcriptions/{job_id}", params={"word_level_timestamps": True}).json()["segments"][0]["text"]
    corrected = {"revision": 0, "words": [{"segment": 0, "word": 0, "text": "Quetzalcoatlus"}]}
    assert client.patch(f"/transcriptions/{job_id}/corrections", json=corrected).status_code == 200

    ask = {"voice": "maeve", "input": RENDERED, "verify_chunks": False}
    assert client.post("/vui/v1/tts", json=ask).status_code == 200

    def renders() -> list[int]:
        return [one["id"] for one in client.get("/history/tts").json()["data"] if one["chars"] == len(RENDERED)]

    stacks.until(renders, "the render is recorded")
    (render_id,) = renders()

    assert client.delete(f"/transcriptions/{job_id}").status_code == 200
    assert client.delete(f"/history/tts/{render_id}").status_code == 200
    stack.erased |= {
        "a deleted file name": name,
        "a deleted key term": term,
        "a deleted transcript": words.strip()[:40],
        "a deleted correction": "Quetzalcoatlus",
        "a deleted render": RENDERED,
    }


def test_keys_and_tokens_are_told_once(stack: stacks.Stack, client: httpx.Client) -> None:
    with stack.client(stack.key("admin")) as admin:
        ask = {"account": "shop", "scopes": ["user"]}
        made = admin.post("/operator/keys", json=ask, headers={"Idempotency-Key": "one"}).json()
        again = admin.post("/operator/keys", json=ask, headers={"Idempotency-Key": "one"}).json()
        second = admin.post(f"/operator/keys/{made['id']}/rotate", json={"grace_secs": 0}).json()
    assert again == made
    token = client.post("/v1/tokens", json={"scopes": ["speak"], "seconds": 60}).json()["token"]
    secret = client.post("/v1/realtime/client_secrets", json={}).json()["value"]
    hook = client.post("/v1/webhooks", json={"url": "https://hooks.example.org/in", "events": ["transcription.completed"]})
    assert hook.is_success, hook.text
    assert client.delete(f"/v1/webhooks/{hook.json()['id']}").is_success  # nobody is there to receive events
    stack.erased |= {
        "a key": made["key"],
        "a rotated key": second["key"],
        "a token": token,
        "a client secret": secret,
        "a secret of a webhook": hook.json()["secret"],
    }
