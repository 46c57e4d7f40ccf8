"""`fluxions bench`: what a running server does, measured from outside."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from serve.cli.options import HomeOption, JsonOption, KeyOption, UrlOption, help_if_alone, load_settings, locate
from serve.cli.output import FAILED, note, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.settings import Settings
    from serve.cli.measures import Measure

app = typer.Typer(
    callback=help_if_alone,
    invoke_without_command=True,
    help="Measure a running server: how fast it accepts, and how fast it listens.",
)


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

    Every body is noise under a true WAV header and different from all others, so nothing comes from a cache.
    The jobs are accepted for good: use a home of its own, for they all will be worked through.
    """
    from serve.cli.bench_submit import measure

    load = measure(locate(url, key, home), clients=clients, seconds=seconds, size_bytes=size)
    _print(f"{clients} clients, {seconds:g} s, {size} bytes each", load.measures(), as_json=as_json)
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
        typer.Option(min=1, max=256, help="Bare recogniser processes to compare with; as many as the server has replicas."),
    ] = 2,
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the platform's own cost: around a short file, on a cache hit, and on a long file.

    The last compares the server with bare pocketsphinx processes that decode the same utterances and do nothing else,
    on this machine: the share of their speed that is left when everything else is done too.
    """
    from serve.cli.bench_transcribe import measure

    settings = load_settings(home)
    found = measure(
        locate(url, key, home), settings, recording=recording, long_secs=long_secs, rounds=rounds, processes=processes
    )
    _print(f"{rounds} rounds", found, as_json=as_json)


@app.command()
def verify(
    per_sentence: Annotated[
        int, typer.Option(min=1, max=100, help="Voices each of 30 sentences is rendered in, good and with each defect.")
    ] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Of voices, rates, pitches and defects.")] = 3,
    warped: Annotated[bool, typer.Option(help="Move the voices' resonances by up to 8 %, as voice matching does.")] = False,
    train: Annotated[
        bool, typer.Option("--train", help="First make the check's models anew (3 min) and write them.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="Write the curves as a picture, if matplotlib is installed.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the check of rendered speech: good renders against planted defects. Needs no server.

    Sentences and voices are held out: neither the acoustic model nor the decision has met them. `caught` is the share of
    defects found at the threshold in use, the columns after it at thresholds that let so many good renders fail.
    """
    from serve.cli import bench_verify

    if train:
        bench_verify.retrain()
    report = bench_verify.measure(per_sentence, seed, warped=warped, plot=plot)
    if as_json:
        print_json(report.to_json())
        return
    print_table("planted defects in held-out voices and sentences", bench_verify.header(), report.rows())
    for line in report.summary():
        note(line)


