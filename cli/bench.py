"""`fluxions bench`: measures a running server from outside, and single parts without a server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli import bench_parts
from cli.bench_output import print_measures
from cli.options import HomeOption, JsonOption, KeyOption, UrlOption, help_if_alone, load_settings, locate
from cli.output import FAILED, note

if TYPE_CHECKING:
    import psutil

    from clients.public import Target

app = typer.Typer(
    callback=help_if_alone,
    invoke_without_command=True,
    help="Measure a running server, or single parts without a server.",
)
for _part in bench_parts.COMMANDS:
    app.command()(_part)


@app.command()
def submit(
    clients: Annotated[int, typer.Option(min=1, max=1024, help="Connections that submit at once.")] = 32,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to submit, s.")] = 10.0,
    size: Annotated[int, typer.Option(min=1024, help="Size of each recording, bytes.")] = 100_000,
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Submit many different recordings: acknowledged submits a second, and how long one acknowledgement takes.

    Every body is different noise under a valid WAV header, so nothing comes from a cache.
    The server will transcribe all of them: use a separate home.
    """
    from benchmarks.platform.submit import measure

    load = measure(locate(url, key, home), clients=clients, seconds=seconds, size_bytes=size)
    print_measures(f"{clients} clients, {seconds:g} s, {size} bytes each", load.measures(), as_json=as_json)
    if load.errors:
        note(f"{sum(load.errors.values())} submits failed: {dict(load.errors)}")
        raise typer.Exit(FAILED)


