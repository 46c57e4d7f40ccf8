"""Rules of a live protocol about its audio, at given times."""

from __future__ import annotations

import pytest

from schemas.errors import InvalidRequest
from serve.live.assemblyai_protocol import AssemblyAIProtocol, parse_query
from serve.live.audio_rules import AudioCheck

pytestmark = pytest.mark.unit


def check(**query: str) -> AudioCheck:
    rules = parse_query({"sample_rate": "8000", **query}).rules
    assert rules is not None
    return AudioCheck(rules, 100.0)


def test_lengths_of_messages_are_those_of_the_encoding() -> None:
    for encoding, bytes_per_ms in (("pcm_s16le", 16), ("pcm_mulaw", 8)):
        made = check(encoding=encoding)
        for _ in range(2):
            made.message(50 * bytes_per_ms)
            made.message(1000 * bytes_per_ms)
        with pytest.raises(InvalidRequest, match=r"1001\.0 ms"):
            made.message(1001 * bytes_per_ms)
        made.message(49 * bytes_per_ms)
        with pytest.raises(InvalidRequest, match=r"49\.0 ms"):
            made.message(50 * bytes_per_ms)
    ogg = check(encoding="ogg_opus")
    for num_bytes in (1, 100_000, 1):
        ogg.message(num_bytes)


def test_audio_may_come_five_minutes_before_its_time() -> None:
    made = check()
    made.pace(300.0, 100.0)
    made.pace(310.0, 110.0)
    with pytest.raises(InvalidRequest, match=r"Received 310\.5 sec\. audio in 10\.0 sec"):
        made.pace(310.5, 110.0)


def test_a_session_ends_when_its_begin_said() -> None:
    made = check()
    assert made.left_secs(100.0 + 3 * 3600 - 1) == 1
    with pytest.raises(InvalidRequest, match="Session Expired") as refused:
        made.left_secs(100.0 + 3 * 3600)
    messages, code, reason = AssemblyAIProtocol({}).failed(refused.value)
    assert (messages[0]["error_code"], code) == (3008, 3008)
    assert reason.startswith("Session Expired")
