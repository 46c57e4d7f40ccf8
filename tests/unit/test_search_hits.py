"""What a search says of a transcript, beside the transcript itself."""

from __future__ import annotations

import datetime as dt

import pytest

from schemas.api.history_search import transcription_hit
from schemas.api.transcription import SegmentBody
from schemas.domain import Segment, Word

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("second", [0.0, 10.308, 10.3049, 7.005])
def test_the_second_of_a_hit_is_the_start_of_its_segment(second: float) -> None:
    word = Word("river", second, second + 0.4)
    segment = Segment(0, 0, word.text, second, word.end_secs, (word,))
    row = {
        "id": 1,
        "status": "completed",
        "filename": "a.wav",
        "created_at": dt.datetime.now(dt.UTC),
        "audio_duration_secs": 20.0,
    }
    hit = transcription_hit(row, "<mark>river</mark>", second)
    assert hit.start_secs == SegmentBody.of(segment, words=False).start
