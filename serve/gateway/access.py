"""The access rules of all routes: required scope and largest body. Routes without a rule are not served.

`AccessRules.of` returns the rules; `serve.gateway.gate` applies them before a route reads a body.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import parse_qsl

from schemas.scopes import ADMIN, OPERATOR
from schemas.settings import Settings

OPEN: Final = "open"
"""No key is needed; a sent key is ignored."""
ANY: Final = "any"
"""Any valid key."""

_NO_BODY_BYTES: Final = 64 * 1024
"""For routes without a body; a small body is ignored instead of refused."""
_FORM_BYTES: Final = 256 * 1024
"""Size of a form without its files."""

_WIDE_FORM_BYTES: Final = 128 * 1024 * 1024
"""Size of the text fields beside a recording of the largest size, including clips of known speakers."""
_READS: Final = frozenset({"GET", "HEAD"})
_CHANGES: Final = frozenset({"POST", "PUT", "PATCH"})

Body = Literal["none", "json", "upload", "form", "clip", "frame", "lines"]


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule of a path, and of paths below it that have no other rule. ``*`` matches one segment."""

    path: str
    scope: str
    body: Body = "json"
    optional: bool = False
    """Whether a key is optional; a sent key must have the scope."""
    reads_open: bool = False
    """Whether a GET of exactly this path needs no key."""
    searches: bool = False
    """Whether the time of a response counts as search."""
    streams: bool = False
    """Whether a response may take as long as a job."""
    waits: bool = False
    """Whether a GET with `wait_secs` in its query waits for a job, as a stream of events does."""
    speaks: bool = False
    """Whether a response is speech, which may take as long as its text."""
    audit: bool = False
    """Whether changes through exactly this path are recorded in ``audit_events``; deletions always are."""
    exports: bool = False
    """Whether a GET of exactly this path gives an operator data of other accounts, and is recorded."""

    def follows_job(self, query: bytes) -> bool:
        """Whether a response to a request with this query string may take as long as a job."""
        return self.streams or (self.waits and any(name == "wait_secs" for name, _ in parse_qsl(query.decode("latin-1"))))

    @property
    def lasts(self) -> bool:
        """Whether any request or its response may take minutes, so that its key may be revoked meanwhile."""
        return self.streams or self.speaks or self.body in ("upload", "form", "clip")


RULES: Final = (
    Rule("/health", OPEN, "none"),
    Rule("/ready", OPEN, "none"),
    Rule("/docs", OPEN, "none"),
    Rule("/openapi.json", OPEN, "none"),
    Rule("/studio", OPEN, "none"),  # the files of the page; its data come from the routes below
    Rule("/objects", OPEN, "none"),  # the signature of the URL stands in place of a key
    Rule("/submit", "transcribe", "upload"),
    Rule("/akro/submit", "transcribe", "upload"),
    Rule("/transcriptions", "transcribe", "none", waits=True),
    Rule("/transcriptions/*/events", "transcribe", "none", streams=True),
    Rule("/transcriptions/*/corrections", "transcribe"),
    Rule("/history", "history", "none"),
    Rule("/history/tts/*/audio", "history", "none", speaks=True),
    Rule("/history/search", "history", "none", searches=True),
    Rule("/history/conversations/search", "history", "none", searches=True),
    Rule("/delta-sharing", "history"),
    Rule("/delta-sharing/shares/*/schemas/*/tables/*/query", "history", searches=True),
    Rule("/vui/voices", OPEN, "none"),
    Rule("/vui/v1/tts", "speak", optional=True, speaks=True),
    Rule("/vui/v1/voices", "speak", "clip", audit=True),
    Rule("/vui/v1/voices/delete", "speak", audit=True),
    Rule("/v1", ANY),
    Rule("/v1/tokens", ANY, audit=True),
    Rule("/v1/audio/transcriptions", "transcribe", "form"),
    Rule("/v1/audio/translations", "transcribe", "form"),
    Rule("/v1/audio/speech", "speak", speaks=True),
    Rule("/v1/audio/voices", "speak", "clip", reads_open=True, audit=True),
    Rule("/v1/audio/voice_consents", "speak", "clip", audit=True),
    Rule("/v1/audio/models", OPEN, "none"),
    Rule("/v1/speakers", "transcribe", "clip", audit=True),
    Rule("/v1/usage", "history", "none"),
    Rule("/v1/webhooks", "history", audit=True),
    Rule("/v1/webhooks/*/rotate_secret", "history", audit=True),
    Rule("/v1/listen", "transcribe"),
    Rule("/v3/ws", "transcribe"),
    Rule("/v1/realtime", "realtime"),
    Rule("/v1/realtime/client_secrets", "realtime", audit=True),
    Rule("/v1/realtime/sessions", "realtime", audit=True),
    Rule("/v1/realtime/transcription_sessions", "realtime", audit=True),
    Rule("/realtime", "realtime"),
    Rule("/realtime/client_secrets", "realtime", audit=True),
    Rule("/operator", OPERATOR),
    Rule("/operator/jobs/*/complete", OPERATOR, "frame"),
    Rule("/operator/jobs/*/playback", OPERATOR, "upload"),
    Rule("/operator/jobs/*/peaks", OPERATOR, "frame"),
    Rule("/operator/recognize", OPERATOR, "frame"),
    Rule("/operator/diarization", OPERATOR, "frame"),
    Rule("/operator/events", OPERATOR, "frame"),
    Rule("/operator/archives/*/audio", OPERATOR, "upload"),
    Rule("/operator/archives/*/finish", OPERATOR, "frame"),
    Rule("/operator/import/*", OPERATOR, "lines", audit=True),
    Rule("/operator/accounts", ADMIN, "none"),
    Rule("/operator/keys", ADMIN, audit=True),
    Rule("/operator/keys/*/rotate", ADMIN, audit=True),
    Rule("/operator/maintenance/*", OPERATOR, audit=True),
    Rule("/operator/archives", OPERATOR, audit=True),
    Rule("/operator/archives/*/cancel", OPERATOR, audit=True),
    Rule("/operator/archives/select", OPERATOR, audit=True),
    Rule("/operator/archives/*/files", OPERATOR, "none", exports=True),
    Rule("/operator/archives/*/diff", OPERATOR, "none", exports=True),
)


