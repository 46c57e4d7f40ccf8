"""What cannot be served is refused in words, in one shape, and everything else goes on."""

from __future__ import annotations

import json
import os
import struct
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest

from schemas.domain import SAMPLE_RATE_HZ
from tests.e2e import recordings
from tests.e2e import stack as stacks
from tests.e2e.conftest import UPLOAD_LIMIT_BYTES
from tests.support import speech

pytestmark = pytest.mark.e2e

AUDIO = Path(os.environ.get("FLUXIONS_TEST_AUDIO", "../shared/audio"))
GOOD = recordings.wav(speech.noise(1.0, 0.01))


def _float_wav(values: list[float]) -> bytes:
    data = struct.pack(f"<{len(values)}f", *values)
    fmt = struct.pack("<HHIIHH", 3, 1, SAMPLE_RATE_HZ, SAMPLE_RATE_HZ * 4, 4, 32)
    body = b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


BAD = {
    "empty": b"",
    "text": b"this is no recording at all\n" * 20,
    "json": b'{"audio": "none"}',
    "playlist": b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1/secret.mp3\n",
    "no rate": GOOD[:24] + struct.pack("<I", 0) + GOOD[28:],
    "no samples": recordings.wav(speech.silence(0.0)),
    "not a number": _float_wav([0.1, float("nan")] * 4000),
    "255 channels": GOOD[:22] + struct.pack("<H", 255) + GOOD[24:],
    "random bytes": bytes(range(256)) * 64,
}


CUT = {
    "truncated": GOOD[: len(GOOD) // 2],
    "lying header": GOOD[:40] + struct.pack("<I", 50_000_000) + GOOD[44:],
}
"""Recordings whose header declares more than there is."""


def _ends_in_words(client: httpx.Client, content: bytes, **params: str) -> str:
    """Either a 4xx with a message, or a job that failed with one."""
    response = client.post("/submit", content=content, params={"cache": "false", **params})
    if response.status_code == 200:
        body = stacks.wait_for(client, response.json()["id"], 60)
        assert body["status"] == "failed"
        return str(body["error_message"])
    assert 400 <= response.status_code < 500, response.text
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    return str(error["message"])


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_recording_is_refused_in_words(client: httpx.Client, name: str) -> None:
    message = _ends_in_words(client, BAD[name])
    assert len(message) > 15
    assert "Traceback" not in message
    assert "http" not in message


@pytest.mark.parametrize("name", CUT)
def test_what_breaks_off_is_transcribed_with_a_warning_and_fails_where_that_is_asked_for(
    client: httpx.Client, name: str
) -> None:
    response = client.post("/submit", content=CUT[name], params={"cache": "false"})
    body = stacks.wait_for(client, response.raise_for_status().json()["id"], 60)
    assert body["status"] == "completed"
    assert [warning["code"] for warning in body["warnings"]] == ["truncated_audio"]
    assert body["warnings"][0]["message"] in _ends_in_words(client, CUT[name], strict="true")


def test_malformed_recordings_are_refused_or_read_and_the_worker_lives(client: httpx.Client) -> None:
    files = sorted((AUDIO / "malformed").glob("*"))
    if not files:
        pytest.skip(f"no recordings in {AUDIO}/malformed")
    for path in files:
        response = client.post("/submit", content=path.read_bytes(), params={"cache": "false"})
        if response.status_code == 200:
            body = stacks.wait_for(client, response.json()["id"], 60)
            assert body["status"] == "completed" or body["error_message"]
        else:
            assert response.json()["error"]["message"]
    after = client.post("/submit", content=recordings.sentence(1, seed=77)).json()
    assert stacks.wait_for(client, after["id"])["status"] == "completed"


def test_bad_parameters_are_422_and_name_the_field(client: httpx.Client) -> None:
    cases = [
        ("POST", "/submit", {"non_speech": "maybe"}, "non_speech"),
        ("POST", "/submit", {"filename": "x" * 300}, "filename"),
        ("GET", "/transcriptions", {"limit": "101"}, "limit"),
        ("GET", "/transcriptions", {"limit": "0"}, "limit"),
        ("GET", "/transcriptions", {"offset": "-1"}, "offset"),
        ("GET", "/transcriptions/one", {}, "job_id"),
    ]
    for method, path, params, field in cases:
        response = client.request(method, path, params=params, content=b"x" if method == "POST" else None)
        assert response.status_code == 422, (path, params, response.text)
        body = response.json()
        assert body["error"]["param"] == field
        assert body["request_id"] == response.headers["x-request-id"]


def test_another_accounts_job_is_404(stack: stacks.Stack, client: httpx.Client) -> None:
    mine = client.post("/submit", content=recordings.sentence(2, seed=5)).json()["id"]
    with stack.client(stack.key("operator")) as operator:
        other = operator.post("/operator/keys", json={"account": "other", "name": "t"}).json()["key"]
    with stack.client(other) as stranger:
        assert stranger.get(f"/transcriptions/{mine}").status_code == 404
        assert stranger.get("/transcriptions").json()["total"] == 0


def test_a_revoked_key_opens_nothing(stack: stacks.Stack) -> None:
    with stack.client(stack.key("operator")) as operator:
        made = operator.post("/operator/keys", json={"account": "brief"}).json()
        with stack.client(made["key"]) as brief:
            assert brief.get("/transcriptions").status_code == 200
            assert operator.delete(f"/operator/keys/{made['id']}").json()["revoked_at"]
            deadline = time.monotonic() + 5
            while brief.get("/transcriptions").status_code != 401:
                assert time.monotonic() < deadline, "a revoked key still opens"
                time.sleep(0.1)
        listed = operator.get("/operator/keys").json()["keys"]
    assert made["key"] not in str(listed)


def test_over_the_limit_is_413(stack: stacks.Stack) -> None:
    # Refused on its headers alone: the body is never sent.
    connection = HTTPConnection("127.0.0.1", stack.port, timeout=30)
    connection.putrequest("POST", "/submit")
    connection.putheader("Authorization", stack.key())
    connection.putheader("Content-Length", str(UPLOAD_LIMIT_BYTES + 1))
    connection.endheaders()
    refused = connection.getresponse()
    assert refused.status == 413
    assert json.load(refused)["error"]["code"] == "payload_too_large"
    connection.close()


def test_400_mb_do_not_pass_through_memory(stack: stacks.Stack, client: httpx.Client) -> None:
    (gateway,) = stack.processes("Gateway")
    before = peak = gateway.memory_info().rss
    megabyte = os.urandom(2**20)
    # A WAV of a codec nobody has: accepted as a recording, refused when decoded, so nothing is computed on it.
    header = GOOD[:20] + struct.pack("<H", 0x7777) + GOOD[22:40] + struct.pack("<I", 400 * len(megabyte))

    def chunks() -> Iterator[bytes]:
        nonlocal peak
        yield header
        for _ in range(400):
            yield megabyte
            peak = max(peak, gateway.memory_info().rss)

    response = client.post("/submit", content=chunks(), timeout=300)
    assert response.status_code == 200, response.text
    peak = max(peak, gateway.memory_info().rss)
    assert (peak - before) / 2**20 < 64
    assert stacks.wait_for(client, response.json()["id"])["status"] == "failed"