@app.command()
def transcribe(
    recording: Annotated[
        Path | None,
        typer.Argument(help="Long recording for the last measure [rendered speech].", exists=True, dir_okay=False),
    ] = None,
    long_secs: Annotated[float, typer.Option(min=20, help="Length of the rendered long recording, s.")] = 600.0,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Repetitions of each measure, interleaved.")] = 3,
    processes: Annotated[
        int,
        typer.Option(min=1, max=256, help="Number of bare processes to compare with; best the number of cores."),
    ] = 2,
    versus: Annotated[
        Literal["faster-whisper"] | None,
        typer.Option("--versus", help="Also time this package's own pipeline on the long file.", show_default=False),
    ] = None,
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the platform's own cost: around a short file, on a cache hit, and on a long file.

    The measure on a long file compares the server with processes on this machine that only run the server's recogniser on
    the same windows, and then all that its engines do for the file. The results are the platform's speed as a share of the
    speed of those processes. With --versus, another package's own pipeline transcribes the same file in the same rounds,
    with the same model files and threads.
    """
    from benchmarks.platform.transcribe import measure

    settings = load_settings(home)
    found = measure(
        locate(url, key, home),
        settings,
        note,
        recording=recording,
        long_secs=long_secs,
        rounds=rounds,
        processes=processes,
        versus=versus,
    )
    print_measures(f"{rounds} rounds", found, as_json=as_json)


@app.command()
def reads(
    rounds: Annotated[int, typer.Option(min=1, max=10_000, help="Repetitions of each read.")] = 100,
    query: Annotated[str, typer.Option(help="Words to search for.")] = "morning",
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure history through the whole gateway of a running server: get, pages, filters, feed and search."""
    from benchmarks.platform.reads import measure

    print_measures(f"{rounds} rounds", measure(locate(url, key, home), rounds, query), as_json=as_json)


@app.command()
def studio(
    words: Annotated[int, typer.Option(min=1000, max=1_000_000, help="Words of the transcript.")] = 100_000,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Fresh pages that open it.")] = 5,
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the studio in Chromium: the delay until a long transcript is shown, and how evenly it scrolls.

    The key needs the scopes operator and admin: a transcript is imported into an account of its own, which is deleted
    afterwards. Needs Debian's `chromium`, and Playwright for Python.
    """
    from benchmarks.platform.studio_page import measure

    print_measures(
        f"{words} words, {rounds} rounds", measure(locate(url, key, home), words=words, rounds=rounds), as_json=as_json
    )


@app.command()
def tts(
    voice: Annotated[str, typer.Option("--voice", help="Voice that speaks.")] = "maeve",
    renders: Annotated[int, typer.Option(min=4, max=10_000, help="Renders of each kind.")] = 100,
    memory_renders: Annotated[int, typer.Option(min=0, help="Renders over which memory is watched; 0 for none.")] = 1000,
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure synthesis: time to the first audible byte of 1 and 8 streams and of verified ones, speed, gaps, server
    memory.
    """
    from benchmarks.platform.tts import measure, memory_of
    from serve.supervisor.supervisor import instance

    target = locate(url, key, home)
    running = instance(load_settings(home).home)
    memory = memory_of(running.marker) if running is not None and running.url == target.url else None
    found = measure(target, note, voice=voice, renders=renders, memory_renders=memory_renders, memory=memory)
    print_measures(f"{renders} renders of each kind", found, as_json=as_json)


@app.command()
def live(
    streams: Annotated[int, typer.Option(min=1, max=1000, help="Streams at once.")] = 1,
    utterances: Annotated[int, typer.Option(min=1, max=1000, help="Utterances of each.")] = 8,
    smart_turn: Annotated[
        bool, typer.Option("--smart-turn", help="Also use the end-of-turn model to end utterances.")
    ] = False,
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure live transcription: delay of partial and final results, and how often stable words change."""
    from benchmarks.platform.live import measure

    found = measure(locate(url, key, home), streams=streams, utterances=utterances, smart_turn=smart_turn)
    print_measures(f"{streams} streams of {utterances} utterances", found, as_json=as_json)


@app.command()
def realtime(
    sessions: Annotated[int, typer.Option(min=1, max=1000, help="Conversations at once.")] = 1,
    turns: Annotated[int, typer.Option(min=1, max=1000, help="Turns of each; every second answer is interrupted.")] = 10,
    stub: Annotated[
        bool, typer.Option("--stub", help="Measure the platform alone: a server of its own, with engines that are STUBS.")
    ] = False,
    semantic: Annotated[
        bool, typer.Option("--semantic", help="End turns by the end-of-turn model, not after .5 s of silence.")
    ] = False,
    eager: Annotated[
        bool | None,
        typer.Option(
            "--eager/--no-eager",
            help="Whether responses are prepared before a turn is certainly over. Without it, as the server is set.",
            show_default=False,
        ),
    ] = None,
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure spoken conversations: the delay from the end of speech to an audible answer, and from an interruption to
    silence.
    """
    from contextlib import nullcontext

    from benchmarks.platform.realtime import measure
    from benchmarks.platform.realtime_stub import stub_server

    with stub_server() if stub else nullcontext(locate(url, key, home)) as target:
        detection = {"type": "semantic_vad"} if semantic else None
        found = measure(target, sessions=sessions, turns=turns, recorded=not stub, detection=detection, eager=eager)
    kind = ("stub engines, " if stub else "") + ("semantic_vad, " if semantic else "")
    kind += "" if eager is None else "eager, " if eager else "not eager, "
    print_measures(f"{kind}{sessions} conversations of {turns} turns", found, as_json=as_json)


@app.command()
def realtime_memory(
    sessions: Annotated[int, typer.Option(min=1, max=1000, help="Conversations at once.")] = 30,
    minutes: Annotated[
        int, typer.Option(min=13, max=600, help="Length of one conversation whose growth is measured.")
    ] = 60,
    as_json: JsonOption = False,
) -> None:
    """Measure the memory of spoken conversations with engines that are STUBS; no server is needed."""
    from benchmarks.platform.realtime_memory import measure

    found = measure(sessions, minutes)
    print_measures(f"stub engines, {sessions} conversations, one of {minutes} min", found, as_json=as_json)


@app.command()
def turn_ends(
    turns: Annotated[int, typer.Option(min=6, max=10_000, help="Turns with a pause of .1 to 1 s.")] = 48,
    chosen_on: Annotated[
        bool, typer.Option("--chosen-on", help="Use the turns with which settings were chosen, not the held-out turns.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure how often a pause within a turn is mistaken for its end, and the delay of true ends; no server is
    needed.
    """
    from benchmarks.platform.turn_ends import measure

    found = measure(load_settings(None), turns, chosen_on=chosen_on)
    print_measures(f"{turns} rendered turns with a pause of .1 to 1 s", found, as_json=as_json)


@app.command()
def archive(
    only: Annotated[
        list[str] | None, typer.Option(help="cost, resume, beside or memory; may repeat [all].", show_default=False)
    ] = None,
    files: Annotated[int, typer.Option(min=100, help="Recordings of the runs for cost and resume.")] = 10_000,
    hours: Annotated[float, typer.Option(min=0.2, max=10, help="Length of the long recording for memory, h.")] = 10.0,
    rounds: Annotated[
        int, typer.Option(min=2, max=100, help="Short files sent while an archive runs; ten times as many renders.")
    ] = 10,
    voice: Annotated[str, typer.Option("--voice", help="Voice of the speech rendered meanwhile.")] = "maeve",
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure archives: cost of a file, work lost by kill -9, delay of other requests, memory of a long file.

    For cost and resume a STUB in the benchmark's own workers replaces recogniser and diariser, so everything else is
    measured, from reading a file to its row in history. The parts beside and memory use the server's engines. All runs
    stay in history, in accounts of their own: use a separate home. The server must run on this machine.
    """
    import tempfile

    from benchmarks.platform.archive import PARTS, Bench, measure
    from schemas.errors import Unavailable
    from serve.supervisor.supervisor import instance

    if strange := set(only or ()) - set(PARTS):
        raise typer.BadParameter(f"{strange.pop()!r} is none of {', '.join(PARTS)}", param_hint="--only")
    user, operator, settings = locate(url, key, home), locate(url, key, home, operator=True), load_settings(home)
    running = instance(settings.home)
    if running is None or running.url != operator.url:
        raise Unavailable(f"archives are measured on the machine of their server, and no server runs in {settings.home}")
    with tempfile.TemporaryDirectory(prefix="fluxions-bench-") as folder:
        bench = Bench(user, operator, settings, running.prefect_api, Path(folder), note)
        found = measure(bench, only or PARTS, files=files, hours=hours, rounds=rounds, voice=voice)
    print_measures(", ".join(only or PARTS), found, as_json=as_json)


@app.command()
def overload(
    clients: Annotated[int, typer.Option(min=1, max=256, help="Connections that the server can serve.")] = 16,
    times: Annotated[
        int, typer.Option(min=2, max=100, help="Factor by which their number is multiplied for the overload.")
    ] = 10,
    seconds: Annotated[float, typer.Option(min=1, help="Length of the overload, s.")] = 30.0,
    size: Annotated[int, typer.Option(min=1024, help="Size of each recording, bytes.")] = 100_000,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Submit from many times the clients that HOME's server can serve: measures accepted and refused requests, memory
    and the recovery.

    The server will transcribe what it accepts: use a separate home.
    """
    from benchmarks.platform.overload import measure

    target, processes = _instance_in(home)
    found, wrong = measure(target, processes, clients=clients, times=times, seconds=seconds, size_bytes=size)
    print_measures(f"{clients} clients, then {times} times as many for {seconds:g} s", found, as_json=as_json)
    if wrong:
        raise typer.Exit(FAILED)


@app.command()
def leaks(
    cycles: Annotated[int, typer.Option(min=10, help="Number of aborts of each kind.")] = 1000,
    kind: Annotated[str, typer.Option(help="Only the kinds with this in their name, such as 'upload' [all].")] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure what processes of HOME's server still hold after many aborted uploads, streams and renders."""
    from benchmarks.platform.leaks import measure

    target, processes = _instance_in(home)
    found = measure(target, processes, cycles, note, kind)
    print_measures(f"growth over {cycles} cycles of each kind", found, as_json=as_json)


@app.command()
def soak(
    minutes: Annotated[float, typer.Option(min=1, help="Length of the load, min.")] = 60.0,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure over a long steady load whether processes of HOME's server hold more and more."""
    from benchmarks.platform.soak import measure

    target, processes = _instance_in(home)
    print_measures(f"mixed load of {minutes:g} min", measure(target, processes, minutes, note), as_json=as_json)


def _instance_in(home: Path | None) -> tuple[Target, Callable[[], list[psutil.Process]]]:
    """The server that runs in ``home``, and what lists its processes. Raises BadParameter if there is none."""
    from serve.supervisor.instance import MARKER
    from serve.supervisor.marked_processes import marked
    from serve.supervisor.supervisor import instance

    target, running = locate(None, None, home), instance(load_settings(home).home)
    if running is None:
        raise typer.BadParameter("no server runs in this home", param_hint="--home")
    return target, lambda: list(marked(MARKER, running.marker))
