"""The query parameters of `/submit`, and their form as options of a job."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from audio.raw_pcm import MAX_RATE_HZ, MIN_RATE_HZ, MOST_CHANNELS, RawEncoding, RawFormat
from schemas.api.options import MAX_KEYTERMS, PROMPT_MAX_CHARS, AudioTrack, Keyterm, Language
from schemas.api.webhooks import MAX_URL_CHARS, URL_PATTERN
from schemas.domain import JobOptions, RecognizeOptions, Task
from schemas.errors import InvalidParameter
from schemas.redaction import NO_REDACTION, PII_KINDS, PiiKind, Redaction
from schemas.speaker_hints import MOST_SPEAKERS, speaker_hint

UNNAMED = "audio"
"""The file name of a recording whose client names none."""


class SubmitQuery(BaseModel):
    """Each field is a query parameter of the same name, except ``encoding``, whose parameter is `format`."""

    non_speech: bool = Field(False, description="Include non-speech sounds.")
    filename: str = Field(UNNAMED, min_length=1, max_length=255, description="Name for the uploaded file.")
    cache: bool = Field(True, description="Use cached results for identical files.")
    num_speakers: int | None = Field(None, ge=1, le=MOST_SPEAKERS, description="Number of speakers, if it is known.")
    min_speakers: int | None = Field(None, ge=1, le=MOST_SPEAKERS, description="Smallest number of speakers.")
    max_speakers: int | None = Field(None, ge=1, le=MOST_SPEAKERS, description="Largest number of speakers.")
    language: Language | None = Field(None, description="Code of the spoken language (`en`); detected when omitted.")
    prompt: str = Field("", max_length=PROMPT_MAX_CHARS, description="Text that shows how names and style are written.")
    keyterms: list[Keyterm] | None = Field(
        None, max_length=MAX_KEYTERMS, description="A name or term that probably occurs; may be repeated."
    )
    task: Task = Field("transcribe", description="`translate` translates into English.")
    strict: bool = Field(False, description="Fail a recording that is truncated or damaged, instead of adding a warning.")
    audio_track: AudioTrack | None = Field(
        None,
        description="Audio track to transcribe, from 0; when omitted, the default track, or the track with most speech.",
    )
    encoding: RawEncoding | None = Field(
        None, alias="format", description="The body is raw samples of this encoding, without a header."
    )
    rate: int | None = Field(None, ge=MIN_RATE_HZ, le=MAX_RATE_HZ, description="With `format`: sample rate, Hz.")
    channels: int = Field(1, ge=1, le=MOST_CHANNELS, description="With `format`: number of interleaved channels.")
    redact: Literal["pii"] | None = Field(
        None, description="Replace personal data in the transcript by its kind, as `[PHONE]`."
    )
    redact_kinds: list[PiiKind] | None = Field(
        None, max_length=20, description="Only these kinds of personal data; may be repeated."
    )
    redact_audio: bool = Field(
        False, description="Also silence personal data in the playback copy, and erase the recording as it was sent."
    )
    keep_original: bool = Field(False, description="With `redact_audio`: keep the recording as it was sent.")
    callback_url: str | None = Field(
        None,
        max_length=MAX_URL_CHARS,
        description="URL to which the result of the job is sent, as a webhook.",
        json_schema_extra={"pattern": URL_PATTERN},
    )

    def options(self) -> JobOptions:
        """The options of the job. Raises InvalidParameter."""
        terms = tuple(term.strip() for term in self.keyterms or ())
        recognize = RecognizeOptions(self.language, self.prompt.strip(), terms, self.task)
        speakers = speaker_hint(self.num_speakers, self.min_speakers, self.max_speakers)
        return JobOptions(self.non_speech, speakers, recognize, self.strict, self.audio_track, self._redaction())

    def raw_format(self) -> RawFormat | None:
        """The format of raw samples, None for a recording with a header. Raises InvalidParameter."""
        if self.encoding is None:
            if self.rate is not None:
                raise InvalidParameter(
                    "format: send the encoding of raw samples, such as s16le, with their rate", param="format"
                )
            return None
        if self.rate is None:
            raise InvalidParameter("rate: send the sample rate of raw samples, such as 16000", param="rate")
        return RawFormat(self.encoding, self.rate, self.channels)

    def _redaction(self) -> Redaction:
        """Raises InvalidParameter for options that have no effect."""
        if self.redact is None:
            for name in ("redact_kinds", "redact_audio", "keep_original"):
                if getattr(self, name):
                    raise InvalidParameter(f"{name}: allowed only with redact=pii", param=name)
            return NO_REDACTION
        if self.keep_original and not self.redact_audio:
            raise InvalidParameter("keep_original: allowed only with redact_audio", param="keep_original")
        kinds = tuple(self.redact_kinds or PII_KINDS)
        return Redaction.of(kinds, audio=self.redact_audio, keep_original=self.keep_original)
