"""The `fluxions` command. Commands import what they need when they run, so that help and completion answer at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from cli import accounts, archive, bench, history, import_history, keys, models, say, server, sql, talk, voices
from cli.backup import backup, restore
from cli.check import check
from cli.export import export
from cli.maintain import maintain
from cli.options import help_if_alone
from cli.output import INTERRUPTED, OK, exit_code, print_error, print_usage_error
from cli.plan import plan
from cli.transcribe import transcribe
from schemas.errors import FluxionsError

app = typer.Typer(
    name="fluxions",
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="""Fluxions, a speech platform you run yourself.

    \b
    Start a server, then transcribe a recording:
      fluxions up
      fluxions transcribe interview.mp3

    \b
    More:
      fluxions transcribe talks/ -o srt -d subtitles/    subtitles for a folder
      fluxions archive run calls/ --dry-run              many recordings: folders, buckets, manifests
      fluxions say "Good morning." --play                a text as speech
      fluxions talk                                      a conversation by voice
      fluxions status                                    engines, jobs, processes
      fluxions doctor                                    problems, and their remedies
      fluxions check                                     whether stored data are complete and undamaged
      fluxions backup /mnt/backups                       all tables and recordings; `restore` restores them
      KEY=$(fluxions keys create laptop)                 a key for a client

    Results go to stdout, progress and errors to stderr; --json makes both JSON. Exit codes: 0 done, 1 the work failed,
    2 wrong usage, 3 server unreachable or not ready, 4 not authorised, 130 Ctrl-C.""",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"fluxions {version('fluxions')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """The command without a subcommand: prints its help."""
    help_if_alone(context)


app.command()(server.up)
app.command()(server.join)
app.command()(server.down)
app.command()(server.redeploy)
app.command()(server.status)
app.command()(server.doctor)
app.command()(transcribe)
app.command()(history.history)
app.command()(history.search)
app.command()(sql.sql)
app.command()(maintain)
app.command()(check)
app.command()(backup)
app.command()(restore)
app.command()(export)
app.command()(plan)
app.command("import")(import_history.import_history)
app.command()(say.say)
app.command()(talk.talk)
app.add_typer(archive.app, name="archive")
app.add_typer(voices.app, name="voices")
app.add_typer(models.app, name="models")
app.add_typer(keys.app, name="keys")
app.add_typer(accounts.app, name="accounts")
app.add_typer(bench.app, name="bench")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code; every expected error is one line on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        # Outside standalone mode Typer hands errors and exit codes to us instead of ending the process.
        code = typer.main.get_command(app).main(given, prog_name="fluxions", standalone_mode=False)
    except FluxionsError as error:
        print_error(error, as_json="--json" in given)
        return exit_code(error)
    except typer.TyperException as error:
        print_usage_error(error.format_message(), as_json="--json" in given)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of the pipe has closed its end (`| head`). That is no error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return code if isinstance(code, int) else OK


if __name__ == "__main__":
    sys.exit(main())
