"""An account's history as tables, by the Delta Sharing protocol: only its own rows, and none that were deleted."""

from __future__ import annotations

import datetime as dt
import io
import json
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from lakehouse.maintenance.merge import MergePolicy
from lakehouse.shared_files import FOLDER, SHARED_TABLES, SharedFiles
from lakehouse.sql import query
from lakehouse.storage.location import Location
from schemas.errors import Unavailable
from schemas.settings import Settings
from tests.contract.filled_history import conversation, fill, render, transcribed
from tests.contract.gateway import OPERATOR_KEY, OTHER_KEY, Running
from tests.support.lakehouse_kit import until_projected

pytestmark = pytest.mark.contract

TABLES = "/delta-sharing/shares/fluxions/schemas/history/tables"
MANY = MergePolicy().min_tail_files


async def lines(client: httpx.AsyncClient, table: str) -> list[dict[str, Any]]:
    answer = await client.post(f"{TABLES}/{table}/query", json={"predicateHints": ["id > 3"], "limitHint": 1})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson; charset=utf-8"
    assert int(answer.headers["delta-table-version"]) >= 0
    return [json.loads(line) for line in answer.text.splitlines()]


async def read(client: httpx.AsyncClient, table: str) -> pl.DataFrame:
    """The rows as a client reads them: from the links, without a key."""
    protocol, metadata, *files = await lines(client, table)
    assert protocol == {"protocol": {"minReaderVersion": 1}}
    columns = [field["name"] for field in json.loads(metadata["metaData"]["schemaString"])["fields"]]
    frames = [pl.DataFrame(schema=dict.fromkeys(columns, pl.Null))]
    for file in (line["file"] for line in files):
        answer = await client.get(file["url"], headers={"Authorization": ""})
        assert answer.status_code == 200
        assert len(answer.content) == file["size"]
        frames.append(pl.read_parquet(io.BytesIO(answer.content)).select(columns))
    return pl.concat([frame for frame in frames if frame.height] or frames[:1])


def stored(settings: Settings, table: str, account: str) -> pl.DataFrame:
    return query(Location.of(settings), f"select * from {table}", account)


def shared_objects(gateway: Running, account: str) -> list[Path]:
    folder = Path(gateway.services.settings.storage_url, "objects", FOLDER, account)
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.exists() else []


async def test_names_are_listed_in_pages(client: httpx.AsyncClient) -> None:
    assert (await client.get("/delta-sharing/shares")).json() == {"items": [{"name": "fluxions"}]}
    assert (await client.get("/delta-sharing/shares/FLUXIONS")).json() == {"share": {"name": "fluxions"}}
    schemas = (await client.get("/delta-sharing/shares/fluxions/schemas")).json()
    assert schemas == {"items": [{"name": "history", "share": "fluxions"}]}
    first = (await client.get(TABLES, params={"maxResults": 4})).json()
    assert first["items"][0] == {"name": "transcriptions", "schema": "history", "share": "fluxions"}
    second = (await client.get(TABLES, params={"pageToken": first["nextPageToken"]})).json()
    assert "nextPageToken" not in second
    assert tuple(one["name"] for one in first["items"] + second["items"]) == SHARED_TABLES
    everything = (await client.get("/delta-sharing/shares/fluxions/all-tables")).json()
    assert everything["items"] == first["items"] + second["items"]


async def test_a_client_reads_its_own_rows_and_no_others(gateway: Running, client: httpx.AsyncClient) -> None:
    await fill(gateway)
    await transcribed(gateway, "another account's", account="other")
    await gateway.ledger.records.add_renders([render(9, account="other")])
    await until_projected(gateway.ledger)
    settings = gateway.services.settings
    async with gateway.client(f"Bearer {OTHER_KEY}") as other:
        for table in SHARED_TABLES:
            for reader, account in ((client, "default"), (other, "other")):
                found, wanted = await read(reader, table), stored(settings, table, account)
                assert found.height == wanted.height, (table, account)
                assert found.select(wanted.columns).sort("id").equals(wanted.sort("id")), (table, account)
                assert set(found["account"]) <= {account}
        assert (await read(other, "tts_renders")).height == 1
        ids = [(await lines(reader, "turns"))[1]["metaData"]["id"] for reader in (client, other)]
        assert ids[0] != ids[1]


async def test_files_keep_their_names_and_are_written_once(gateway: Running, client: httpx.AsyncClient) -> None:
    for hour in range(MANY):
        await gateway.ledger.records.add_renders([render(hour), render(hour, account="other")])
    first = [line["file"]["id"] for line in (await lines(client, "tts_renders"))[2:]]
    written = {path: path.stat().st_mtime_ns for path in shared_objects(gateway, "default")}
    assert [line["file"]["id"] for line in (await lines(client, "tts_renders"))[2:]] == first
    assert {path: path.stat().st_mtime_ns for path in shared_objects(gateway, "default")} == written
    await gateway.ledger.maintenance.run("merge", 60)
    merged = [line["file"]["id"] for line in (await lines(client, "tts_renders"))[2:]]
    assert merged != first
    assert (await read(client, "tts_renders")).height == MANY
    await gateway.ledger.records.add_renders([render(MANY)])
    assert [line["file"]["id"] for line in (await lines(client, "tts_renders"))[2:]][: len(merged)] == merged
    assert (await read(client, "tts_renders")).height == MANY + 1


