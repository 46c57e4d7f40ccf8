"""`fluxions bench`, the commands that measure single parts and need no server."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.bench_output import print_measures
from cli.options import HomeOption, JsonOption, load_settings
from cli.output import note, print_json, print_table

if TYPE_CHECKING:
    from benchmarks.measure import Measure
    from schemas.settings import Settings


def verify(
    engine: Annotated[Literal["kokoro", "espeak"], typer.Option(help="Synthesiser whose speech is checked.")] = "kokoro",
    language: Annotated[str, typer.Option(help="en, and for kokoro es, fr, it, pt or hi.")] = "en",
    per_sentence: Annotated[
        int, typer.Option(min=1, max=100, help="Renders of each sentence, without and with each fault.")
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random paces, pitches and faults.")] = 3,
    train: Annotated[
        bool, typer.Option("--train", help="First fit the check's classifier and write its weights (15 min; espeak 5 min).")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="Write the curves as a picture, if matplotlib is installed.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the check of rendered speech: good renders against planted faults. Needs no server.

    Sentences and voices are held out: the check was fitted without them. The column `caught` is the share of faults found
    at the threshold in use. The columns after `caught` are for thresholds that fail the given share of good renders.
    """
    from benchmarks.verification import run

    settings = load_settings(home)
    if train:
        run.retrain(settings, engine, note)
    report = run.measure(settings, engine, language, per_sentence, seed, note, plot=plot)
    if as_json:
        print_json(report.to_json())
        return
    print_table(f"planted faults, {engine}, {language}, held-out voices and sentences", run.header(), report.rows())
    for line in report.summary():
        note(line)


