"""The measures of a conversation's turns."""

from __future__ import annotations

from pydantic import BaseModel


class TurnMeasures(BaseModel):
    """Measures of an answer. Times count from the end of the speech that it answers."""

    end_of_turn_secs: float | None = None
    first_token_secs: float | None = None
    first_sound_secs: float | None = None
    first_sent_secs: float | None = None
    words_said: int | None = None
    words_heard: int | None = None
    interrupted: bool | None = None
