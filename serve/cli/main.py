"""The `fluxions` command. Commands import what they need when they run, so that help and completion answer at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from schemas.errors import FluxionsError
from serve.cli import archive, bench, history, importing, instance, keys, models, say, sql, voices
from serve.cli.maintain import maintain
from serve.cli.options import help_if_alone
from serve.cli.output import INTERRUPTED, OK, exit_code, print_error, print_usage_error
from serve.cli.transcribe import transcribe

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
      fluxions status                                    engines, jobs, processes
      fluxions doctor                                    what is wrong, and what to do
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
    help_if_alone(context)


app.command()(instance.up)
app.command()(instance.down)
app.command()(instance.status)
app.command()(instance.doctor)
app.command()(transcribe)
app.command()(history.history)
app.command()(history.search)
app.command()(sql.sql)
app.command()(maintain)
app.command("import")(importing.import_history)
app.command()(say.say)
app.add_typer(archive.app, name="archive")
app.add_typer(voices.app, name="voices")
app.add_typer(models.app, name="models")
app.add_typer(keys.app, name="keys")
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
        # The reader of a pipe has left (`| head`): nothing more can be said, and nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return code if isinstance(code, int) else OK


if __name__ == "__main__":
    sys.exit(main())
