"""Measures how often a pause within a turn is mistaken for its end, and the delay of detected ends, in the time of the
audio.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

import numpy as np

from audio.vad import VoiceActivity
from benchmarks.measure import Measure, percentile
from benchmarks.platform.hesitant_turns import CHOSEN_ON, HELD_BACK, HesitantSpeaker, HesitantTurn
from schemas.api.realtime.session_config import AudioInput, SemanticVad, ServerVad, TurnDetection
from schemas.domain import SAMPLE_RATE_HZ, Seconds
from schemas.settings import Settings
from schemas.turn_taking import EndOfTurnDetector
from serve.engines.end_of_turn.smart_turn import build
from serve.engines.in_process import InProcessEngines
from serve.realtime.hearing import HeardTurn, Hearing
from serve.realtime.recognition import Recognition
from serve.realtime.turn_detectors import detector_of
from serve.realtime.turn_transcript import TurnTranscript

_SILENCE_MS: Final = 600
_EARLY_SECS: Final[Seconds] = 2 * 512 / SAMPLE_RATE_HZ
"""A detector may find the end some frames before the last sample."""
_WINDOW_SECS: Final[Seconds] = 13.0
_DETECTIONS: Final[tuple[tuple[str, TurnDetection], ...]] = (
    (f"server_vad, {_SILENCE_MS} ms", ServerVad(type="server_vad", silence_duration_ms=_SILENCE_MS)),
    ("semantic_vad, auto", SemanticVad(type="semantic_vad")),
    ("semantic_vad, low", SemanticVad(type="semantic_vad", eagerness="low")),
    ("semantic_vad, high", SemanticVad(type="semantic_vad", eagerness="high")),
)


class _Ends:
    """A `serve.realtime.hearing.Listener` that records where turns ended, s."""

    def __init__(self) -> None:
        self.secs: list[Seconds] = []

    def on_speech_started(self, item_id: str, audio_start_ms: int) -> None:
        pass

    def on_speech_stopped(self, item_id: str, audio_end_ms: int, turn: HeardTurn) -> None:
        self.secs.append(audio_end_ms / 1000)
        turn.transcript.cancel()

    def on_frame(self, position_ms: int, spoken_secs: Seconds, may_begin: bool) -> None:
        pass

    def on_settled(self, transcript: TurnTranscript) -> None:
        pass

    def on_resumed(self) -> None:
        pass

    def on_dropped(self) -> None:
        pass


class _Listening:
    """The parts of a session that find the ends of turns."""

    def __init__(self, settings: Settings) -> None:
        self._activity = VoiceActivity()
        self._detector: EndOfTurnDetector = build(settings)
        self._recognition = Recognition(InProcessEngines(settings), self._activity, _WINDOW_SECS)

    async def ends(self, detection: TurnDetection, turn: HesitantTurn) -> Sequence[Seconds]:
        """Where turns ended in the audio of one, s."""
        ends = _Ends()
        hearing = Hearing(
            self._activity,
            AudioInput(turn_detection=detection),
            listener=ends,
            detector=partial(detector_of, self._detector, self._recognition.ends_sentence),
            recognize=self._recognition.text,
            window_secs=_WINDOW_SECS,
            max_turn_secs=300.0,
        )
        await hearing.append((np.clip(turn.samples, -1, 1) * 32767).astype("<i2").tobytes())
        hearing.close()
        return ends.secs


def measure(settings: Settings, num_turns: int, *, chosen_on: bool = False) -> Sequence[Measure]:
    """``num_turns`` rendered turns with each detection: the held-out turns, or those on which settings were chosen.

    Raises Unavailable without the weights of Kokoro, the recogniser or the end-of-turn model.
    """
    speaker = HesitantSpeaker(settings)
    turns = list(speaker.turns(CHOSEN_ON if chosen_on else HELD_BACK, num_turns))
    speaker.close()
    return asyncio.run(_measure(_Listening(settings), turns))


async def _measure(listening: _Listening, turns: Sequence[HesitantTurn]) -> Sequence[Measure]:
    longer = sum(1000 * turn.pause_secs > _SILENCE_MS for turn in turns)
    found = [Measure(f"turns with a pause of over {_SILENCE_MS} ms", longer / len(turns), "")]
    for name, detection in _DETECTIONS:
        cut, delays = 0, []
        for turn in turns:
            ends = await listening.ends(detection, turn)
            is_cut = any(at < turn.end_secs - _EARLY_SECS for at in ends)
            cut += is_cut
            delays += [ends[-1] - turn.end_secs] if ends and not is_cut else []
        found.append(Measure(f"{name}: turns cut off", cut / len(turns), ""))
        if delays:
            found.append(Measure(f"{name}: end found after, p50", percentile(delays, 0.5), "s"))
            found.append(Measure(f"{name}: end found after, p95", percentile(delays, 0.95), "s"))
    return found
