"""A transcript as one HTML file, suitable for printing: no scripts, no external resources, all text escaped."""

from __future__ import annotations

from html import escape
from itertools import groupby
from typing import Final

from formats.document import Document, clock, printable, speaker_name
from schemas.spacing import join_words

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""Content security policy of the page: only its own styles are allowed."""

_STYLE: Final = """
@page { margin: 2cm }
body { font: 11pt/1.5 Georgia, serif; max-width: 42em; margin: 2em auto; padding: 0 1em; color: #222 }
h1 { font-size: 1.4em } header p, time { color: #666; font-size: .85em }
section { break-inside: avoid; margin: 1em 0 } h2 { font-size: 1em; margin: 0 } p { margin: .2em 0 }
"""


def html_page(document: Document) -> str:
    """The page: a section for each turn of a speaker, with its start time."""
    title, language = _text(document.title), _text(document.language)
    sections = [
        f"<section><h2>{_text(speaker_name(speaker))} <time>{clock(spoken[0].start)}</time></h2>\n"
        f"<p>{_text(join_words(segment.text for segment in spoken))}</p></section>\n"
        for speaker, group in groupby(document.segments, key=lambda segment: segment.speaker)
        if (spoken := list(group))
    ]
    return (
        f'<!doctype html>\n<html lang="{language}"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n"
        f"<body><header><h1>{title}</h1><p>{clock(document.duration_secs)}</p></header>\n<main>\n"
        f"{''.join(sections)}</main></body></html>\n"
    )


def _text(text: str) -> str:
    return escape(printable(text))