class AccessRules:
    """Looks up the rule of a path: the rule of the longest prefix that has one."""

    def __init__(self, rules: Iterable[Rule], body_bytes: dict[Body, int]) -> None:
        self._rules = sorted(((_segments(rule.path), rule) for rule in rules), key=lambda pair: -len(pair[0]))
        self._body_bytes = body_bytes

    @classmethod
    def of(cls, settings: Settings) -> AccessRules:
        """The platform's rules, with the limits of its settings."""
        limits = settings.limits
        return cls(
            RULES,
            {
                "none": _NO_BODY_BYTES,
                "json": limits.json_max_bytes,
                "upload": limits.max_upload_bytes + _FORM_BYTES,
                "form": limits.max_upload_bytes + _WIDE_FORM_BYTES,
                "clip": 2 * settings.speech.clone_max_bytes + _FORM_BYTES,
                "frame": limits.frame_max_bytes,
                "lines": limits.import_max_bytes,
            },
        )

    def find(self, path: str) -> Rule | None:
        """The rule of a path, or None, in which case it is not served."""
        asked = _segments(path)
        for segments, rule in self._rules:
            if len(segments) <= len(asked) and all(a in ("*", b) for a, b in zip(segments, asked, strict=False)):
                return rule
        return None

    def is_open(self, method: str, path: str, rule: Rule | None) -> bool:
        """Whether a request needs no key."""
        if rule is None or rule.scope == OPEN:
            return True
        return rule.reads_open and method in _READS and len(_segments(rule.path)) == len(_segments(path))

    def audited(self, method: str, path: str, rule: Rule | None) -> bool:
        """Whether a request is recorded if it succeeds."""
        if rule is None or rule.scope == OPEN:
            return False
        is_this_path = len(_segments(rule.path)) == len(_segments(path))
        recorded = _CHANGES if rule.audit else _READS if rule.exports else frozenset()
        return method == "DELETE" or (is_this_path and method in recorded)

    def body_bytes(self, rule: Rule | None) -> int:
        """The largest body that is read."""
        return self._body_bytes[rule.body] if rule is not None else _NO_BODY_BYTES


def _segments(path: str) -> list[str]:
    # The patterns of Starlette's routes end with `$`, which matches also before a newline at the end.
    return path.removesuffix("\n").removeprefix("/").removesuffix("/").split("/")
