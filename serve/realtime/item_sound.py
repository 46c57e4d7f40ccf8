"""Decodes the audio of clients' items, and encodes that of retrieved items."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from audio.pcm import to_float, to_int16
from audio.resample import Resampler
from audio.wire_formats import WireFormat, bytes_per_sample, converted, decode, rate_of
from schemas.api.realtime.client_events import ClientItem, InputAudio, UserMessage
from schemas.api.realtime.session_config import Config, RealtimeConfig
from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ
from schemas.errors import InvalidRequest
from serve.realtime.input_audio import decoded_sound
from serve.realtime.items import HeardContent, Item, SpokenContent


def heard_sound(item: ClientItem, form: WireFormat) -> dict[int, HeardContent]:
    """The audio of a client's item by index of the part; parts with only a transcript have none. Raises InvalidRequest."""
    if not isinstance(item, UserMessage):
        return {}
    found: dict[int, HeardContent] = {}
    for place, part in enumerate(item.content):
        if isinstance(part, InputAudio) and part.audio:
            param = f"item.content[{place}].audio"
            sound = decoded_sound(part.audio, param)
            if len(sound) % bytes_per_sample(form):
                raise InvalidRequest(f"{param}: the last sample is incomplete", code="invalid_value", param=param)
            resampler = Resampler(SAMPLE_RATE_HZ)
            pieces = (resampler.feed(decode(sound, form), rate_of(form)), resampler.finish())
            samples = to_int16(np.concatenate(pieces))
            found[place] = HeardContent(samples.tobytes(), samples.size / SAMPLE_RATE_HZ)
    return found


def retrieved(item: Item, config: Config) -> dict[str, Any]:
    """An item with its kept audio, in the session's formats, base64."""
    body = item.body()
    for part, shown in zip(item.content, body.get("content", ()), strict=True):
        if isinstance(part, HeardContent) and part.pcm:
            shown["audio"] = _encoded(part.pcm, SAMPLE_RATE_HZ, config.input.format.type)
        elif isinstance(part, SpokenContent) and part.pcm and isinstance(config, RealtimeConfig):
            shown["audio"] = _encoded(bytes(part.pcm), SPEECH_RATE_HZ, config.audio.output.format.type)
    return body


def _encoded(pcm: bytes, rate_hz: int, form: WireFormat) -> str:
    return base64.b64encode(converted(to_float(np.frombuffer(pcm, "<i2")), rate_hz, form)).decode()
