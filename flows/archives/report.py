"""An archive's report as Markdown and as JSON."""

from __future__ import annotations

from typing import Any

from schemas.archives import ArchiveReport
from schemas.times import iso


def to_json(report: ArchiveReport) -> dict[str, Any]:
    """The report as JSON: times as ISO 8601, durations in the unit their name ends with."""
    run, counts = report.archive, report.archive.counts
    return {
        "archive": run.id,
        "name": run.name,
        "kind": str(run.kind),
        "source": run.source,
        "account": run.account,
        "status": str(run.status),
        "message": run.message,
        "engine_revision": run.engine_revision,
        "created_at": iso(run.created_at),
        "updated_at": iso(run.updated_at),
        "files": counts.total,
        "completed": counts.completed,
        "cached": counts.cached,
        "failed": counts.failed,
        "skipped": counts.skipped,
        "waiting": counts.waiting,
        "processing": counts.processing,
        "hours": round(report.hours, 4),
        "active_secs": round(report.active_secs, 3),
        "x_realtime": None if report.x_realtime is None else round(report.x_realtime, 2),
        "cost_usd": round(counts.cost_usd, 6),
        "failures": [
            dict(zip(("status", "reason", "files", "example", "message"), row, strict=True)) for row in failure_rows(report)
        ],
    }


def failure_rows(report: ArchiveReport) -> list[tuple[str, str, int, str, str]]:
    """(status, reason, files, example, message) of each reason for which files have no transcript."""
    return [(str(f.status), f.reason, f.count, f.key, f.message) for f in report.failures]


def markdown(report: ArchiveReport) -> str:
    """The report as a Markdown page with two tables."""
    run, counts = report.archive, report.archive.counts
    rate = "nothing recognised" if report.x_realtime is None else f"{report.x_realtime:.1f} × real time"
    lines = [
        f"# Archive {run.id}: {_cell(run.name)}",
        "",
        f"{run.kind} of `{run.source}` for account `{run.account}`: **{run.status}**",
        "",
        "| what | value |",
        "|---|---|",
        f"| files | {counts.total:,} |",
        f"| completed | {counts.completed:,} ({counts.cached:,} from cache) |",
        f"| failed | {counts.failed:,} |",
        f"| skipped | {counts.skipped:,} |",
        f"| left | {counts.waiting + counts.processing:,} |",
        f"| audio | {report.hours:.2f} h |",
        f"| speed | {rate} over {report.active_secs:.0f} s |",
        f"| cost | {counts.cost_usd:.4f} USD |",
        f"| engines | `{run.engine_revision}` |",
    ]
    if report.failures:
        lines += ["", "| status | reason | files | example | in words |", "|---|---|---|---|---|"]
        lines += [f"| {' | '.join(_cell(str(cell)) for cell in row)} |" for row in failure_rows(report)]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
