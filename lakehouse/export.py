"""`fluxions export`: exports tables as Parquet. A later export writes only the rows that were added since.

    FOLDER/<table>/<version>.parquet     all files of a table together are its rows
    FOLDER/export.json                   their table versions, written last

A table only grows, except when rows are erased. The log of a table names the files that its versions added, so an
increment reads those files alone. A table is exported completely again if rows were erased since, so that the export
loses them too, or if maintenance removed the log or the files.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import unquote

import obstore
import orjson
import polars as pl

from lakehouse.storage.location import Location
from lakehouse.tables.delta_log import entry_path
from schemas.errors import InvalidParameter
from schemas.tables import table as table_named

STATE: Final = "export.json"

Kind = Literal["whole", "increment", "unchanged"]


@dataclass(frozen=True, slots=True)
class Selection:
    """The exported rows: of ``account``, None for all accounts; created at ``since`` (UTC) or later, None for all
    times.
    """

    account: str | None = None
    since: dt.datetime | None = None

    def to_json(self) -> dict[str, Any]:
        """The form in ``export.json``."""
        return {"account": self.account, "since": self.since.isoformat() if self.since else None}


@dataclass(frozen=True, slots=True)
class Exported:
    """The outcome for one table."""

    table: str
    kind: Kind
    version: int
    rows: int

    def to_json(self) -> dict[str, Any]:
        """All values by name."""
        return asdict(self)


@dataclass(slots=True)
class _State:
    selection: dict[str, Any]
    versions: dict[str, int] = field(default_factory=dict)


def export(location: Location, folder: Path, versions: Mapping[str, int], selection: Selection) -> list[Exported]:
    """Update ``folder`` to the Delta ``versions`` by table, which are of the same moment.

    Blocks. Every table is written whole or not at all. The next export continues an interrupted one. Raises
    InvalidParameter for a folder with an export of another selection, or with other files.
    """
    state = _read_state(folder, selection)
    done = []
    for name, version in sorted(versions.items()):
        done.append(_export_table(location, folder, name, state.versions.get(name), version, selection))
        state.versions[name] = version
        _write_state(folder, state)
    return done


def _export_table(
    location: Location, folder: Path, name: str, since: int | None, version: int, selection: Selection
) -> Exported:
    if since == version:
        return Exported(name, "unchanged", version, 0)
    target = folder / name
    target.mkdir(exist_ok=True)
    # An interrupted export leaves files that its state does not name.
    for path in target.iterdir():
        if since is None or path.name > _file_name(since):
            path.unlink()
    added = None if since is None or since > version else _added_files(location, name, since, version)
    if added is None:
        whole = pl.scan_delta(location.table_uri(name), version=version)
        rows = _write(target, version, whole, name, selection)
        for path in target.glob("*.parquet"):
            if path.name != _file_name(version):
                path.unlink()
        return Exported(name, "whole", version, rows)
    if not added:
        return Exported(name, "increment", version, 0)
    schema = pl.scan_delta(location.table_uri(name), version=version).collect_schema()
    # Files of an earlier version of the program lack columns, which are null in their rows.
    new = pl.scan_parquet(added, schema=schema, missing_columns="insert")
    return Exported(name, "increment", version, _write(target, version, new, name, selection))


def _added_files(location: Location, name: str, since: int, version: int) -> list[str] | None:
    """Files with the rows that versions after ``since`` up to ``version`` added; None if the log does not tell."""
    store = location.store(f"tables/{name}")
    added = []
    for number in range(since + 1, version + 1):
        try:
            entry = bytes(obstore.get(store, entry_path(number)).bytes())
        except FileNotFoundError:
            return None
        for action in map(orjson.loads, entry.splitlines()):
            # A merge moves rows between files and is marked in the log. Any other commit that removes a file erased rows.
            if action.get("remove", {}).get("dataChange"):
                return None
            if action.get("add", {}).get("dataChange"):
                added.append(unquote(action["add"]["path"]))
    if not all(_exists(store, path) for path in added):
        return None
    return [f"{location.table_uri(name)}/{path}" for path in added]


def _exists(store: Any, path: str) -> bool:
    try:
        obstore.head(store, path)
    except FileNotFoundError:
        return False
    return True


def _write(target: Path, version: int, rows: pl.LazyFrame, name: str, selection: Selection) -> int:
    """Write the selected ``rows``, in their order. Returns the number of rows."""
    for one in _conditions(name, selection):
        rows = rows.filter(one)
    path = target / _file_name(version)
    new = path.with_suffix(".new")
    rows.sink_parquet(new, compression="zstd", statistics=True)
    num_rows = int(pl.scan_parquet(new).select(pl.len()).collect().item())
    new.replace(path)
    return num_rows


def _conditions(name: str, selection: Selection) -> Sequence[pl.Expr]:
    found = []
    if selection.account is not None:
        found.append(pl.col("account") == selection.account)
    if selection.since is not None and "created_at" in table_named(name).schema.names:
        found.append(pl.col("created_at") >= selection.since)
    return found


def _file_name(version: int) -> str:
    return f"{version:020d}.parquet"


def _read_state(folder: Path, selection: Selection) -> _State:
    path = folder / STATE
    if not path.exists():
        if folder.exists() and any(folder.iterdir()):
            raise InvalidParameter(f"{folder} has other files and no {STATE}; name an empty folder", param="folder")
        folder.mkdir(parents=True, exist_ok=True)
        state = _State(selection.to_json())
        _write_state(folder, state)
        return state
    try:
        read = json.loads(path.read_text())
        state = _State(dict(read["selection"]), {name: int(version) for name, version in read["versions"].items()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidParameter(f"{path} is damaged; export into an empty folder", param="folder") from error
    if state.selection != selection.to_json():
        raise InvalidParameter(
            f"{folder} has an export of {json.dumps(state.selection)}; use the same options, or an empty folder",
            param="folder",
        )
    for name in state.versions:
        if not (folder / name).is_dir():
            raise InvalidParameter(f"{folder / name} is gone; export into an empty folder", param="folder")
    return state


def _write_state(folder: Path, state: _State) -> None:
    new = folder / f"{STATE}.new"
    new.write_text(json.dumps({"selection": state.selection, "versions": state.versions}, indent=2) + "\n")
    new.replace(folder / STATE)
