"""The keys that every home has: what each may do, who uses which, and a start after one was revoked."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.options import locate
from clients.connection import worker_key_file
from lakehouse.ledger.ledger import Ledger
from schemas.scopes import USER_SCOPES, granted
from serve import built_in_keys
from serve.supervisor import supervisor
from serve.supervisor.instance import Instance, ensure_key
from tests.support.lakehouse_kit import home

pytestmark = pytest.mark.security

NAMES = ("default", "operator", "admin", "node")


async def test_a_revoked_key_of_the_home_stops_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = home(tmp_path)
    ledger = await Ledger.open(settings)
    monkeypatch.setattr(built_in_keys, "remote_ledger", lambda: ledger)
    try:
        await built_in_keys.ensure_keys(settings)
        made = {key.name: key for key in await ledger.keys.all()}
        assert {name: set(granted(key.scopes)) for name, key in made.items()} == {
            "default": {"user", *USER_SCOPES},
            "operator": {"operator", "admin", "user", *USER_SCOPES},
            "admin": {"admin"},
            "node": {"operator"},
        }
        for key in made.values():
            await ledger.keys.revoke(key.id)
        await built_in_keys.ensure_keys(settings)
        assert [key.revoked_at is None for key in await ledger.keys.all()] == [False] * len(NAMES)
    finally:
        await ledger.close()
    assert caplog.text.count("was revoked; replace the file") == len(NAMES)
    assert not [name for name in NAMES if ensure_key(settings.home, name) in caplog.text]


def test_workers_use_the_key_that_manages_no_keys(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    assert worker_key_file(tmp_path).name == "node"
    (tmp_path / "keys" / "operator").write_text("fx_of_an_earlier_version")
    assert worker_key_file(tmp_path).name == "operator"
    (tmp_path / "keys" / "node").write_text("fx_node")
    assert worker_key_file(tmp_path).name == "node"


def test_a_command_passes_no_more_on_than_its_processes_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        ensure_key(tmp_path, name, f"fx_{name}")
    running = Instance(1, "http://127.0.0.1:8000", str(tmp_path), "", {}, "")
    monkeypatch.setattr(supervisor, "instance", lambda _: running)
    monkeypatch.delenv("FLUXIONS_URL", raising=False)
    monkeypatch.delenv("FLUXIONS_API_KEY", raising=False)
    assert locate(None, None, tmp_path, worker=True).key == "fx_node"
    assert locate(None, None, tmp_path, operator=True).key == "fx_operator"
    assert locate(None, None, tmp_path, admin=True).key == "fx_admin"
    assert locate(None, None, tmp_path).key == "fx_default"
    (tmp_path / "keys" / "operator").unlink()  # as on a machine that joined a cluster
    assert locate(None, None, tmp_path, operator=True).key == "fx_node"
    assert locate("http://127.0.0.1:9", None, tmp_path, worker=True).key == "", "a key of the home leaves its server"