@app.command()
def history(
    rows: Annotated[
        int, typer.Option(min=1000, help="Transcriptions; renders and conversations are a tenth each.")
    ] = 1_000_000,
    postgres: Annotated[
        str | None, typer.Option("--postgres", help="DSN of a PostgreSQL to ask the same; its tables are replaced.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, max=10_000, help="Times each question is asked.")] = 40,
    folder: Annotated[
        Path | None, typer.Option(help="Empty folder for the tables [a temporary one].", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure history as rows grow: get, pages, filters and the merged feed, without a server, beside PostgreSQL.

    Ten million rows take about 600 MB of disk, and as much again several times in PostgreSQL, and some minutes.
    """
    import tempfile

    from serve.cli.bench_history import measure

    with tempfile.TemporaryDirectory(prefix="fluxions-bench-", dir=folder) as home:
        found = measure(home, rows, rounds, postgres, note)
    _print(f"{rows} transcriptions, {rounds} rounds", found, as_json=as_json)


@app.command()
def reads(
    rounds: Annotated[int, typer.Option(min=1, max=10_000, help="Times each read is asked.")] = 100,
    query: Annotated[str, typer.Option(help="Words to search for.")] = "morning",
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure history through the whole gateway of a running server: get, pages, filters, feed and search."""
    from serve.cli.bench_http import measure

    _print(f"{rounds} rounds", measure(locate(url, key, home), rounds, query), as_json=as_json)


@app.command()
def ledger(
    producers: Annotated[int, typer.Option(min=1, max=4096, help="Senders that each wait for their acknowledgement.")] = 32,
    seconds: Annotated[float, typer.Option(min=0.5, help="How long to send, s.")] = 10.0,
    maintain: Annotated[bool, typer.Option("--maintain", help="Merge once a second meanwhile.")] = False,
    folder: Annotated[
        Path | None, typer.Option(help="Folder on the disk to measure [a temporary one].", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the ledger without a server: rows acknowledged a second, each flushed to disk before its acknowledgement."""
    import tempfile

    from serve.cli.bench_ledger import measure

    with tempfile.TemporaryDirectory(prefix="fluxions-bench-", dir=folder) as home:
        found = measure(Path(home), producers=producers, seconds=seconds, maintain=maintain)
    _print(f"{producers} producers, {seconds:g} s", found, as_json=as_json)


@app.command()
def search(
    turns: Annotated[int, typer.Option(min=1000, help="Turns of the account that is searched.")] = 50_000,
    others: Annotated[int, typer.Option(min=0, help="Turns of others in the same table.")] = 50_000,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Repetitions of each query.")] = 3,
    postgres: Annotated[
        str | None, typer.Option(help="Ask a PostgreSQL too: its connection string. It gets a temporary table.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure search, without a server: the 20 newest hits among one account's turns, beside PostgreSQL with GIN.

    Stops if PostgreSQL finds other turns.
    """
    from serve.cli.bench_search import measure

    found = measure(turns=turns, others=others, rounds=rounds, dsn=postgres)
    _print(f"{turns} turns of one account, {others} of others, {rounds} rounds", found, as_json=as_json)


@app.command()
def quality(
    folder: Annotated[
        Path, typer.Argument(help="Recordings with references.", exists=True, file_okay=False, metavar="DIR")
    ],
    report: Annotated[Path | None, typer.Option(help="Write a Markdown report here, its pictures beside it.")] = None,
    leave_out: Annotated[list[str] | None, typer.Option(help="Name of a recording not to score; may repeat.")] = None,
    snr: Annotated[list[float] | None, typer.Option(help="Hear the words again at this SNR, dB; may repeat.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure what the profile's engines hear against references: words, speakers, both. Needs no server.

    References are NAME.txt beside NAME.wav, lines of a .txt that begin with NAME, and .rttm or .stm files.
    """
    from serve.cli.bench_quality import measure
    from serve.cli.quality.report import COLUMNS

    if report is not None:
        _make_folder(report.parent)
    found = measure(load_settings(home), folder, leave_out or [], snr or [])
    if report is not None:
        found.write(report)
    if as_json:
        print_json(found.to_json())
        return
    print_table(str(found.engines), COLUMNS, found.rows())
    rows = [[name, "" if value is None else f"{value:.3f}"] for name, value in found.summary().items()]
    print_table("all of them", ["measure", "value"], rows)


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
    """Measure speaking: first audible byte alone and at 8 streams, verified, pace, gaps, memory of a local server."""
    from serve.cli.bench_tts import measure, memory_of
    from serve.up import instance

    target = locate(url, key, home)
    running = instance(load_settings(home).home)
    memory = memory_of(running.marker) if running is not None and running.url == target.url else None
    found = measure(target, voice=voice, renders=renders, memory_renders=memory_renders, memory=memory)
    _print(f"{renders} renders of each kind", found, as_json=as_json)


@app.command()
def engines(
    batch: Annotated[list[int] | None, typer.Option(min=1, max=256, help="Batch size; may repeat [1 2 4 8 16].")] = None,
    utterance_secs: Annotated[float, typer.Option(min=0.5, max=30, help="Length of each utterance, s.")] = 5.0,
    seconds: Annotated[float, typer.Option(min=0.1, help="Bare and served work in each round, s.")] = 3.0,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Repetitions, bare and served in turns.")] = 3,
    shape: Annotated[
        Literal["small", "0.6b"] | None,
        typer.Option(help="Instead, a NeMo transducer of random weights, as large as FastConformer small or Parakeet."),
    ] = None,
    part: Annotated[
        Literal["serving", "stages", "sortformer", "csm"],
        typer.Option(help="What Serve leaves; a long recording stage by stage; Sortformer; CSM's first sound."),
    ] = "serving",
    long_secs: Annotated[float, typer.Option(min=20, help="Length of the long recording of `stages`, s.")] = 600.0,
    published: Annotated[
        bool, typer.Option("--published", help="Sortformer and CSM of their published sizes, for a GPU; else tiny ones.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the engines themselves: what Ray Serve leaves of the chosen recogniser's throughput, or another part.

    Needs no server. Sortformer and CSM are made with random weights, which cost what trained ones cost.

    Examples:

      FLUXIONS_ASR_ENGINE=nemo FLUXIONS_ASR_MODEL=parakeet.nemo fluxions bench engines

      fluxions bench engines --part stages --long-secs 3600

      fluxions bench engines --part csm --published
    """
    settings = load_settings(home)
    if part != "serving":
        with contextlib.redirect_stdout(sys.stderr):
            measures = _part(settings, part, long_secs, published=published)
        _print(part, measures, as_json=as_json)
        return
    from serve.cli.bench_engines import BATCHES, measure, measure_shape

    batches = batch or BATCHES
    with contextlib.redirect_stdout(sys.stderr):  # Ray and NeMo print; stdout is for the result
        if shape is not None:
            found = measure_shape(settings, shape, batches, utterance_secs, seconds, rounds)
        else:
            found = measure(settings, batches, utterance_secs, seconds, rounds)
    if as_json:
        print_json(found.to_json())
        return
    rows = [[r.batch, f"{r.bare_rtfx:.1f}", f"{r.served_rtfx:.1f}", f"{r.share:.3f}"] for r in found.rows]
    print_table(f"{found.engine} {found.model}", ["batch", "bare RTFx", "through Serve RTFx", "share"], rows)
    print(f"one call: {found.overhead_ms:.1f} ms more than the bare model")
    print(f"loaded in {found.load_secs:.1f} s, {found.memory_mib:.0f} MiB", end="")
    print(f", GPU {found.gpu_memory_mib:.0f} MiB" if found.gpu_memory_mib is not None else "")


@app.command()
def archive(
    only: Annotated[
        list[str] | None, typer.Option(help="cost, resume, beside or memory; may repeat [all].", show_default=False)
    ] = None,
    files: Annotated[int, typer.Option(min=100, help="Recordings of the runs for cost and resume.")] = 10_000,
    hours: Annotated[float, typer.Option(min=0.2, max=10, help="Length of the long recording for memory, h.")] = 10.0,
    rounds: Annotated[int, typer.Option(min=2, max=100, help="Short files sent beside an archive; speech ten times.")] = 10,
    voice: Annotated[str, typer.Option("--voice", help="Voice that speaks meanwhile.")] = "maeve",
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure archives: cost of a file, work lost at a kill -9, what others wait longer, memory of a long file.

    For cost and resume a STUB stands in the place of recogniser and diariser, in the bench's own workers: what is measured
    is everything else, from reading a file to history. The other two use the server's engines. All runs are kept in
    history, in accounts of their own: use a home of its own. The server must run on this machine.
    """
    import tempfile

    from schemas.errors import Unavailable
    from serve.cli.bench_archive import PARTS, Bench, measure
    from serve.up import instance

    if strange := set(only or ()) - set(PARTS):
        raise typer.BadParameter(f"{strange.pop()!r} is none of {', '.join(PARTS)}", param_hint="--only")
    user, operator, settings = locate(url, key, home), locate(url, key, home, operator=True), load_settings(home)
    running = instance(settings.home)
    if running is None or running.url != operator.url:
        raise Unavailable(f"archives are measured beside their server, and none runs in {settings.home}")
    with tempfile.TemporaryDirectory(prefix="fluxions-bench-") as folder:
        bench = Bench(user, operator, settings, running.prefect_api, Path(folder))
        found = measure(bench, only or PARTS, files=files, hours=hours, rounds=rounds, voice=voice)
    _print(", ".join(only or PARTS), found, as_json=as_json)


def _make_folder(folder: Path) -> None:
    """Before anything is measured: minutes of work must not be lost for want of a place. Raises InvalidParameter."""
    from schemas.errors import InvalidParameter

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidParameter(f"--report: {folder} cannot be made: {error.strerror}", param="report") from error


def _part(settings: Settings, part: str, long_secs: float, *, published: bool) -> list[Measure]:
    if part == "stages":
        from serve.cli.bench_stages import measure as stages

        return stages(settings, long_secs)
    if part == "sortformer":
        from serve.cli.bench_diarizers import measure as sortformer

        return sortformer(settings, "published" if published else "tiny")
    from serve.cli.bench_synthesizers import measure as csm
    from serve.engines import choice
    from serve.models import torch_device

    return csm("1b" if published else "tiny", torch_device(choice(settings, "synthesizer")))


def _print(title: str, measures: Sequence[Measure], *, as_json: bool) -> None:
    if as_json:
        print_json({"title": title, "measures": [m.to_json() for m in measures]})
    else:
        print_table(title, ["measure", "value", "unit"], [[m.name, f"{m.value:.4g}", m.unit] for m in measures])
