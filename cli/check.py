"""`fluxions check`: reads everything that is stored, reports damage, and repairs what can be repaired."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import HomeOption, JsonOption, load_settings
from cli.output import FAILED, note, print_json, print_table
from cli.stored_state import ledger_stats, stored_versions

if TYPE_CHECKING:
    from lakehouse.check.findings import Finding
    from schemas.settings import Settings


def check(
    everything: Annotated[
        bool, typer.Option("--all", help="Compare the contents of all objects with their digests [one in 20].")
    ] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what can be repaired.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check tables, objects, digests, indexes, leases and scratch folders of HOME, while the server runs or not.

    The exit code is 1 if any damage is left. Damage that cannot be repaired needs `fluxions restore`.
    """
    settings = load_settings(home)
    found = asyncio.run(_checked(settings, 1.0 if everything else 0.05, mend=repair))
    left = [finding for finding, mended in found if not mended]
    if as_json:
        print_json({"findings": [{**asdict(finding), "mended": mended} for finding, mended in found], "left": len(left)})
    elif found:
        rows = [[one.kind.value, one.where, "mended" if mended else one.sentence] for one, mended in found]
        print_table(f"{len(found)} found, {len(left)} left", ["kind", "where", "what"], rows)
    else:
        note("nothing is wrong")
    if left:
        raise typer.Exit(FAILED)


async def _checked(settings: Settings, share: float, *, mend: bool) -> list[tuple[Finding, bool]]:
    from lakehouse.check.check import check as check_stored
    from lakehouse.check.findings import Finding, Kind
    from lakehouse.check.index_checks import check_indexes, remove_index
    from lakehouse.check.repair import repair
    from lakehouse.storage.derived_files import derived_folder
    from lakehouse.storage.location import Location
    from lakehouse.storage.objects import Objects
    from runtime.scratch import KINDS, abandoned, remove_abandoned

    location = Location.of(settings)
    objects, stats = Objects(location), await asyncio.to_thread(ledger_stats, settings)
    found: list[tuple[Finding, bool]] = []
    if stats and stats["unleased"]:
        said = f"{stats['unleased']} jobs are being processed without a lease"
        found.append((Finding(Kind.WRONG_LEASE, "ledger", said), False))
    versions = dict(stats["tables"]) if stats else await stored_versions(location)
    async for finding in check_stored(location, versions, share):
        # While the ledger runs, only the ledger may remove orphans: `fluxions maintain orphans`.
        may_mend = mend and not (stats and finding.kind is Kind.ORPHANED_OBJECT)
        found.append((finding, may_mend and await repair(location, objects, finding)))
    indexes = await asyncio.to_thread(lambda: list(check_indexes(derived_folder(settings.home), share)))
    found += [(finding, mend and remove_index(finding)) for finding in indexes]
    for kind in KINDS:
        for folder in remove_abandoned(settings.scratch, kind) if mend else abandoned(settings.scratch, kind):
            abandoned_by = "its process has ended"
            found.append((Finding(Kind.ABANDONED_SCRATCH, str(folder), abandoned_by), mend))
    return found
