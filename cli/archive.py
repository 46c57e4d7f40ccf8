"""`fluxions archive`: transcribes many recordings, from folders, buckets, manifests, or from history."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import archive_machines
from cli.archive_tables import run_row, show_estimate, show_report, summary, where_most
from cli.options import (
    AudioTrackOption,
    HomeOption,
    JsonOption,
    KeyOption,
    KeytermOption,
    LanguageOption,
    PromptOption,
    StrictOption,
    TranslateOption,
    UrlOption,
    help_if_alone,
    load_settings,
    locate,
    recognize_options,
)
from cli.output import FAILED, note, print_json, print_table
from schemas.errors import FluxionsError

if TYPE_CHECKING:
    from clients.public import Client

BASE = "/operator/archives"

app = typer.Typer(
    callback=help_if_alone,
    invoke_without_command=True,
    help="""Transcribe archives: folders, globs, buckets, manifests, or history again with the present engines.

    \b
      fluxions archive run calls/ --dry-run        number of files, hours of audio, time and cost
      fluxions archive run calls/                  transcribe; the same command again does only what is left
      fluxions archive status                      progress of the newest run
      fluxions archive report 3                    outcome of run 3, and why files failed
      fluxions archive scheduler                   runs that use several machines of a cluster

    Needs the operator's key, stored in HOME.""",
)

app.command()(archive_machines.scheduler)
app.command()(archive_machines.worker)

IdArgument = Annotated[int, typer.Argument(metavar="ID", help="The run's number, as `fluxions archive list` shows it.")]


