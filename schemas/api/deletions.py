"""Answers to deletions of renders, conversations and accounts."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class DeletedTts(BaseModel):
    """A render that was deleted."""

    object: Literal["tts"] = "tts"
    id: int
    deleted: Literal[True] = True


class DeletedConversation(BaseModel):
    """A conversation that was deleted; ``id`` is its session id."""

    object: Literal["conversation"] = "conversation"
    id: str
    deleted: Literal[True] = True


class DeletedAccount(BaseModel):
    """An account that was deleted with all its data."""

    object: Literal["account"] = "account"
    id: str
    deleted: Literal[True] = True
