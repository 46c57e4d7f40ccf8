"""A transcript as a DOCX file (ECMA-376, Office Open XML): paragraphs with the speaker, the time and the words.

A minimal package that word processors open: content types, relationships, the document and its styles. No macros, links
or fields.
"""

from __future__ import annotations

import io
import zipfile
from itertools import groupby
from typing import Final
from xml.sax.saxutils import escape

from formats.document import Document, clock, printable, speaker_name
from schemas.spacing import join_words

_NAMESPACE: Final = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_OFFICE: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_MAIN: Final = "application/vnd.openxmlformats-officedocument.wordprocessingml"
_HEAD: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_TYPES: Final = (
    f'{_HEAD}<Types xmlns="{_PACKAGE}/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/>'
    f'<Override PartName="/word/document.xml" ContentType="{_MAIN}.document.main+xml"/>'
    f'<Override PartName="/word/styles.xml" ContentType="{_MAIN}.styles+xml"/></Types>'
)
_ROOT: Final = (
    f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="r1" Type="{_OFFICE}/officeDocument" Target="word/document.xml"/></Relationships>'
)
_RELATIONS: Final = (
    f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="r1" Type="{_OFFICE}/styles" Target="styles.xml"/></Relationships>'
)
_STYLES: Final = (
    f'{_HEAD}<w:styles xmlns:w="{_NAMESPACE}">'
    '<w:style w:type="paragraph" w:default="1" w:styleId="Normal"><w:name w:val="Normal"/>'
    '<w:pPr><w:spacing w:after="120"/></w:pPr><w:rPr><w:sz w:val="22"/></w:rPr></w:style>'
    '<w:style w:type="paragraph" w:styleId="Title"><w:name w:val="Title"/><w:basedOn w:val="Normal"/>'
    '<w:rPr><w:b/><w:sz w:val="32"/></w:rPr></w:style>'
    '<w:style w:type="paragraph" w:styleId="Heading2"><w:name w:val="heading 2"/><w:basedOn w:val="Normal"/>'
    '<w:pPr><w:keepNext/><w:spacing w:before="200" w:after="40"/></w:pPr><w:rPr><w:b/></w:rPr></w:style></w:styles>'
)
_UNDATED: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest time of a zip entry, so that the same transcript gives the same bytes."""


def docx(document: Document) -> bytes:
    """The file's bytes: a title, and for each turn of a speaker a heading and its words."""
    paragraphs = [_paragraph(document.title, "Title")]
    for speaker, group in groupby(document.segments, key=lambda segment: segment.speaker):
        spoken = list(group)
        paragraphs.append(_paragraph(f"{speaker_name(speaker)}  {clock(spoken[0].start)}", "Heading2"))
        paragraphs.append(_paragraph(join_words(segment.text for segment in spoken)))
    body = f'{_HEAD}<w:document xmlns:w="{_NAMESPACE}"><w:body>{"".join(paragraphs)}</w:body></w:document>'
    parts = {
        "[Content_Types].xml": _TYPES,
        "_rels/.rels": _ROOT,
        "word/document.xml": body,
        "word/_rels/document.xml.rels": _RELATIONS,
        "word/styles.xml": _STYLES,
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as package:
        for name, content in parts.items():
            package.writestr(zipfile.ZipInfo(name, _UNDATED), content, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def _paragraph(text: str, style: str | None = None) -> str:
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f'<w:p>{properties}<w:r><w:t xml:space="preserve">{escape(printable(text))}</w:t></w:r></w:p>'
