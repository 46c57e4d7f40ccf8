"""Line-based formats of transcripts: RTTM, CTM and JSON Lines.

RTTM and CTM are NIST's (Rich Transcription 2009 evaluation plan, appendix A): fields are separated by single spaces, so no
field may contain one.
"""

from __future__ import annotations

import orjson

from formats.document import Document


def rttm(document: Document) -> str:
    """RTTM of the diariser's turns, or of the utterances if there are no turns."""
    file = _field(document.title)
    spoken = [(t.start, t.end, t.speaker) for t in document.turns] or [
        (s.start, s.end, s.speaker) for s in document.segments
    ]
    return "".join(
        f"SPEAKER {file} 1 {start:.3f} {max(end - start, 0.001):.3f} <NA> <NA> {_field(speaker)} <NA> <NA>\n"
        for start, end, speaker in sorted(spoken)
    )


def ctm(document: Document) -> str:
    """CTM: every word with its time, length and confidence. Words without times are left out."""
    file = _field(document.title)
    words = [(w.start, w.end, w.word, w.confidence) for s in document.segments for w in s.words or ()]
    return "".join(
        f"{file} 1 {start:.2f} {max(end - start, 0.01):.2f} {_field(text)} {confidence:.3f}\n"
        for start, end, text, confidence in sorted(words)
    )


def json_lines(document: Document) -> str:
    """JSON Lines: an object for each utterance, as in the JSON of the transcription."""
    rows = (orjson.dumps(segment.model_dump(exclude_none=True)).decode() for segment in document.segments)
    return "".join(f"{row}\n" for row in rows)


def _field(text: str) -> str:
    """One field: spaces become ``_``, and ``;;``, which would begin a comment, is replaced."""
    return "_".join(text.split()).replace(";;", ";_") or "_"
