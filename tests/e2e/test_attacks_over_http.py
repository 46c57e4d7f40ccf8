"""Attacks with requests on the whole running platform: forged keys, foreign ids, hostile files, addresses and headers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from tests.e2e import recordings
from tests.e2e import stack as stacks
from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def keys(stack: Stack) -> dict[str, str]:
    """Keys of another account by scope, and one that was revoked."""
    made = {}
    with stack.client(stack.key("admin")) as admin:
        for scope in ("user", "history", "operator", "revoked"):
            ask = {"account": "mallory", "scopes": ["user" if scope == "revoked" else scope]}
            answer = admin.post("/operator/keys", json=ask, headers={"Idempotency-Key": f"mallory-{scope}"}).json()
            made[scope] = str(answer["key"])
            if scope == "revoked":
                assert admin.delete(f"/operator/keys/{answer['id']}").status_code == 200
    return made


@pytest.fixture(scope="module")
def victim(stack: Stack) -> dict[str, Any]:
    """A completed transcription of the default account."""
    with stack.client() as client:
        sent = client.post("/submit", content=recordings.sentence(1, seed=9), params={"filename": "victim.wav"}).json()
        stacks.wait_for(client, int(sent["id"]))
        return dict(sent)


def operations(client: httpx.Client) -> list[tuple[str, str]]:
    paths: dict[str, dict[str, Any]] = client.get("/openapi.json").json()["paths"]
    found = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    assert len(found) > 60
    return [(method, path.replace("{", "").replace("}", "")) for method, path in found if "/objects/" not in path]


OPEN = ("/health", "/ready", "/vui/voices", "/vui/v1/tts", "/v1/audio/voices", "/v1/audio/models", "/studio", "/docs")


def is_open(method: str, path: str) -> bool:
    return path.startswith(OPEN) and (method == "GET" or path == "/vui/v1/tts")


def test_no_forged_key_opens_a_route(stack: Stack, keys: dict[str, str]) -> None:
    claims = {"sub": "default", "scope": "admin operator user", "exp": time.time() + 600, "aud": "fluxions client"}
    forged = [
        "fx_" + "A" * 43,
        keys["revoked"],
        jwt.encode(claims, None, "none"),
        "fxt_" + jwt.encode(claims, "k" * 32, "HS256"),
        "ek_" + "0" * 48,
    ]
    with httpx.Client(base_url=stack.url, trust_env=False, timeout=60) as stranger:
        for method, path in operations(stranger):
            if not is_open(method, path):
                for key in forged if path == "/transcriptions" else forged[:1]:
                    headers = {"Authorization": f"Bearer {key}"}
                    assert stranger.request(method, path, headers=headers).status_code == 401, (method, path)


def test_a_key_does_what_its_scope_says(stack: Stack, keys: dict[str, str]) -> None:
    allowed = {"history": ("/history", "/delta-sharing", "/v1/usage", "/v1/webhooks"), "operator": ("/operator",)}
    anybodys = ("/v1/tokens", "/v1/account", "/v1/models")
    for scope, prefixes in allowed.items():
        with stack.client(keys[scope]) as client:
            for method, path in operations(client):
                if not is_open(method, path) and not path.startswith((*prefixes, *anybodys)):
                    assert client.request(method, path).status_code == 403, (scope, method, path)
            refused = client.post("/operator/keys", json={"account": "mallory", "scopes": ["admin"]})
            assert refused.status_code == 403


def test_a_worker_s_key_manages_no_keys_and_reads_no_history(stack: Stack) -> None:
    with stack.client(stack.key("node")) as worker:
        assert worker.get("/operator/status").status_code == 200
        ask = {"account": "mallory", "scopes": ["admin"]}
        assert worker.post("/operator/keys", json=ask).status_code == 403
        for method, path in (
            ("GET", "/operator/keys"),
            ("DELETE", "/operator/accounts/default"),
            ("GET", "/transcriptions"),
            ("GET", "/history"),
            ("POST", "/v1/realtime/client_secrets"),
        ):
            assert worker.request(method, path).status_code == 403, (method, path)
        assert worker.post("/v1/tokens", json={"scopes": ["admin"]}).status_code == 403


def test_another_s_ids_give_nothing(stack: Stack, keys: dict[str, str], victim: dict[str, Any]) -> None:
    path = f"/transcriptions/{victim['id']}"
    with stack.client(keys["user"]) as mallory:
        for method, asked in (("GET", path), ("GET", f"{path}/events"), ("POST", f"{path}/cancel"), ("DELETE", path)):
            response = mallory.request(method, asked)
            assert response.status_code == 404, (method, asked)
            assert "victim" not in response.text
        assert mallory.get("/transcriptions").json()["total"] == 0
        # The same sound is recognised anew, so that nobody learns whether somebody else has sent it.
        sent = mallory.post("/submit", content=recordings.sentence(1, seed=9)).json()
        assert sent["cached"] is False
        assert sent["original_audio_url"].partition("?")[0] != victim["original_audio_url"].partition("?")[0]
    link = httpx.URL(victim["original_audio_url"])
    with httpx.Client(base_url=stack.url, trust_env=False) as stranger:
        assert stranger.get(link.copy_set_param("expires", "99999999999").raw_path.decode()).status_code == 403
        assert stranger.get(link.copy_with(query=None).raw_path.decode()).status_code in (403, 422)


@contextmanager
def contacts() -> Iterator[tuple[int, list[str]]]:
    """A port on loopback, and who has connected to it."""
    found: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        done = threading.Event()

        def accept() -> None:
            while not done.is_set():
                try:
                    connection, peer = listener.accept()
                except TimeoutError:
                    continue
                found.append(str(peer))
                connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1], found
        finally:
            done.set()
            thread.join(10)


def test_no_url_or_file_makes_it_connect_or_read(stack: Stack, client: httpx.Client) -> None:
    with contacts() as (port, found):
        inside = (f"http://127.0.0.1:{port}/a.wav", f"http://[::ffff:127.0.0.1]:{port}/", f"http://localhost:{port}/")
        for url in (*inside, f"http://0x7f000001:{port}/", "http://169.254.169.254/latest/meta-data"):
            refused = client.post("/submit", json={"url": url})
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "address_refused"), url
        assert client.post("/submit", json={"url": "file:///etc/passwd"}).status_code == 400
        # Files that name others: a playlist, a concatenation, a description of a session.
        hostile = (
            f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1:{port}/a.ts\n#EXT-X-ENDLIST\n",
            "ffconcat version 1.0\nfile '/etc/passwd'\n",
            f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n",
        )
        for text in hostile:
            sent = client.post("/submit", content=text.encode(), headers={"Content-Type": "audio/mpeg"})
            if sent.status_code == 200:
                body = stacks.wait_for(client, int(sent.json()["id"]))
                assert body["status"] == "failed", text
            else:
                assert sent.status_code == 400, text
    assert found == []


def test_strange_headers_are_no_failure(stack: Stack, client: httpx.Client, victim: dict[str, Any]) -> None:
    link = httpx.URL(victim["original_audio_url"]).raw_path.decode()
    for value in ("bytes=\xb2-", "bytes=" + "9" * 5000 + "-", "bytes=-" + "9" * 5000, "bytes=5-1", "bytes=,,"):
        response = client.get(link, headers=[(b"Range", value.encode("latin-1"))])
        assert response.status_code in (200, 206, 400, 416), value


def test_what_the_proxy_logs_goes_nowhere(stack: Stack) -> None:
    used = [process.cmdline() for process in stack.processes("haproxy") if "-f" in process.cmdline()]
    configs = {arguments[arguments.index("-f") + 1] for arguments in used}
    assert configs
    lines = [line.split() for config in configs for line in Path(config).read_text().splitlines()]
    assert ["timeout", "http-request"] in [line[:2] for line in lines]
    targets = [line[1] for line in lines if line[:1] == ["log"] and line != ["log", "global"]]
    assert [target for target in targets if not target.startswith("/")] == [], "not a socket of this user's"
