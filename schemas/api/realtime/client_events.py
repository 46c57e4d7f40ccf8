"""Every event that a Realtime client may send, and the items and responses in them. Source: `openai.types.realtime`."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field, StringConstraints, TypeAdapter

from schemas.api.realtime.session_config import (
    AudioFormat,
    ChosenTool,
    MaxOutputTokens,
    Modalities,
    RealtimeBody,
    Tools,
    VoiceReference,
)

ItemId = Annotated[str, Field(min_length=1, max_length=512)]
_Text = Annotated[str, Field(max_length=4 * 1024 * 1024)]


class InputText(RealtimeBody):
    """Text of a user or of the system; older clients call it ``text``."""

    type: Literal["input_text", "text"]
    text: _Text


class InputAudio(RealtimeBody):
    """Audio of a user in the session's input format, base64; ``transcript`` is its text, if the client knows it."""

    type: Literal["input_audio"]
    audio: str | None = None
    transcript: str | None = None


class OutputText(RealtimeBody):
    """Text of the assistant; older clients call it ``text``."""

    type: Literal["output_text", "text"]
    text: _Text


class UserMessage(RealtimeBody):
    """What a user said or wrote."""

    type: Literal["message"]
    role: Literal["user"]
    id: ItemId | None = None
    content: list[Annotated[InputText | InputAudio, Field(discriminator="type")]] = Field(min_length=1)


class SystemMessage(RealtimeBody):
    """A further instruction for the model."""

    type: Literal["message"]
    role: Literal["system"]
    id: ItemId | None = None
    content: list[InputText] = Field(min_length=1)


class AssistantMessage(RealtimeBody):
    """An earlier answer of the assistant, sent by the client. It is always text."""

    type: Literal["message"]
    role: Literal["assistant"]
    id: ItemId | None = None
    content: list[OutputText] = Field(min_length=1)


class FunctionCall(RealtimeBody):
    """A function call by the model."""

    type: Literal["function_call"]
    id: ItemId | None = None
    name: str = Field(min_length=1, max_length=256)
    call_id: str | None = Field(None, min_length=1, max_length=512)
    arguments: _Text


class FunctionCallOutput(RealtimeBody):
    """The result of a function call."""

    type: Literal["function_call_output"]
    id: ItemId | None = None
    call_id: str = Field(min_length=1, max_length=512)
    output: _Text


class ItemReference(RealtimeBody):
    """An item of the conversation, in the ``input`` of a response."""

    type: Literal["item_reference"]
    id: ItemId


Message: TypeAlias = Annotated[UserMessage | SystemMessage | AssistantMessage, Field(discriminator="role")]
ClientItem: TypeAlias = Annotated[Message | FunctionCall | FunctionCallOutput, Field(discriminator="type")]
InputItem: TypeAlias = Annotated[Message | FunctionCall | FunctionCallOutput | ItemReference, Field(discriminator="type")]


class ResponseAudioOutput(RealtimeBody):
    """Voice and format of this response."""

    format: AudioFormat | None = None
    voice: Annotated[str, Field(min_length=1, max_length=128)] | VoiceReference | None = None


class ResponseAudio(RealtimeBody):
    """Audio options of a response."""

    output: ResponseAudioOutput = ResponseAudioOutput()


_MetadataKey = Annotated[str, StringConstraints(max_length=64)]
_MetadataValue = Annotated[str, StringConstraints(max_length=512)]


class ResponseParams(RealtimeBody):
    """Options of one response that override the session's; None keeps the session's value."""

    conversation: Literal["auto", "none"] = "auto"
    output_modalities: Modalities | None = None
    instructions: str | None = Field(None, max_length=200_000)
    audio: ResponseAudio | None = None
    tools: Tools | None = None
    tool_choice: ChosenTool | None = None
    max_output_tokens: MaxOutputTokens | None = None
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    metadata: dict[_MetadataKey, _MetadataValue] | None = Field(None, max_length=16)
    input: list[InputItem] | None = Field(None, max_length=1000)


class _ClientEvent(RealtimeBody):
    event_id: str | None = Field(None, max_length=512)


class UpdateSession(_ClientEvent):
    """Change the session; its fields are validated when they are merged."""

    type: Literal["session.update"]
    session: dict[str, Any]


class AppendAudio(_ClientEvent):
    """More audio, base64."""

    type: Literal["input_audio_buffer.append"]
    audio: str


class CommitAudio(_ClientEvent):
    """Turn the audio in the buffer into a user's message."""

    type: Literal["input_audio_buffer.commit"]


class ClearAudio(_ClientEvent):
    """Drop the audio in the buffer."""

    type: Literal["input_audio_buffer.clear"]


class CreateItem(_ClientEvent):
    """Add an item: at the end, at the ``root``, or after another."""

    type: Literal["conversation.item.create"]
    previous_item_id: str | None = None
    item: ClientItem


class RetrieveItem(_ClientEvent):
    """Request an item."""

    type: Literal["conversation.item.retrieve"]
    item_id: str


class TruncateItem(_ClientEvent):
    """Report how much of an assistant's audio was played."""

    type: Literal["conversation.item.truncate"]
    item_id: str
    content_index: int = Field(ge=0)
    audio_end_ms: int = Field(ge=0)


class DeleteItem(_ClientEvent):
    """Remove an item from the conversation."""

    type: Literal["conversation.item.delete"]
    item_id: str


class CreateResponse(_ClientEvent):
    """Request a response."""

    type: Literal["response.create"]
    response: ResponseParams = ResponseParams()


class CancelResponse(_ClientEvent):
    """Stop a response."""

    type: Literal["response.cancel"]
    response_id: str | None = None


ClientEvent: TypeAlias = (
    UpdateSession
    | AppendAudio
    | CommitAudio
    | ClearAudio
    | CreateItem
    | RetrieveItem
    | TruncateItem
    | DeleteItem
    | CreateResponse
    | CancelResponse
)
CLIENT_EVENT: Final[TypeAdapter[ClientEvent]] = TypeAdapter(Annotated[ClientEvent, Field(discriminator="type")])
CLIENT_EVENT_TYPES: Final = frozenset(
    {
        "session.update",
        "input_audio_buffer.append",
        "input_audio_buffer.commit",
        "input_audio_buffer.clear",
        "conversation.item.create",
        "conversation.item.retrieve",
        "conversation.item.truncate",
        "conversation.item.delete",
        "response.create",
        "response.cancel",
    }
)
