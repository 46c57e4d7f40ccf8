"""The format of a storage root: a number in ``tables/format.json`` that identifies the meaning of its tables.

A program opens data of its own format, and data of earlier formats after migrating them forward, one format at a time. It
refuses data of a later format, because it would read them wrongly. New nullable columns need no new format
(`lakehouse.tables.delta_writer` adds them). Any other change does: a renamed column, another meaning, another layout of
objects.
"""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import obstore
import orjson

from lakehouse.storage.fsync import fsync_with_parents
from lakehouse.storage.location import Location
from schemas.errors import Conflict

FORMAT: Final = 1
"""The format that this program reads and writes."""
PATH: Final = "tables/format.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Migration:
    """A step to format ``to`` from the one before.

    ``carry_out`` blocks, while the writer's lock is held and no table is open. After a kill at any point it is carried
    out again from its beginning, so it must bring every intermediate state to the same result.
    """

    to: int
    what: str
    carry_out: Callable[[Location], None]


MIGRATIONS: Final[tuple[Migration, ...]] = ()
"""In order of ``to``, without gaps. Data without a number have format 0, which differs from format 1 only in the missing
number.
"""


def read_format(location: Location) -> int:
    """The format of the data at a location; 0 if it has no number. Blocks."""
    return int(_read(location).get("format", 0))


def write_format(location: Location, number: int, *, is_restoring: bool = False) -> None:
    """Record the format of the data, durably. ``is_restoring``: tables are still missing. Blocks."""
    said = {"format": number, "written_by": importlib.metadata.version("fluxions")}
    if is_restoring:
        said["is_restoring"] = True
    obstore.put(location.store(), PATH, orjson.dumps(said))
    if location.fsync:
        fsync_with_parents(Path(location.root) / PATH, Path(location.root))


def is_restoring(location: Location) -> bool:
    """Whether a restore was begun there and has not ended, so that no ledger may open the tables. Blocks."""
    return bool(_read(location).get("is_restoring"))


def check_readable(number: int, root: str, written_by: str = "a later version") -> None:
    """Raises Conflict(code="newer_format") for a format that this program does not know."""
    if number > FORMAT:
        own = importlib.metadata.version("fluxions")
        raise Conflict(
            f"the data at {root} has format {number}, written by Fluxions {written_by}; this is Fluxions {own}, which "
            f"reads formats up to {FORMAT}: run the version that wrote it, or restore a backup from before the upgrade",
            code="newer_format",
        )


def migrate(location: Location) -> None:
    """Bring the data at a location to this program's format. Blocks; the writer's lock must be held.

    Raises Conflict(code="newer_format"), and Conflict(code="unfinished_restore") for data of which a part is missing.
    """
    said = _read(location)
    found = int(said.get("format", 0))
    check_readable(found, location.root, str(said.get("written_by", "a later version")))
    if said.get("is_restoring"):
        raise Conflict(
            f"a restore to {location.root} was begun and has not ended: repeat `fluxions restore`",
            code="unfinished_restore",
        )
    for step in MIGRATIONS:
        if step.to > max(found, 1):
            log.warning("the data at %s is brought to format %d: %s", location.root, step.to, step.what)
            step.carry_out(location)
            write_format(location, step.to)
    if found < FORMAT:
        write_format(location, FORMAT)


def _read(location: Location) -> dict[str, Any]:
    try:
        return dict(orjson.loads(bytes(obstore.get(location.store(), PATH).bytes())))
    except FileNotFoundError:
        return {}
