"""`/delta-sharing`: an account's history as tables for analysts, by the Delta Sharing protocol. Read-only.

Every account has one share, `fluxions`, with one schema, `history`. Links to files are signed and expire.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, TypeVar

import orjson
from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import Response

from lakehouse.shared_files import SHARED_TABLES, SharedFile, SharedTable
from schemas.api.sharing import OneShare, SchemaBody, SchemaPage, ShareBody, SharePage, TableBody, TablePage, TableQuery
from schemas.errors import InvalidParameter, NotFound
from serve.gateway.auth import User
from serve.gateway.dependencies import Services, services

SHARE: Final = "fluxions"
SCHEMA: Final = "history"
_LINES: Final = "application/x-ndjson; charset=utf-8"

T = TypeVar("T")
_Services = Annotated[Services, Depends(services)]
_Share = Annotated[str, Path(max_length=100, description="Name of the share, in any case.")]
_Schema = Annotated[str, Path(max_length=100, description="Name of the schema, in any case.")]
_Table = Annotated[str, Path(max_length=100, description="Name of the table, in any case.")]
_Most = Annotated[int | None, Query(alias="maxResults", ge=0, le=1000, description="Most items of the page.")]
_Page = Annotated[
    str | None, Query(alias="pageToken", pattern="^[0-9]{0,18}$", description="`nextPageToken` of the page before.")
]

router = APIRouter(prefix="/delta-sharing", tags=["history"])


@router.get("/shares", response_model_exclude_none=True)
async def list_shares(_: User, most: _Most = None, page: _Page = None) -> SharePage:
    """The share of this account."""
    items, following = _paged([ShareBody(name=SHARE)], most, page)
    return SharePage(items=items, nextPageToken=following)


@router.get("/shares/{share}")
async def get_share(share: _Share, _: User) -> OneShare:
    """One share."""
    _known(share, SHARE, "share")
    return OneShare(share=ShareBody(name=SHARE))


@router.get("/shares/{share}/schemas", response_model_exclude_none=True)
async def list_schemas(share: _Share, _: User, most: _Most = None, page: _Page = None) -> SchemaPage:
    """The schema of a share."""
    _known(share, SHARE, "share")
    items, following = _paged([SchemaBody(name=SCHEMA, share=SHARE)], most, page)
    return SchemaPage(items=items, nextPageToken=following)


@router.get("/shares/{share}/all-tables", response_model_exclude_none=True)
async def list_all_tables(share: _Share, _: User, most: _Most = None, page: _Page = None) -> TablePage:
    """All tables of a share."""
    _known(share, SHARE, "share")
    return _tables(most, page)


@router.get("/shares/{share}/schemas/{schema}/tables", response_model_exclude_none=True)
async def list_tables(share: _Share, schema: _Schema, _: User, most: _Most = None, page: _Page = None) -> TablePage:
    """The tables of a schema."""
    _known(share, SHARE, "share")
    _known(schema, SCHEMA, "schema")
    return _tables(most, page)


@router.get("/shares/{share}/schemas/{schema}/tables/{table}/version")
async def table_version(share: _Share, schema: _Schema, table: _Table, user: User, s: _Services) -> Response:
    """The newest version of a table, in the header `Delta-Table-Version`. The body is empty."""
    found = await s.shared_files.table(user.account, _named(share, schema, table))
    return Response(headers=_version(found))


@router.get("/shares/{share}/schemas/{schema}/tables/{table}/metadata")
async def table_metadata(share: _Share, schema: _Schema, table: _Table, user: User, s: _Services) -> Response:
    """The columns of a table, as two lines of JSON."""
    found = await s.shared_files.table(user.account, _named(share, schema, table))
    return _lines(found, _metadata(found))


@router.post("/shares/{share}/schemas/{schema}/tables/{table}/query")
async def query_table(
    share: _Share, schema: _Schema, table: _Table, user: User, s: _Services, body: TableQuery | None = None
) -> Response:
    """Links to Parquet files that hold this account's rows of a table, and nothing else."""
    for name, value in (body or TableQuery()).model_dump().items():
        if value is not None:
            raise InvalidParameter(f"{name}: only the newest version of a table is shared", param=name)
    found, files = await s.shared_files.files(user.account, _named(share, schema, table))
    return _lines(found, _metadata(found), *[await _file(s, one) for one in files])


def _known(given: str, name: str, what: str) -> None:
    if given.lower() != name:
        raise NotFound(f"there is no {what} {given[:60]!r}; there is {name}", param=what)


def _named(share: str, schema: str, table: str) -> str:
    """The table's name. Raises NotFound."""
    _known(share, SHARE, "share")
    _known(schema, SCHEMA, "schema")
    if table.lower() not in SHARED_TABLES:
        raise NotFound(f"there is no table {table[:60]!r}; there are {', '.join(SHARED_TABLES)}", param="table")
    return table.lower()


def _tables(most: int | None, page: str | None) -> TablePage:
    items, following = _paged([TableBody(name=name, schema=SCHEMA, share=SHARE) for name in SHARED_TABLES], most, page)
    return TablePage(items=items, nextPageToken=following)


def _paged(items: Sequence[T], most: int | None, page: str | None) -> tuple[list[T], str | None]:
    """A page of ``items`` and the token of the next one. A token is the number of items before its page."""
    first = int(page) if page else 0
    end = len(items) if most is None else first + most
    return list(items[first:end]), str(end) if end < len(items) else None


def _version(found: SharedTable) -> dict[str, str]:
    return {"Delta-Table-Version": str(found.version)}


def _metadata(found: SharedTable) -> Mapping[str, Any]:
    return {
        "metaData": {
            "id": found.id,
            "name": found.name,
            "format": {"provider": "parquet"},
            "schemaString": found.schema,
            "partitionColumns": [],
            "configuration": {},
        }
    }


async def _file(s: Services, one: SharedFile) -> Mapping[str, Any]:
    url = await s.signed_url(one.key, f"{one.name}.parquet")
    return {"file": {"url": url, "id": one.name, "partitionValues": {}, "size": one.size_bytes}}


def _lines(found: SharedTable, *objects: Mapping[str, Any]) -> Response:
    lines = [{"protocol": {"minReaderVersion": 1}}, *objects]
    return Response(b"".join(orjson.dumps(line) + b"\n" for line in lines), media_type=_LINES, headers=_version(found))