@app.command()
def run(
    source: Annotated[
        str | None, typer.Argument(help="Folder, glob, s3://bucket/prefix, or manifest.", show_default=False)
    ] = None,
    reprocess: Annotated[
        str | None,
        typer.Option(
            "--reprocess", metavar="WHERE", help="Transcribe again what this SQL condition selects.", show_default=False
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the estimate and do nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation before the work begins.")] = False,
    account: Annotated[
        str | None, typer.Option("--account", help="Owner of the transcriptions [default].", show_default=False)
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the run in lists [its source].", show_default=False)] = "",
    non_speech: Annotated[bool, typer.Option("--non-speech", help="Include pauses, hesitations and other sounds.")] = False,
    min_speakers: Annotated[int, typer.Option("--min-speakers", min=1, max=100, help="Smallest number of speakers.")] = 1,
    max_speakers: Annotated[
        int | None, typer.Option("--max-speakers", min=1, max=100, help="Largest number of speakers.", show_default=False)
    ] = None,
    language: LanguageOption = None,
    prompt: PromptOption = "",
    keyterm: KeytermOption = None,
    translate: TranslateOption = False,
    strict: StrictOption = False,
    audio_track: AudioTrackOption = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed files of earlier runs again.")] = False,
    include_current: Annotated[
        bool, typer.Option("--include-current", help="With --reprocess: also transcripts that the present engines made.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=256, help="Dask processes [2].", show_default=False)
    ] = None,
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Transcribe an archive. The same command again continues a run and does only what is left.

    Examples:

      fluxions archive run calls/ --dry-run

      fluxions archive run 'calls/**/*.wav' --account support --max-speakers 2

      fluxions archive run s3://bucket/calls --yes --json

      fluxions archive run calls.csv

      fluxions archive run --reprocess "where created_at < '2026-01-01' and account = 'support'"

    A manifest (.csv, .tsv, .parquet) has a column `path` or `url`, and may have `filename`, `account`, `non_speech`,
    `min_speakers`, `max_speakers`, `language`, `prompt`, `keyterms` (with `;` between them), `task`, `strict`,
    `audio_track`; its other columns are stored with each file. Files that fail do not stop the others:
    `fluxions archive report` says why, and the exit code is 1.
    """
    from cli import archive_progress
    from clients.public import Client
    from flows.archives.protocol import ArchiveRequest

    if (source is None) == (reprocess is None):
        raise typer.BadParameter("give a SOURCE, or --reprocess with a condition", param_hint="SOURCE")
    if reprocess is not None and account is not None:
        raise typer.BadParameter("write account = '…' into the condition", param_hint="--account")
    if max_speakers is not None and max_speakers < min_speakers:
        raise typer.BadParameter(f"{max_speakers} is less than --min-speakers {min_speakers}", param_hint="--max-speakers")
    recognize = recognize_options(language, prompt, keyterm, translate=translate)
    target = locate(url, key, home, worker=True)
    if workers is not None:
        os.environ["FLUXIONS_ARCHIVE_WORKERS"] = str(workers)
    request = ArchiveRequest(
        source=source if source is not None else reprocess,
        reprocess=reprocess is not None,
        account=account or "default",
        name=name,
        non_speech=non_speech,
        min_speakers=min_speakers,
        max_speakers=max_speakers,
        **asdict(recognize),
        strict=strict,
        audio_track=audio_track,
        retry_failed=retry_failed,
        include_current=include_current,
    )
    folder = load_settings(home).home
    found = archive_progress.estimate("dry-run" if dry_run else "estimate", request, target, folder)
    if dry_run:
        print_json(found) if as_json else show_estimate(found)
        return
    note(summary(found))
    if sys.stdin.isatty() and not yes and not typer.confirm("Go ahead?", err=True):
        raise typer.Exit(FAILED)
    with Client(target) as client:
        done = archive_progress.run(client, request, target, folder, found)
    _deliver(done, as_json=as_json)


@app.command("list")
def list_runs(url: UrlOption = None, key: KeyOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """All runs, newest first."""
    from clients.public import Client

    with Client(locate(url, key, home, operator=True)) as client:
        runs = client.get(BASE)["archives"]
    if as_json:
        print_json(runs)
        return
    columns = ["id", "name", "account", "status", "files", "done", "failed", "hours", "began"]
    print_table("", columns, [run_row(one) for one in runs])


@app.command()
def status(
    archive_id: Annotated[
        int | None, typer.Argument(metavar="ID", help="The run's number [the newest].", show_default=False)
    ] = None,
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the progress of a run."""
    from clients.public import Client

    with Client(locate(url, key, home, operator=True)) as client:
        found = client.get(f"{BASE}/{archive_id or _newest(client)}")
    if as_json:
        print_json(found)
        return
    counts = found["counts"]
    note(f"archive {found['id']}: {found['source']}")
    rows = [["status", found["status"]], *([["why", found["message"]]] if found["message"] else [])]
    rows += [[name.replace("_", " "), f"{value:,.6g}"] for name, value in counts.items()]
    print_table("", ["what", "value"], rows)


@app.command()
def cancel(
    archive_id: IdArgument,
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop a run. Files in progress are released within seconds, finished ones stay; `run` continues it."""
    from clients.public import Client

    with Client(locate(url, key, home, operator=True)) as client:
        found = client.post(f"{BASE}/{archive_id}/cancel", {})
    if as_json:
        print_json(found)
        return
    print(f"archive {found['id']} is {found['status']}")


@app.command()
def report(
    archive_id: IdArgument,
    files: Annotated[bool, typer.Option("--files", help="Also every file that failed or was skipped.")] = False,
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the outcome of a run: counts, hours, speed, cost, and why files failed."""
    from clients.public import Client

    with Client(locate(url, key, home, operator=True)) as client:
        found = client.get(f"{BASE}/{archive_id}/report")
        if files:
            found["files"] = [
                one for state in ("failed", "skipped") for one in _pages(client, archive_id, "files", status=state)
            ]
    if as_json:
        print_json(found)
        return
    show_report(found)
    if files:
        rows = [[f["status"], f["reason"], f["location"], f["message"]] for f in found["files"]]
        print_table("", ["status", "reason", "where", "in words"], rows)


@app.command()
def diff(
    archive_id: IdArgument,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="Files shown, most changed first.")] = 20,
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare old and new transcripts of a --reprocess: word error rate, speakers, largest differences."""
    from heapq import nlargest

    from clients.public import Client

    words = errors = total = problems = 0

    def counted(pages: Any) -> Any:
        nonlocal words, errors, total, problems
        for one in pages:
            words, errors = words + one["old_words"], errors + one["errors"]
            total, problems = total + 1, problems + (one["problem"] is not None)
            yield one

    with Client(locate(url, key, home, operator=True)) as client:
        shown = nlargest(limit, counted(_pages(client, archive_id, "diff")), key=lambda one: one["errors"])
    rate = errors / max(1, words)
    if as_json:
        totals = {"files": total, "words": words, "errors": errors, "word_error_rate": rate, "not_compared": problems}
        print_json({"archive": archive_id, **totals, "differ_most": shown})
        return
    rows = [
        [
            one["transcription_id"],
            one["filename"],
            f"{one['errors'] / max(1, one['old_words']):.3f}",
            f"{one['old_words']} → {one['new_words']}",
            f"{one['old_speakers']} → {one['new_speakers']}",
            one["problem"] or where_most(one["differences"]),
        ]
        for one in shown
    ]
    columns = ["id", "file", "word error rate", "words", "speakers", "differs most at"]
    print_table(f"{total} files, word error rate {rate:.3f} between old and new", columns, rows)


def _deliver(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        show_report(found)
    if found["archive"]["status"] != "completed" or found["archive"]["counts"]["failed"]:
        raise typer.Exit(FAILED)


def _pages(client: Client, archive_id: int, what: str, **params: Any) -> Any:
    """Every row of a paged route. A page is requested when its first row is needed."""
    after: dict[str, str] = {}
    while True:
        page = client.get(f"{BASE}/{archive_id}/{what}", **params, **after)
        yield from page["files"]
        if page["next_after"] is None:
            return
        after = {"after": page["next_after"]}


def _newest(client: Client) -> int:
    runs = client.get(BASE)["archives"]
    if not runs:
        raise FluxionsError("there is no run yet; `fluxions archive run SOURCE` makes one", code="no_archive")
    return int(runs[0]["id"])
