"""What `fluxions archive` prints for people: tables on stdout."""

from __future__ import annotations

from typing import Any

from cli.output import note, print_table


def show_estimate(found: dict[str, Any]) -> None:
    """Print an estimate as a table."""
    secs, usd = found["estimated_secs"], found["estimated_usd"]
    unread = f" ({found['unread']} unread)" if found["unread"] else ""
    about = " at least" if found["unknown_lengths"] and not found["hours"] else ""
    rows = [
        ["files", f"{found['files']:,}"],
        ["done before", f"{found['done']:,}"],
        ["answered by the cache", f"{found['cached']:,}{unread}"],
        ["not audio", f"{found['not_audio']:,}"],
        ["left", f"{found['left']:,}"],
        ["audio", f"{_spell(found['hours'] * 3600)}{about}"],
        ["of unknown length", f"{found['unknown_lengths']:,}"],
        [
            "time",
            "unknown: no recent run" if secs is None else f"about {_spell(secs)} at {found['x_realtime']} × real time",
        ],
        ["cost", f"{usd:.2f} USD"],
    ]
    print_table("", ["what", "value"], rows)
    if found["problems"]:
        note(f"{found['problems']} entries cannot be used as they are:")
        for one in found["examples"]:
            note(f"  {one['where']}: {one['message']}")
        if found["problems"] > len(found["examples"]):
            note("  …")


def summary(found: dict[str, Any]) -> str:
    """The estimate in a line, before the work begins."""
    secs = found["estimated_secs"]
    time = "time unknown" if secs is None else f"about {_spell(secs)}"
    return (
        f"{found['left']:,} of {found['files']:,} files left ({found['done']:,} done before), "
        f"{_spell(found['hours'] * 3600)} of audio, {time}, {found['estimated_usd']:.2f} USD; "
        f"{found['problems']} cannot be used as they are"
    )


def show_report(found: dict[str, Any]) -> None:
    """Print a report as tables."""
    run, counts = found["archive"], found["archive"]["counts"]
    rate = f"{found['x_realtime']:.1f} × real time" if found["x_realtime"] is not None else "nothing recognised"
    rows = [
        ["status", run["status"] if not run["message"] else f"{run['status']}: {run['message']}"],
        ["completed", f"{counts['completed']:,} ({counts['cached']:,} from cache)"],
        ["failed", f"{counts['failed']:,}"],
        ["skipped", f"{counts['skipped']:,}"],
        ["left", f"{counts['waiting'] + counts['processing']:,}"],
        ["audio", _spell(counts["audio_secs"])],
        ["speed", f"{rate} over {_spell(found['active_secs'])}"],
        ["cost", f"{counts['cost_usd']:.4f} USD"],
    ]
    print_table(f"archive {run['id']}: {run['name']}", ["what", "value"], rows)
    if found["failures"]:
        reasons = [[f["status"], f["reason"], f["count"], f["key"], f["message"]] for f in found["failures"]]
        print_table("", ["status", "reason", "files", "one of them", "in words"], reasons)
    if run["status"] == "completed" and counts["completed"] + counts["failed"] == 0:
        note(f"{run['source']} holds no recording; {counts['skipped']:,} files were passed over")


def run_row(one: dict[str, Any]) -> list[Any]:
    """A run as a row of `fluxions archive list`."""
    counts = one["counts"]
    total = sum(counts[name] for name in ("waiting", "processing", "completed", "failed", "skipped"))
    hours = f"{counts['audio_secs'] / 3600:.2f}"
    done = counts["completed"] + counts["skipped"]
    return [
        one["id"], one["name"], one["account"], one["status"], total, done, counts["failed"], hours, one["created_at"],
    ]  # fmt: skip


def where_most(differences: list[dict[str, Any]]) -> str:
    """The largest difference between two revisions and its time; empty if there is none."""
    if not differences:
        return ""
    most = max(differences, key=lambda one: one["errors"])
    return f"{most['span']['start_secs']:.1f} s: {most['old'] or '—'} → {most['new'] or '—'}"


def _spell(secs: float) -> str:
    minutes, seconds = divmod(round(secs), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
