"""Options of the removal of personal data from a transcript and its playback copy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, TypeAlias, get_args

PiiKind: TypeAlias = Literal["name", "email", "phone", "card", "iban", "ssn", "ip", "url", "birth_date", "number"]
"""Kinds of personal data. ``number`` is any other run of digits, such as an account number or a PIN."""
PII_KINDS: Final[tuple[PiiKind, ...]] = get_args(PiiKind)


@dataclass(frozen=True, slots=True)
class Redaction:
    """Part of the options of a transcription."""

    kinds: tuple[PiiKind, ...] = ()
    """The kinds that are redacted, in the order of `PII_KINDS`; none by default."""
    audio: bool = False
    """Whether the playback copy is silent where words are redacted."""
    keep_original: bool = False
    """Whether the recording as it was sent is kept although the playback copy is redacted."""

    @property
    def drops_original(self) -> bool:
        """Whether the recording is erased once it is transcribed."""
        return self.audio and not self.keep_original

    @classmethod
    def of(cls, kinds: tuple[PiiKind, ...], *, audio: bool, keep_original: bool) -> Self:
        """The same for kinds in any order."""
        return cls(tuple(kind for kind in PII_KINDS if kind in kinds), audio, keep_original)

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None) -> Self:
        """The inverse of `dataclasses.asdict`; None gives the default."""
        return (
            cls()
            if data is None
            else cls.of(tuple(data["kinds"]), audio=data["audio"], keep_original=data["keep_original"])
        )


NO_REDACTION: Final = Redaction()


def placeholder(kind: PiiKind) -> str:
    """The placeholder for redacted words."""
    return f"[{kind.upper()}]"


PLACEHOLDERS: Final = frozenset(placeholder(kind) for kind in PII_KINDS)
