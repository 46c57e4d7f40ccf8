"""The beta version of the protocol, for older clients.

Some names differ, sessions are flat, and an item is announced by one event instead of two. Events are translated at the
socket in both directions. Source: `openai.types.beta.realtime`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from schemas.api.realtime.server_events import Event

HEADER: Final = ("openai-beta", "realtime=v1")
SUBPROTOCOL: Final = "openai-beta.realtime-v1"

_FORMATS: Final = {"pcm16": {"type": "audio/pcm", "rate": 24000}} | {
    f"g711_{law}law": {"type": f"audio/pcm{law}"} for law in ("u", "a")
}
_FORMAT_NAMES: Final = {form["type"]: name for name, form in _FORMATS.items()}
_FLAT_FIELDS: Final = frozenset(
    {
        "modalities",
        "voice",
        "input_audio_format",
        "output_audio_format",
        "input_audio_transcription",
        "input_audio_noise_reduction",
        "turn_detection",
        "max_response_output_tokens",
        "temperature",
        "speed",
    }
)
_INPUT: Final = {
    "input_audio_transcription": "transcription",
    "input_audio_noise_reduction": "noise_reduction",
    "turn_detection": "turn_detection",
}
_EVENTS: Final = (
    ("response.output_audio_transcript.", "response.audio_transcript."),
    ("response.output_audio.", "response.audio."),
    ("response.output_text.", "response.text."),
)
_CONTENT: Final = {"output_text": "text", "output_audio": "audio"}


def is_beta_session(body: Mapping[str, Any]) -> bool:
    """Whether a client's message is a beta session: flat fields and no type."""
    session = body.get("session")
    if body.get("type") == "transcription_session.update":
        return True
    return (
        body.get("type") == "session.update"
        and isinstance(session, Mapping)
        and "type" not in session
        and bool(_FLAT_FIELDS & set(session))
    )


def to_ga(body: Mapping[str, Any]) -> dict[str, Any]:
    """A client's beta message in the current protocol."""
    kind = body.get("type")
    if kind == "transcription_session.update" and isinstance(body.get("session"), Mapping):
        session = ga_session(body["session"], "transcription")
        return {**body, "type": "session.update", "session": session}
    if kind == "session.update" and isinstance(body.get("session"), Mapping):
        return {**body, "session": ga_session(body["session"], "realtime")}
    if kind == "response.create" and isinstance(body.get("response"), Mapping):
        return {**body, "response": _ga_response(body["response"])}
    return dict(body)


def ga_session(flat: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The nested form of a flat session; unknown fields are kept as they are."""
    if "type" in flat:
        return dict(flat)
    nested = {name: value for name, value in flat.items() if name not in _FLAT_FIELDS}
    heard: dict[str, Any] = {new: flat[old] for old, new in _INPUT.items() if old in flat}
    said: dict[str, Any] = {name: flat[name] for name in ("voice", "speed") if name in flat}
    if "input_audio_format" in flat:
        heard["format"] = _format(flat["input_audio_format"])
    if "output_audio_format" in flat:
        said["format"] = _format(flat["output_audio_format"])
    if "modalities" in flat:
        nested["output_modalities"] = _ga_modalities(flat["modalities"])
    if "max_response_output_tokens" in flat:
        nested["max_output_tokens"] = flat["max_response_output_tokens"]
    if "temperature" in flat:
        nested["temperature"] = flat["temperature"]
    audio = {**({"input": heard} if heard else {}), **({"output": said} if said else {})}
    return {"type": kind, **nested, **({"audio": audio} if audio else {})}


def _ga_response(flat: Mapping[str, Any]) -> dict[str, Any]:
    nested = {k: v for k, v in flat.items() if k not in ("modalities", "voice", "output_audio_format")}
    said = {"voice": flat["voice"]} if "voice" in flat else {}
    if "output_audio_format" in flat:
        said["format"] = _format(flat["output_audio_format"])
    if "modalities" in flat:
        nested["output_modalities"] = _ga_modalities(flat["modalities"])
    if "max_response_output_tokens" in nested:
        nested["max_output_tokens"] = nested.pop("max_response_output_tokens")
    return {**nested, **({"audio": {"output": said}} if said else {})}


def _format(name: Any) -> Any:
    return _FORMATS.get(name, {"type": name}) if isinstance(name, str) else name


def _ga_modalities(names: Any) -> Any:
    """Beta clients request audio and text together; the current protocol names audio only."""
    return ["audio"] if isinstance(names, list) and "audio" in names else names


def from_ga(event: Event) -> Event | None:
    """A server event in the beta protocol; None if it has no equivalent."""
    kind: str = event["type"]
    if kind == "conversation.item.done":
        return None
    if kind in ("session.created", "session.updated"):
        session = event["session"]
        prefix = "transcription_session" if session["type"] == "transcription" else "session"
        return {**event, "type": kind.replace("session", prefix), "session": flat_session(session)}
    changed = dict(event)
    changed["type"] = next((old + kind.removeprefix(new) for new, old in _EVENTS if kind.startswith(new)), kind)
    if kind == "conversation.item.added":
        changed["type"] = "conversation.item.created"
    if "item" in event:
        changed["item"] = _flat_item(event["item"])
    if "response" in event:
        changed["response"] = _flat_response(event["response"])
    return changed


def flat_session(session: Mapping[str, Any]) -> dict[str, Any]:
    """The flat form of a session."""
    heard = session["audio"]["input"]
    flat = {k: v for k, v in session.items() if k not in ("type", "audio", "output_modalities", "max_output_tokens")}
    flat["input_audio_format"] = _FORMAT_NAMES[heard["format"]["type"]]
    flat["input_audio_transcription"] = heard["transcription"]
    flat["input_audio_noise_reduction"] = heard["noise_reduction"]
    flat["turn_detection"] = heard["turn_detection"]
    if session["type"] == "transcription":
        return flat
    said = session["audio"]["output"]
    flat["modalities"] = _flat_modalities(session["output_modalities"])
    flat["voice"], flat["speed"] = said["voice"], said["speed"]
    flat["output_audio_format"] = _FORMAT_NAMES[said["format"]["type"]]
    flat["max_response_output_tokens"] = session["max_output_tokens"]
    flat["temperature"] = session.get("temperature", 0.8)
    return flat


def _flat_modalities(names: list[str]) -> list[str]:
    return ["text", "audio"] if "audio" in names else names


def _flat_item(item: Mapping[str, Any]) -> dict[str, Any]:
    if "content" not in item:
        return dict(item)
    content = [{**part, "type": _CONTENT.get(part["type"], part["type"])} for part in item["content"]]
    return {**item, "content": content}


def _flat_response(response: Mapping[str, Any]) -> dict[str, Any]:
    flat = {name: value for name, value in response.items() if name not in ("audio", "output_modalities")}
    said = response["audio"]["output"]
    flat["modalities"] = _flat_modalities(response["output_modalities"])
    flat["voice"], flat["output_audio_format"] = said["voice"], _FORMAT_NAMES[said["format"]["type"]]
    flat["output"] = [_flat_item(item) for item in response["output"]]
    return flat