def history(
    rows: Annotated[
        int, typer.Option(min=1000, help="Transcriptions; renders and conversations are a tenth each.")
    ] = 1_000_000,
    postgres: Annotated[
        str | None, typer.Option("--postgres", help="DSN of a PostgreSQL to compare with; its tables are replaced.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, max=10_000, help="Repetitions of each query.")] = 40,
    narrow: Annotated[
        bool,
        typer.Option("--narrow", help="Digests and keys that are the same in all rows: a hundred million fit on a disk."),
    ] = False,
    folder: Annotated[
        Path | None, typer.Option(help="Empty folder for the tables [a temporary one].", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure history as rows grow: get, pages, filters and the merged feed, without a server, beside PostgreSQL.

    Ten million rows take some minutes and about 600 MB of disk, and several times as much in PostgreSQL.
    """
    from benchmarks.storage.history import measure

    with tempfile.TemporaryDirectory(prefix="fluxions-bench-", dir=folder) as home:
        found = measure(home, rows, rounds, postgres, note, narrow=narrow)
    print_measures(f"{rows} transcriptions, {rounds} rounds", found, as_json=as_json)


def ledger(
    producers: Annotated[int, typer.Option(min=1, max=4096, help="Senders that each wait for their acknowledgement.")] = 32,
    seconds: Annotated[float, typer.Option(min=0.5, help="How long to send, s.")] = 10.0,
    maintain: Annotated[
        bool, typer.Option("--maintain", help="Merge small files once a second during the measurement.")
    ] = False,
    folder: Annotated[
        Path | None, typer.Option(help="Folder on the disk to measure [a temporary one].", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the ledger without a server: rows acknowledged a second, each flushed to disk before its acknowledgement."""
    from benchmarks.storage.ledger import measure

    with tempfile.TemporaryDirectory(prefix="fluxions-bench-", dir=folder) as home:
        found = measure(Path(home), producers=producers, seconds=seconds, maintain=maintain)
    print_measures(f"{producers} producers, {seconds:g} s", found, as_json=as_json)


def maintenance(
    hours: Annotated[float, typer.Option(min=0.2, max=168, help="Simulated time, h.")] = 24.0,
    rows_per_sec: Annotated[float, typer.Option("--rows", min=1, help="Rows a second.")] = 2000.0,
    scale: Annotated[int, typer.Option(min=1, max=1024, help="Rows for each one that is committed.")] = 128,
    folder: Annotated[
        Path | None, typer.Option(help="Folder on the disk to measure [a temporary one].", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure whether maintenance keeps up with a day of rows, in simulated time and without a server.

    Commits, files, log entries and rounds of maintenance are as many as in that time; rows are fewer by `--scale`. A day
    takes some minutes.
    """
    from benchmarks.storage.maintenance import SimulatedLoad, measure

    with tempfile.TemporaryDirectory(prefix="fluxions-bench-", dir=folder) as home:
        found = measure(Path(home), SimulatedLoad(hours, rows_per_sec, scale), note)
    print_measures(f"{hours:g} h at {rows_per_sec:g} rows a second, rows scaled by 1/{scale}", found, as_json=as_json)


def jobs(
    number: Annotated[int, typer.Option("--jobs", min=1, help="Jobs in all.")] = 2000,
    at_once: Annotated[int, typer.Option(min=1, max=4096, help="Jobs at once.")] = 64,
    minutes: Annotated[float, typer.Option(min=0.1, help="Length of each recording, min.")] = 5.0,
    reports: Annotated[int, typer.Option(min=0, help="Reports of progress for each job.")] = 8,
    folder: Annotated[
        Path | None, typer.Option(help="Folder on the disk to measure [a temporary one].", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the time of the ledger for a job, from its submission to the tables, without a server and without
    engines.
    """
    from benchmarks.storage.ledger_jobs import measure

    with tempfile.TemporaryDirectory(prefix="fluxions-bench-", dir=folder) as home:
        found = measure(Path(home), jobs=number, at_once=at_once, duration_secs=minutes * 60, reports=reports)
    print_measures(f"{number} jobs of {minutes:g} min, {at_once} at once, {reports} reports each", found, as_json=as_json)


def webhooks(
    deliveries: Annotated[int, typer.Option(min=1, help="Events, each for one webhook.")] = 100_000,
    folder: Annotated[
        Path | None, typer.Option(help="Empty folder for the tables [a temporary one].", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Deliver events in simulated time to a receiver that fails a third of the requests. Needs no server.

    One sender in 500 dies before it reports, and the ledger is opened again halfway.
    """
    import asyncio

    from benchmarks.storage.webhooks import measure

    with tempfile.TemporaryDirectory(prefix="fluxions-bench-", dir=folder) as home:
        found = asyncio.run(measure(Path(home), deliveries))
    print_measures(f"{deliveries} deliveries", found, as_json=as_json)


def search(
    turns: Annotated[int, typer.Option(min=1000, help="Turns of the account that is searched.")] = 50_000,
    others: Annotated[int, typer.Option(min=0, help="Turns of other accounts in the same table.")] = 50_000,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Repetitions of each query.")] = 3,
    postgres: Annotated[
        str | None, typer.Option(help="Ask a PostgreSQL too: its connection string. It gets a temporary table.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure search, without a server: the 20 newest hits among one account's turns, beside PostgreSQL with GIN.

    Also the time to build its indexes and to open them, and their memory. Ten million turns need 4 GB of disk. Fails if
    PostgreSQL finds other turns.
    """
    from benchmarks.storage.search import measure

    found = measure(turns=turns, others=others, rounds=rounds, dsn=postgres, note=note)
    print_measures(f"{turns} turns of one account, {others} of others, {rounds} rounds", found, as_json=as_json)


def quality(
    folder: Annotated[
        Path, typer.Argument(help="Recordings with references.", exists=True, file_okay=False, metavar="DIR")
    ],
    report: Annotated[Path | None, typer.Option(help="Write a Markdown report here, its pictures beside it.")] = None,
    leave_out: Annotated[list[str] | None, typer.Option(help="Name of a recording not to score; may repeat.")] = None,
    snr: Annotated[
        list[float] | None, typer.Option(help="Also score words with noise at this SNR, dB; may repeat.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score the profile's engines against references: words, speakers, both. Needs no server.

    References are NAME.txt beside NAME.wav, lines of a .txt that begin with NAME, and .rttm or .stm files.
    """
    from benchmarks.quality.report import COLUMNS
    from benchmarks.quality.run import measure

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


def redaction(
    sentences: Annotated[int, typer.Option(min=1, max=10_000, help="Sentences; a third has no personal data.")] = 96,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random data in the sentences.")] = 1,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure redaction on rendered speech: precision and recall of personal data. Needs no server.

    Sentences are shown in which the data found differ from the expected.
    """
    from benchmarks.quality.redaction import measure

    found = measure(load_settings(home), count=sentences, seed=seed, note=note)
    print_measures(f"{sentences} sentences, seed {seed}", found, as_json=as_json)


def engines(
    batch: Annotated[list[int] | None, typer.Option(min=1, max=256, help="Batch size; may repeat [1 2 4 8 16].")] = None,
    utterance_secs: Annotated[float, typer.Option(min=0.5, max=30, help="Length of each utterance, s.")] = 5.0,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time of each part of a round, s.")] = 3.0,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Repetitions, without and with Ray Serve alternately.")] = 3,
    shape: Annotated[
        Literal["small", "0.6b"] | None,
        typer.Option(help="Instead, a NeMo transducer of random weights, as large as FastConformer small or Parakeet."),
    ] = None,
    part: Annotated[
        Literal["serving", "stages", "scaling", "nodes", "sortformer", "csm"],
        typer.Option(
            help="Ray Serve's throughput; stages of a recording; replicas by load; two machines by one, with an engine "
            "that SLEEPS; Sortformer; CSM's first audio."
        ),
    ] = "serving",
    long_secs: Annotated[float, typer.Option(min=20, help="Length of the long recording of `stages`, s.")] = 600.0,
    clients: Annotated[int, typer.Option(min=1, max=1024, help="Requests at a time of `scaling`.")] = 32,
    replicas: Annotated[int, typer.Option(min=2, max=256, help="Most replicas of the recogniser of `scaling`.")] = 2,
    published: Annotated[
        bool, typer.Option("--published", help="Sortformer and CSM of their published sizes, for a GPU; else tiny ones.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure engines: the share of the recogniser's throughput that remains with Ray Serve in front, or another part.

    Needs no server. Sortformer and CSM have random weights, which run as fast as trained ones.

    Examples:

      FLUXIONS_ASR_ENGINE=nemo FLUXIONS_ASR_MODEL=parakeet.nemo fluxions bench engines

      fluxions bench engines --part stages --long-secs 3600

      fluxions bench engines --part csm --published
    """
    settings = load_settings(home)
    if part != "serving":
        with contextlib.redirect_stdout(sys.stderr):
            if part == "scaling":
                from benchmarks.engines.scaling import measure as scaling

                measures = scaling(settings, clients, replicas, note)
            elif part == "nodes":
                from benchmarks.engines.nodes import measure as nodes

                measures = nodes(seconds, rounds, note)
            else:
                measures = _part(settings, part, long_secs, published=published)
        print_measures(part, measures, as_json=as_json)
        return
    from benchmarks.engines.serving import BATCHES, measure, measure_shape

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


def decode(
    duration_secs: Annotated[float, typer.Option("--secs", min=1, help="Length of the recording, s.")] = 60.0,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Children of each kind and container.")] = 20,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure decoding with and without the confinement of its child process, in five containers. Needs no server."""
    from benchmarks.engines.decode import measure

    found = measure(load_settings(home).limits, duration_secs, rounds)
    print_measures(f"{duration_secs:g} s of speech, medians of {rounds} children", found, as_json=as_json)


def _make_folder(folder: Path) -> None:
    """Check the report's folder before the measurement, which takes minutes. Raises InvalidParameter."""
    from schemas.errors import InvalidParameter

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidParameter(f"--report: {folder} cannot be made: {error.strerror}", param="report") from error


def _part(settings: Settings, part: str, long_secs: float, *, published: bool) -> list[Measure]:
    if part == "stages":
        from benchmarks.engines.stages import measure as stages

        return stages(settings, long_secs)
    if part == "sortformer":
        from benchmarks.engines.sortformer import measure as sortformer

        return sortformer(settings, "published" if published else "tiny")
    from benchmarks.engines.csm import measure as csm
    from serve.engines.model_files import torch_device
    from serve.engines.registry import choice

    return csm("1b" if published else "tiny", torch_device(choice(settings, "synthesizer")))


COMMANDS = (jobs, redaction, verify, history, ledger, maintenance, webhooks, search, quality, engines, decode)
