"""Paths and contents of the files of `fluxions transcribe`."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

import typer

from cli.transcribe_batch import TranscribeResult
from cli.transcribe_formats import Format
from cli.transcribe_inputs import FileSource, Source
from formats.document import Document
from formats.subtitles import SubtitleStyle
from formats.transcript_files import FileFormat, render
from runtime.file_names import fitting, readable
from schemas.errors import FluxionsError

_NAMED = 3


class TranscriptFiles:
    """One file for each recording, beside the recording or in a folder; or the file of one recording on stdout."""

    def __init__(
        self,
        sources: Sequence[Source],
        output: Format | None,
        output_dir: str | None,
        style: SubtitleStyle,
        *,
        force: bool,
    ) -> None:
        """Raises BadParameter for a folder without a format, two recordings with one file, and existing files."""
        self.output = output
        self._style = style
        self._force = force
        self._targets = _targets(sources, output, output_dir)
        self._refuse(sorted(file for file in self._targets.values() if file.exists()))

    def write(self, source: Source, done: TranscribeResult) -> Path | None:
        """Write a result, whole or not at all, and return its file. Raises FluxionsError if it cannot be written."""
        if self.output is None:
            return None
        file = self._targets.get(source)
        content = _content(done, self.output, self._style)
        if file is None:
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
        else:
            self._store(file, content)
        return file

    def _store(self, file: Path, content: bytes) -> None:
        part = file.with_name(f".{uuid.uuid4().hex}.part")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(content)
            if self._force:
                part.replace(file)
            else:
                # Unlike a rename this fails if the file was created meanwhile.
                file.hardlink_to(part)
                part.unlink()
        except OSError as error:
            part.unlink(missing_ok=True)
            raise FluxionsError(f"cannot write {readable(str(file))}: {error.strerror}", code="unwritable_file") from error

    def _refuse(self, present: Sequence[Path]) -> None:
        if present and not self._force:
            names = ", ".join(readable(str(file)) for file in present[:_NAMED])
            more = f" and {len(present) - _NAMED} more" if len(present) > _NAMED else ""
            raise typer.BadParameter(
                f"{names}{more} would be overwritten; use --force to allow that", param_hint="--output"
            )


def _content(done: TranscribeResult, output: Format, style: SubtitleStyle) -> bytes:
    if output is Format.JSON:
        return (json.dumps(done.raw, ensure_ascii=False, indent=2) + "\n").encode()
    body = done.body
    document = Document(
        title=done.source.filename,
        text=body.text or "",
        segments=body.segments,
        turns=body.turns,
        language=body.language or "en",
        duration_secs=body.audio_duration or 0.0,
    )
    return render(document, FileFormat(output.value), style)


def _targets(sources: Sequence[Source], output: Format | None, output_dir: str | None) -> dict[Source, Path]:
    """The file of each recording; None for stdout. Two recordings never share a file."""
    if output is None:
        if output_dir is not None:
            raise typer.BadParameter(
                f"say which kind of file to write: --output {'|'.join(Format)}", param_hint="--output-dir"
            )
        return {}
    if output_dir == "-":
        if len(sources) > 1:
            raise typer.BadParameter(
                "only one recording's file can be written to stdout; give a folder", param_hint="--output-dir"
            )
        return {}
    targets: dict[Source, Path] = {}
    for source in dict.fromkeys(sources):
        folder = Path(output_dir) / source.relative.parent if output_dir else Path()
        if not output_dir and isinstance(source, FileSource):
            folder = source.path.parent
        name = source.relative.name
        file = folder / fitting(Path(name).stem, f".{output}")
        # `talk.wav` beside `talk.mp3`, or a recording named like its transcript: append the suffix.
        if file in targets.values() or file.name == name:
            file = folder / fitting(name, f".{output}")
        if file in targets.values():
            raise typer.BadParameter(f"two recordings would be written to {readable(str(file))}", param_hint="--output-dir")
        targets[source] = file
    return targets