async def test_deletions_erase_the_files(gateway: Running, client: httpx.AsyncClient) -> None:
    job = await transcribed(gateway, "first")
    await transcribed(gateway, "second")
    await gateway.ledger.records.add_renders([render(1), render(2)])
    await gateway.ledger.records.add_conversation(*conversation("sess_abc", 0.5))
    await until_projected(gateway.ledger)

    async def all_tables() -> dict[str, int]:
        return {table: (await read(client, table)).height for table in SHARED_TABLES}

    before = await all_tables()
    assert (before["transcriptions"], before["tts_renders"], before["conversations"]) == (2, 2, 1)
    render_id = (await read(client, "tts_renders"))["id"][0]
    for path in (f"/transcriptions/{job.id}", f"/history/tts/{render_id}", "/history/conversations/sess_abc"):
        assert len(shared_objects(gateway, "default")) >= 1
        assert (await client.delete(path)).status_code == 200
        await until_projected(gateway.ledger)
        assert shared_objects(gateway, "default") == [], path
        after = await all_tables()
        assert after != before
        before = after
    assert (before["transcriptions"], before["tts_renders"], before["conversations"]) == (1, 1, 0)
    assert before["turns"] == 0


async def test_the_deletion_of_an_account_erases_its_files(gateway: Running) -> None:
    await gateway.ledger.records.add_renders([render(1, account="other"), render(2)])
    async with gateway.client(OTHER_KEY) as other, gateway.client(OPERATOR_KEY) as operator:
        assert (await read(other, "tts_renders")).height == 1
        assert len(shared_objects(gateway, "other")) == 1
        assert (await operator.delete("/operator/accounts/other")).status_code == 200
        assert shared_objects(gateway, "other") == []


async def test_a_file_that_is_written_during_a_deletion_is_removed(
    gateway: Running, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateway.ledger.records.add_renders([render(1), render(2)])
    services, deleted = gateway.services, list[int]()
    put = services.objects.put_bytes

    async def put_late(key: str, data: bytes) -> None:
        """As a slow gateway does: the rows are read before a deletion, and the file is written after it."""
        if key.startswith(FOLDER) and not deleted:
            deleted.append(pl.read_parquet(io.BytesIO(data))["id"][0])
            assert (await client.delete(f"/history/tts/{deleted[0]}")).status_code == 200
        await put(key, data)

    monkeypatch.setattr(services.objects, "put_bytes", put_late)
    found = await read(client, "tts_renders")
    assert found.height == 1
    assert deleted[0] not in found["id"].to_list()
    for path in shared_objects(gateway, "default"):
        assert deleted[0] not in pl.read_parquet(path)["id"].to_list()


async def test_a_table_that_keeps_changing_is_given_up(gateway: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    await gateway.ledger.records.add_renders([render(1)])
    services = gateway.services

    async def changed(self: SharedFiles, account: str, name: str, written: object) -> bool:
        async for key, _ in services.objects.list(FOLDER):
            await services.objects.delete(key)
        return False

    monkeypatch.setattr(SharedFiles, "_still_valid", changed)
    with pytest.raises(Unavailable, match="changes too often"):
        await services.shared_files.files("default", "tts_renders")


async def test_old_files_are_renewed_before_maintenance_removes_them(gateway: Running) -> None:
    await gateway.ledger.records.add_renders([render(1)])
    services = gateway.services
    _, (file,) = await services.shared_files.files("default", "tts_renders")
    (path,) = shared_objects(gateway, "default")
    written = path.stat().st_mtime_ns
    at_once = SharedFiles(Location.of(services.settings), services.objects, dt.timedelta(0))
    assert (await at_once.files("default", "tts_renders"))[1] == [file]
    assert path.stat().st_mtime_ns > written


async def test_refusals(client: httpx.AsyncClient, gateway: Running) -> None:
    for path, param in (
        ("/delta-sharing/shares/mine", "share"),
        ("/delta-sharing/shares/fluxions/schemas/secrets/tables", "schema"),
        (f"{TABLES}/api_keys/version", "table"),
        (f"{TABLES}/job_events/metadata", "table"),
    ):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["error"]["param"]) == (404, param), path
    for body, param in (({"version": 1}, "version"), ({"startingVersion": 0}, "startingVersion")):
        answer = await client.post(f"{TABLES}/turns/query", json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (422, param)
    for page in ("x", "²", "9" * 19):
        answer = await client.get("/delta-sharing/shares", params={"pageToken": page})
        assert (answer.status_code, answer.json()["error"]["param"]) == (422, "pageToken")
    await gateway.ledger.keys.create("default", "speaks", ("speak",), "fx_key_that_may_only_speak")
    async with gateway.client("fx_key_that_may_only_speak") as speaks, gateway.client(None) as nobody:
        assert (await speaks.post(f"{TABLES}/turns/query", json={})).status_code == 403
        assert (await nobody.get("/delta-sharing/shares")).status_code == 401


async def test_a_link_is_for_one_file_and_one_account(gateway: Running, client: httpx.AsyncClient) -> None:
    await gateway.ledger.records.add_renders([render(1), render(2, account="other")])
    async with gateway.client(OTHER_KEY) as other:
        own, foreign = [(await lines(reader, "tts_renders"))[2]["file"] for reader in (client, other)]
    assert f"/{FOLDER}/other/" in foreign["url"]
    forged = own["url"].replace(f"/{FOLDER}/default/", f"/{FOLDER}/other/")
    assert (await client.get(forged)).status_code == 403
