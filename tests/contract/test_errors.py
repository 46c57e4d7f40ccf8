"""One error body on every route, and no protected route without a key."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from schemas import errors, wire
from schemas.settings import LimitSettings, ServerSettings, Settings, StorageSettings
from serve.gateway.access import AccessRules
from tests.contract.gateway import OPERATOR_KEY, Running, running
from tests.support.archive_kit import wav

pytestmark = pytest.mark.contract


def _protected(gateway: Running) -> list[tuple[str, str]]:
    """What needs a key: all but health, signed links, built-in voices and rendering with them."""
    rules = AccessRules.of(gateway.services.settings)
    found = []
    for path, methods in gateway.app.openapi()["paths"].items():
        rule = rules.find(path)
        assert rule is not None
        open_to_all = {method for method in methods if rule.optional or rules.is_open(method.upper(), path, rule)}
        found += [(method.upper(), re.sub(r"{[^}]+}", "1", path)) for method in methods if method not in open_to_all]
    return found


def _check_shape(response: httpx.Response) -> dict[str, Any]:
    body = response.json()
    assert set(body) == {"error", "request_id"}, body
    assert set(body["error"]) == {"message", "type", "code", "param"}
    assert body["request_id"] == response.headers["x-request-id"]
    return dict(body["error"])


@pytest.mark.parametrize(
    ("key", "code"),
    [(None, "missing_api_key"), ("", "empty_api_key"), ("Bearer ", "empty_api_key"), ("fx_wrong", "invalid_api_key")],
)
async def test_every_protected_route_refuses_a_missing_empty_or_unknown_key(
    gateway: Running, key: str | None, code: str
) -> None:
    async with gateway.client(key) as stranger:
        protected = _protected(gateway)
        assert len(protected) > 15
        for method, path in protected:
            response = await stranger.request(method, path)
            assert response.status_code == 401, (method, path, response.text)
            assert _check_shape(response)["code"] == code
            assert "www-authenticate" in response.headers


async def test_the_operator_api_refuses_a_users_key(gateway: Running, client: httpx.AsyncClient) -> None:
    operator_routes = [(m, p) for m, p in _protected(gateway) if p.startswith("/operator")]
    assert operator_routes
    for method, path in operator_routes:
        response = await client.request(method, path)
        assert response.status_code == 403, (method, path)
        assert _check_shape(response)["code"] == "operator_only"


async def test_a_key_is_taken_raw_and_after_bearer(gateway: Running) -> None:
    for key in ("fx_user_of_the_contract_tests", "Bearer fx_user_of_the_contract_tests"):
        async with gateway.client(key) as user:
            assert (await user.get("/transcriptions")).status_code == 200


async def test_unknown_paths_methods_ids_and_values_have_the_one_shape(client: httpx.AsyncClient) -> None:
    cases = [
        ("GET", "/nowhere", 404, "unknown_route"),
        ("PUT", "/transcriptions", 405, "method_not_allowed"),
        ("GET", "/transcriptions/99", 404, "not_found"),
        ("GET", "/transcriptions?limit=1000", 422, "invalid_parameter"),
        ("POST", "/submit", 400, "empty_audio"),
    ]
    for method, path, status, code in cases:
        response = await client.request(method, path)
        assert response.status_code == status, (path, response.text)
        assert _check_shape(response)["code"] == code


async def test_problem_json_when_asked_for(client: httpx.AsyncClient) -> None:
    response = await client.get("/transcriptions/99", headers={"Accept": "application/problem+json"})
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == 404
    assert problem["code"] == "not_found"
    assert problem["detail"]


async def test_a_stream_over_the_limit_is_413_and_leaves_nothing(tmp_path: Any) -> None:
    settings = Settings(
        server=ServerSettings(home=tmp_path / "home"),
        storage=StorageSettings(fsync=False),
        limits=LimitSettings(max_upload_bytes=100_000),
    )
    async with running(tmp_path / "home", settings) as gateway, gateway.client() as client:

        async def chunks() -> Any:
            yield wav("the beginning of something long")
            for _ in range(20):
                yield bytes(10_000)

        response = await client.post("/submit", content=chunks())
        assert response.status_code == 413
        assert _check_shape(response)["code"] == "payload_too_large"
        assert not [path for path in (tmp_path / "home" / "data" / "objects").rglob("*") if path.is_file()]


async def test_an_unexpected_failure_says_nothing_of_its_cause(gateway: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(gateway.services.transcriptions, "page", broken)
    async with gateway.client() as client:
        response = await client.get("/transcriptions")
    assert response.status_code == 500
    error = _check_shape(response)
    assert error["code"] == "internal_error"
    assert "secret" not in response.text


def test_every_error_of_the_tree_has_its_own_place() -> None:
    tree = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.FluxionsError)]
    assert len(tree) > 10
    for error in tree:
        assert 400 <= error.status < 600
        assert f"{error.__name__} " in (errors.__doc__ or ""), f"{error.__name__} is missing from the drawn tree"
        again = errors.error_from_response(
            error.status, {"error": {"message": "m", "code": "c", "type": error.type, "param": "p"}}
        )
        assert again.status in (error.status, 500)
        assert (again.message, again.code, again.param) == ("m", "c", "p")


@pytest.mark.parametrize("status", [404, 500, 502, 503, 504])
@pytest.mark.parametrize("body", [None, "Internal Server Error", {"detail": "no"}])
def test_what_the_proxy_says_while_the_gateway_is_away_may_be_tried_again(status: int, body: object) -> None:
    assert errors.error_from_response(status, body).retryable


def test_a_failure_of_our_own_is_not_tried_again() -> None:
    ours = {"error": {"message": "m", "code": "internal_error", "type": "server_error", "param": None}}
    assert not errors.error_from_response(500, ours).retryable


async def test_what_a_worker_sends_in_another_form_is_refused_by_name(gateway: Running) -> None:
    frames = {
        "/operator/events": [
            *(b"{", b"[]", b'{"speech": []}', b'{"speech": [["a", 1]], "words": [], "duration_secs": 1, "heard": []}'),
            b'{"speech": [], "words": [], "duration_secs": 1, "heard": [["sigh", 1]]}',
        ],
        "/operator/events/observe": [b"x", wire.pack({}), wire.pack({"offset_secs": "soon"})],
        "/operator/diarization/observe": [b"x", wire.pack({}), wire.pack({"speech": [], "offset_secs": "soon"})],
        "/operator/diarization/resolve": [wire.pack({"speakers": {}}), wire.pack({"speech": [], "speakers": {"most": 3}})],
    }
    async with gateway.client(OPERATOR_KEY) as worker:
        for path, bodies in frames.items():
            for body in bodies:
                response = await worker.post(path, content=body)
                assert response.status_code == 400, (path, body, response.text)
                assert _check_shape(response)["code"] == "bad_frame"
