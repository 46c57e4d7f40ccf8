"""`fluxions backup` and `fluxions restore`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import HomeOption, JsonOption, load_settings
from cli.output import FAILED, note, print_json
from cli.stored_state import table_versions

if TYPE_CHECKING:
    from lakehouse.backup.backup import BackupTarget
    from lakehouse.backup.backup_manifest import Manifest
    from schemas.settings import Settings

_TargetArgument = Annotated[str, typer.Argument(help="Folder or URL (s3://bucket/prefix) of backups.")]


def backup(
    target: _TargetArgument,
    keep: Annotated[
        int | None,
        typer.Option("--keep", min=1, help="Number of older backups to keep; the others are removed [all are kept]."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read back and compare all files in the target, also those of earlier backups.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Back up all tables and objects of HOME, while the server runs or not. Only what is new is copied.

    Keys and the secret of HOME are not in a backup: keep `HOME/keys` and `HOME/secret` elsewhere. The exit code is 1 if a
    recording in HOME or a file in the target is damaged.
    """
    settings = load_settings(home)
    report = asyncio.run(_backed_up(settings, target, keep, verify=verify))
    if as_json:
        print_json(report)
    else:
        note(
            f"{report['name']}: {report['files']} files, {report['bytes'] / 1e6:.1f} MB, of which "
            f"{report['copied_bytes'] / 1e6:.1f} MB are new"
        )
        for what in ("damaged", "missing", "wrong"):
            for path in report[what]:
                note(f"{what}: {path}")
    if report["damaged"] or report["wrong"]:
        raise typer.Exit(FAILED)


def restore(
    source: _TargetArgument,
    at: Annotated[str | None, typer.Option("--at", help="Name of a backup [the newest].")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a backup into a HOME without tables. Every file is compared with its digest."""
    settings = load_settings(home)
    manifest = asyncio.run(_restored(settings, source, at))
    if as_json:
        print_json({"name": manifest.name, "files": len(manifest.entries), "bytes": manifest.size_bytes})
    else:
        note(f"{manifest.name}: {len(manifest.entries)} files, {manifest.size_bytes / 1e6:.1f} MB are restored")


async def _backed_up(settings: Settings, target: str, keep: int | None, *, verify: bool) -> dict[str, Any]:
    from lakehouse.backup.backup import back_up
    from lakehouse.storage.location import Location

    source, kept = Location.of(settings), _target(target, settings)
    manifest, copied = await back_up(source, kept, await table_versions(settings, source))
    return {
        "name": manifest.name,
        "files": len(manifest.entries),
        "bytes": manifest.size_bytes,
        "copied_bytes": copied,
        "missing": list(manifest.missing),
        "damaged": list(manifest.damaged),
        "wrong": await kept.verify(manifest) if verify else [],
        "removed_backups": await kept.prune(keep) if keep is not None else 0,
    }


async def _restored(settings: Settings, source: str, at: str | None) -> Manifest:
    from lakehouse.backup.restore import restore as restore_files
    from lakehouse.storage.location import Location

    kept = _target(source, settings)
    manifest = await kept.manifest(at)
    await restore_files(kept, manifest, Location.of(settings))
    return manifest


def _target(text: str, settings: Settings) -> BackupTarget:
    from lakehouse.backup.backup import BackupTarget
    from lakehouse.storage.location import Location

    root = text.rstrip("/") if "://" in text else str(Path(text).expanduser().resolve())
    return BackupTarget(Location(root, settings.storage.fsync and "://" not in root))
