"""Expiry, rotation and use of keys; tokens created with them; tokens of an identity provider."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import http.server
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from websockets.exceptions import InvalidStatus

from clients.operator import OperatorClient
from flows import worker
from lakehouse import sql
from lakehouse.storage.location import Location
from schemas.errors import InvalidParameter, Unauthenticated
from schemas.settings import AuthSettings, EngineSettings, ServerSettings, Settings, StorageSettings
from serve.gateway.access import AccessRules
from serve.gateway.jwt_issuer import JwtIssuer
from tests.contract.gateway import OPERATOR_KEY, USER_KEY, Running, running
from tests.contract.speaking import served
from tests.contract.test_realtime_socket import opened
from tests.integration.test_decode import wav

pytestmark = pytest.mark.security


@asynccontextmanager
async def gateway_with(home: Path, **auth: Any) -> AsyncIterator[Running]:
    settings = Settings(
        server=ServerSettings(home=home),
        storage=StorageSettings(fsync=False),
        engines=EngineSettings(tts_engine="espeak"),
        auth=AuthSettings(key_cache_secs=0.0, **auth),
    )
    async with running(home, settings) as started:
        yield started


async def status(gateway: Running, key: str, path: str = "/transcriptions") -> int:
    async with gateway.client(key) as client:
        return (await client.get(path)).status_code


async def test_a_key_is_exchanged_without_a_gap_and_ends(tmp_path: Path) -> None:
    async with gateway_with(tmp_path) as gateway, gateway.client(OPERATOR_KEY) as admin:
        made = (await admin.post("/operator/keys", json={"account": "shop", "scopes": ["transcribe"]})).json()
        assert made["ending"] == made["key"][-4:]
        assert await status(gateway, made["key"]) == 200
        path = f"/operator/keys/{made['id']}/rotate"
        second = (await admin.post(path, json={"grace_secs": 3600})).json()
        assert (second["account"], second["scopes"]) == ("shop", ["transcribe"])
        assert second["id"] != made["id"]
        assert [await status(gateway, one["key"]) for one in (made, second)] == [200, 200]
        # Exchanged again, at once: the old key is closed, and no exchange gives it more time.
        third = (await admin.post(path, json={"grace_secs": 0})).json()
        assert [await status(gateway, one["key"]) for one in (made, second, third)] == [401, 200, 200]
        assert (await admin.post(path, json={})).status_code == 409
        assert (await admin.post("/operator/keys/none/rotate", json={})).status_code == 404
        brief = (await admin.post("/operator/keys", json={"expires_in_secs": 0.3})).json()
        assert await status(gateway, brief["key"]) == 200
        while await status(gateway, brief["key"]) == 200:  # it has a third of a second to live
            assert dt.datetime.now(dt.UTC) < dt.datetime.fromisoformat(brief["expires_at"]) + dt.timedelta(seconds=1)
        assert await status(gateway, brief["key"]) == 401


async def test_when_a_key_was_used_is_known_and_kept(tmp_path: Path) -> None:
    async with gateway_with(tmp_path) as gateway, gateway.client(OPERATOR_KEY) as admin:
        await status(gateway, USER_KEY)
        await gateway.services.keys.note_uses()
        used = {
            one["name"] + one["account"]: one["last_used_at"] for one in (await admin.get("/operator/keys")).json()["keys"]
        }
        assert used["testsdefault"] is not None
        assert used["testsother"] is None
        before = used["testsdefault"]
    async with gateway_with(tmp_path) as gateway, gateway.client(OPERATOR_KEY) as admin:
        kept = {
            one["name"] + one["account"]: one["last_used_at"] for one in (await admin.get("/operator/keys")).json()["keys"]
        }
        assert kept["testsdefault"] == before


async def test_a_token_does_part_of_what_its_key_does_and_ends_with_it(tmp_path: Path) -> None:
    async with gateway_with(tmp_path) as gateway, gateway.client() as client:
        made = (await client.post("/v1/tokens", json={"scopes": ["transcribe"], "seconds": 60})).json()
        token = made["token"]
        assert [await status(gateway, t) for t in (token, f"Bearer {token}")] == [200, 200]
        assert await status(gateway, token, "/history") == 403
        for changed in (token[:-2] + ("AA" if token[-2:] != "AA" else "BB"), token + "x", "fxt_", "fxt_a.b.c"):
            assert await status(gateway, changed) == 401
        forged = jwt.encode({"aud": "fluxions client", "sub": "x", "scope": "admin", "exp": time.time() + 60}, "x" * 32)
        assert await status(gateway, "fxt_" + forged) == 401
        # No more than the key may, no token from a token, no longer than the setting says.
        assert (await client.post("/v1/tokens", json={"scopes": ["operator"]})).status_code == 403
        assert (await client.post("/v1/tokens", json={"scopes": ["all"]})).status_code == 400
        assert (await client.post("/v1/tokens", json={"scopes": ["speak"], "seconds": 86_401})).status_code == 400
        async with gateway.client(token) as browser:
            assert (await browser.post("/v1/tokens", json={"scopes": ["transcribe"]})).status_code == 403
        past, _ = gateway.services.keys.tokens.make("key", ["transcribe"], -1)
        assert await status(gateway, past) == 401
        for key in await gateway.ledger.keys.all():
            await gateway.ledger.keys.revoke(key.id)
        assert await status(gateway, token) == 401


async def test_a_client_secret_ends_with_the_key_or_token_that_made_it(tmp_path: Path) -> None:
    async def secret(gateway: Running, key: str) -> dict[str, Any]:
        async with gateway.client(key) as client:
            made: dict[str, Any] = (
                await client.post("/v1/realtime/client_secrets", json={"expires_after": {"seconds": 7200}})
            ).json()
            return made

    async with gateway_with(tmp_path) as gateway, gateway.client(OPERATOR_KEY) as admin:
        key = (await admin.post("/operator/keys", json={"account": "shop"})).json()
        async with gateway.client(key["key"]) as client:
            token = (await client.post("/v1/tokens", json={"scopes": ["realtime"], "seconds": 60})).json()
        by_token = await secret(gateway, token["token"])
        assert by_token["expires_at"] <= dt.datetime.fromisoformat(token["expires_at"]).timestamp()
        by_key = await secret(gateway, key["key"])
        assert by_key["expires_at"] > time.time() + 7000
        async with served(gateway) as address:
            for made in (by_token, by_key):
                async with opened(address, key=made["value"]):
                    pass
            await admin.delete(f"/operator/keys/{key['id']}")
            for made in (by_token, by_key):
                with pytest.raises(InvalidStatus) as refused:
                    async with opened(address, key=made["value"]):
                        pass
                assert refused.value.response.status_code == 401


class Provider:
    """An identity provider on loopback: its keys, and tokens signed with them."""

    def __init__(self) -> None:
        self.keys: dict[str, rsa.RSAPrivateKey] = {}
        self.fetches = 0
        self.new_key("one")
        provider = self

        class Keys(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.fetches += 1
                body = json.dumps({"keys": [provider.public(kid) for kid in provider.keys]}).encode()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keys)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"

    def new_key(self, kid: str) -> None:
        self.keys[kid] = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def public(self, kid: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(RSAAlgorithm.to_jwk(self.keys[kid].public_key()))
        return found | {"kid": kid, "use": "sig", "alg": "RS256"}

    def token(self, kid: str = "one", **changes: Any) -> str:
        claims = {"iss": "https://id.example", "aud": "fluxions", "sub": "ada", "exp": time.time() + 60, **changes}
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, self.keys[kid], "RS256", headers={"kid": kid})


@pytest.fixture
def provider() -> Iterator[Provider]:
    found = Provider()
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join(20)


async def test_tokens_of_an_identity_provider_are_checked_whole(
    tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.gateway.jwt_issuer._COOLDOWN_SECS", 0.0)
    auth = {"jwt_jwks_url": provider.url, "jwt_issuer": "https://id.example", "jwt_audience": "fluxions"}
    async with gateway_with(tmp_path, **auth) as gateway:
        assert await status(gateway, "Bearer " + provider.token()) == 200
        assert await status(gateway, USER_KEY) == 200
        assert await status(gateway, provider.token(scope="history")) == 403
        assert await status(gateway, provider.token(scope="history"), "/history") == 200
        assert await status(gateway, provider.token(scope="operator admin"), "/operator/keys") == 403
        now = time.time()
        for bad in (
            provider.token(aud="another"),
            provider.token(iss="https://evil.example"),
            provider.token(exp=now - 60),
            provider.token(exp=None),
            provider.token(nbf=now + 300),
            provider.token(sub=None),
            jwt.encode({"sub": "ada", "aud": "fluxions", "iss": "https://id.example", "exp": now + 60}, None, "none"),
            signed_with_public_key(provider),
            "a.b.c",
        ):
            assert await status(gateway, bad) == 401, bad
        assert await status(gateway, provider.token(exp=now - 5)) == 200  # within the clock's leeway
        # Known keys are fetched once; one that is not known is looked for.
        fetched = provider.fetches
        assert await status(gateway, provider.token()) == 200
        assert provider.fetches == fetched
        provider.new_key("two")
        assert await status(gateway, provider.token("two")) == 200
        account = (await gateway.services.keys.principal(provider.token(sub="auth0|7"))).account
        assert account.startswith("jwt-")
        assert len(account) <= 64


async def test_a_provider_s_token_acts_for_no_account_of_ours(tmp_path: Path, provider: Provider) -> None:
    auth = {"jwt_jwks_url": provider.url, "jwt_issuer": "https://id.example", "jwt_audience": "fluxions"}
    async with gateway_with(tmp_path, **auth) as gateway, gateway.client(OPERATOR_KEY) as admin:
        for ours in ("default", "other", "operator"):
            assert await status(gateway, provider.token(sub=ours)) == 403
        async with gateway.client(provider.token(sub="default")) as client:
            assert (await client.get("/transcriptions")).json()["error"]["code"] == "local_account"
        # An account that gets a key is ours from then on, also when that key is revoked.
        assert await status(gateway, provider.token(sub="shop")) == 200
        made = (await admin.post("/operator/keys", json={"account": "shop"})).json()
        assert await status(gateway, provider.token(sub="shop")) == 403
        await admin.delete(f"/operator/keys/{made['id']}")
        assert await status(gateway, provider.token(sub="shop")) == 403
        # No name is that of another one's hash.
        hashed = (await gateway.services.keys.principal(provider.token(sub="auth0|7"))).account
        assert (await gateway.services.keys.principal(provider.token(sub=hashed))).account != hashed
    async with gateway_with(tmp_path, **auth, jwt_local_accounts=True) as gateway:
        assert await status(gateway, provider.token(sub="default")) == 200


def signed_with_public_key(provider: Provider) -> str:
    """A token signed with the public key as a shared secret."""
    claims = {"iss": "https://id.example", "aud": "fluxions", "sub": "ada", "exp": time.time() + 60}
    parts = [{"alg": "HS256", "typ": "JWT", "kid": "one"}, claims]
    text = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    secret = json.dumps(provider.public("one")).encode()
    signature = base64.urlsafe_b64encode(hmac.new(secret, text, hashlib.sha256).digest()).rstrip(b"=")
    return (text + b"." + signature).decode()


def test_a_provider_without_issuer_or_audience_is_refused(provider: Provider) -> None:
    with pytest.raises(ValueError, match="JWT_ISSUER"):
        AuthSettings(jwt_jwks_url=provider.url)


def test_no_secret_that_a_provider_shares_can_sign_its_tokens(provider: Provider) -> None:
    """Whoever can check such a token could make one."""
    asked = {"jwt_jwks_url": provider.url, "jwt_issuer": "https://id.example", "jwt_audience": "fluxions"}
    assert JwtIssuer(AuthSettings(**asked, jwt_algorithms="HS256, none,RS256"))._algorithms == ["RS256"]


async def test_a_refused_worker_asks_ever_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def noted(secs: float) -> None:
        pauses.append(secs)

    monkeypatch.setattr(worker.asyncio, "sleep", noted)
    client = OperatorClient("http://127.0.0.1:1", "old")
    refused = worker.RefusedKey(tmp_path / "operator", client)
    for _ in range(8):
        await refused.wait(Unauthenticated("unknown"))
    await client.close()
    assert pauses == sorted(pauses)
    assert 0 < pauses[0] < 10 <= pauses[-1] <= 120


async def test_a_worker_whose_key_is_refused_says_so_once_and_takes_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker, "_REFUSED_PAUSES_SECS", (0.0, 0.0))
    key_file = tmp_path / "operator"
    key_file.write_text("old\n")
    client = OperatorClient("http://127.0.0.1:1", "old")
    refused = worker.RefusedKey(key_file, client)
    for _ in range(3):
        await refused.wait(Unauthenticated("unknown"))
    key_file.write_text("new\n")
    await refused.wait(Unauthenticated("unknown"))
    assert client._http.headers["Authorization"] == "new"
    assert len(caplog.records) == 1
    assert "old" not in caplog.text
    refused.taken()
    await refused.wait(Unauthenticated("unknown"))
    assert len(caplog.records) == 2
    await client.close()


def test_what_gives_operators_data_of_accounts_is_recorded() -> None:
    rules = AccessRules.of(Settings())
    recorded = {
        (method, path): rules.audited(method, path, rules.find(path))
        for method, path in (
            ("GET", "/operator/archives/7/files"),
            ("GET", "/operator/archives/7/diff"),
            ("GET", "/operator/archives"),
            ("POST", "/operator/archives"),
            ("POST", "/v1/webhooks/1/rotate_secret"),
            ("GET", "/v1/webhooks/1"),
            ("GET", "/history"),
        )
    }
    assert list(recorded.values()) == [True, True, False, True, True, False, False], recorded


async def test_what_is_done_with_keys_is_recorded_for_operators(tmp_path: Path) -> None:
    async with gateway_with(tmp_path) as gateway, gateway.client(OPERATOR_KEY) as admin, gateway.client() as client:
        made = (await admin.post("/operator/keys", json={"account": "shop"})).json()
        await admin.get("/operator/keys")
        await client.post("/v1/tokens", json={"scopes": ["transcribe"]})
        job = (await client.post("/submit", content=wav(bytes(32_000), rate_hz=16_000))).json()
        await client.delete(f"/transcriptions/{job['id']}")
        assert (await client.delete("/transcriptions/99")).status_code == 404
        assert (await client.post("/v1/realtime/client_secrets", json={})).status_code == 200
        assert (await admin.post("/operator/archives/select", json={"where": "id < 9"})).status_code == 200
        assert (await admin.delete(f"/operator/keys/{made['id']}")).status_code == 200
        settings = gateway.services.settings
    query = "select account, action, target, status from audit_events order by id"
    recorded = sql.query(Location.of(settings), query, None).rows()
    assert recorded == [
        ("operator", "POST /operator/keys", "/operator/keys", 200),
        ("default", "POST /v1/tokens", "/v1/tokens", 200),
        ("default", "DELETE /transcriptions", f"/transcriptions/{job['id']}", 200),
        ("default", "POST /v1/realtime/client_secrets", "/v1/realtime/client_secrets", 200),
        ("operator", "POST /operator/archives/select", "/operator/archives/select", 200),
        ("operator", "DELETE /operator/keys", f"/operator/keys/{made['id']}", 200),
    ]
    with pytest.raises(InvalidParameter):
        sql.query(Location.of(settings), query, "default")
