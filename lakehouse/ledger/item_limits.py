"""How many items an account may have: cloned voices, recorded consents, known speakers, webhooks."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.errors import Conflict
from schemas.settings import LimitSettings


@dataclass(frozen=True, slots=True)
class ItemLimit:
    """The limit of one kind of item. It is checked under the lock of the kind, so concurrent requests cannot pass it."""

    most: int
    """0 for no limit."""
    kind: str
    """In the plural."""
    setting: str

    def check(self, count: int) -> None:
        """Raises Conflict(code="too_many_...") for an account that has ``count`` items and wants another one."""
        if self.most and count >= self.most:
            raise Conflict(
                f"the account has {count} {self.kind}; {self.setting} allows {self.most}, so delete one first",
                code=f"too_many_{self.kind}",
            )


@dataclass(frozen=True, slots=True)
class ItemLimits:
    """The limits of all kinds."""

    voices: ItemLimit
    consents: ItemLimit
    speakers: ItemLimit
    webhooks: ItemLimit

    @classmethod
    def of(cls, settings: LimitSettings) -> ItemLimits:
        """Those of the settings."""
        return cls(
            ItemLimit(settings.voices_per_account, "voices", "FLUXIONS_VOICES_PER_ACCOUNT"),
            ItemLimit(settings.consents_per_account, "consents", "FLUXIONS_CONSENTS_PER_ACCOUNT"),
            ItemLimit(settings.speakers_per_account, "speakers", "FLUXIONS_SPEAKERS_PER_ACCOUNT"),
            ItemLimit(settings.webhooks_per_account, "webhooks", "FLUXIONS_WEBHOOKS_PER_ACCOUNT"),
        )
