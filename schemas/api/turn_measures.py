"""The measures of a conversation's turns."""

from __future__ import annotations

from pydantic import BaseModel, Field


class TurnMeasures(BaseModel):
    """Where a turn is heard, and measures of an answer. Its latencies count from the end of the speech that it answers."""

    start_secs: float | None = Field(None, description="Start of its speech in the recording of both sides, s.")
    end_secs: float | None = Field(None, description="End of its speech in that recording, as far as it was heard, s.")
    end_of_turn_secs: float | None = None
    first_token_secs: float | None = None
    first_sound_secs: float | None = None
    first_sent_secs: float | None = None
    words_said: int | None = None
    words_heard: int | None = None
    interrupted: bool | None = None
