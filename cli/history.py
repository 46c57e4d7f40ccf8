"""`fluxions history` and `fluxions search`: rows of an account, from the running server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from cli.options import HomeOption, JsonOption, KeyOption, UrlOption, locate
from cli.output import note, print_json, print_table


class HistoryKind(StrEnum):
    """Kinds of history entries."""

    TRANSCRIPTIONS = "transcriptions"
    TTS = "tts"
    CONVERSATIONS = "conversations"


_COLUMNS: Mapping[HistoryKind | None, Sequence[str]] = {
    None: ("created_at", "object", "id", "what", "secs", "cost_usd"),
    HistoryKind.TRANSCRIPTIONS: (
        "created_at", "id", "status", "filename", "audio_duration_secs", "num_speakers", "language", "cost_usd",
    ),
    HistoryKind.TTS: ("created_at", "id", "voice", "chars", "audio_secs", "cost_usd"),
    HistoryKind.CONVERSATIONS: ("created_at", "id", "title", "voice", "duration_secs", "turn_count", "cost_usd"),
}  # fmt: skip


def history(
    kind: Annotated[HistoryKind | None, typer.Argument(help="One kind only; all of them merged by default.")] = None,
    page: Annotated[int, typer.Option(min=1, help="Page, from 1.")] = 1,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Rows a page.")] = 20,
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="Sort by time, oldest first.")] = False,
    since: Annotated[str | None, typer.Option(help="From this time on: ISO-8601 or epoch seconds.")] = None,
    until: Annotated[str | None, typer.Option(help="Up to this time.")] = None,
    status: Annotated[str | None, typer.Option(help="Of transcriptions: completed, failed, ...")] = None,
    voice: Annotated[str | None, typer.Option(help="Of tts and conversations: the voice's id.")] = None,
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List transcriptions, speech renders and conversations, newest first.

    Example:

      fluxions history transcriptions --status failed --since 2026-06-01
    """
    from clients.public import Client

    _refuse_filter("status", status, kind, (HistoryKind.TRANSCRIPTIONS,))
    _refuse_filter("voice", voice, kind, (HistoryKind.TTS, HistoryKind.CONVERSATIONS))
    asked = {"since": since, "until": until, "status": status, "voice": voice}
    params = {name: value for name, value in asked.items() if value is not None}
    params |= {"page": str(page), "limit": str(limit), "order": "asc" if oldest_first else "desc"}
    with Client(locate(url, key, home)) as client:
        body = client.get(f"/history/{kind}" if kind else "/history", **params)
    if as_json:
        print_json(body)
        return
    columns = _COLUMNS[kind]
    items = body["data"] if kind else [_brief(item) for item in body["data"]]
    print_table("", [name.replace("_", " ") for name in columns], [[item.get(name) for name in columns] for item in items])
    note(f"page {body['page']}, {len(items)} of {body['total']}")


def search(
    query: Annotated[str, typer.Argument(help='Words; "a phrase" in quotes, `or`, and -word to leave out.')],
    limit: Annotated[int, typer.Option(min=1, max=100, help="Most hits of each kind.")] = 20,
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search conversation turns, transcripts, file names and rendered texts.

    Example:

      fluxions search '"dentist appointment" -cancelled'
    """
    from clients.public import Client

    with Client(locate(url, key, home)) as client:
        body = client.get("/history/search", q=query, limit=limit)
    if as_json:
        print_json(body)
        return
    rows = [
        [hit["created_at"], hit["object"], hit.get("session_id", hit["id"]), _place(hit), _plain(hit)]
        for hit in body["data"]
    ]
    print_table("", ("created at", "object", "id", "at", "snippet"), rows)


def _brief(item: dict[str, Any]) -> dict[str, Any]:
    what = item.get("filename") or item.get("voice")
    secs = next((item[name] for name in ("audio_duration_secs", "audio_secs", "duration_secs") if name in item), None)
    return item | {"what": what, "secs": secs}


def _place(hit: dict[str, Any]) -> str:
    secs = hit.get("start_secs")
    return "" if secs is None else f"{secs:.1f} s"


def _plain(hit: dict[str, Any]) -> str:
    """A snippet as text, with matches in brackets."""
    import html

    return html.unescape(hit["snippet"].replace("<mark>", "[").replace("</mark>", "]"))


def _refuse_filter(name: str, value: str | None, kind: HistoryKind | None, kinds: Sequence[HistoryKind]) -> None:
    if value is not None and kind not in kinds:
        raise typer.BadParameter(f"--{name} filters {' and '.join(kinds)} only", param_hint=f"--{name}")
