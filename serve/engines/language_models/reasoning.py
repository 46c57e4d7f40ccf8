"""Removes reasoning, which is between ``<think>`` and ``</think>``, from streamed text."""

from __future__ import annotations

from typing import Final

_TAGS: Final = (("<think>", "</think>"), ("<thinking>", "</thinking>"))
_OPENING: Final = tuple(opening for opening, _ in _TAGS)


class SpokenText:
    """Takes text in pieces and returns it without reasoning.

    A possible beginning of a tag is held back until it is decided. Without an end tag, all text after the start is removed.
    """

    def __init__(self) -> None:
        self._held = ""
        self._closing: str | None = None
        self._begins = True
        """Whether no text was returned yet, or reasoning has just ended; white space is dropped there."""

    def feed(self, piece: str) -> str:
        """Append text; returns the text that is certainly not reasoning."""
        self._held += piece
        spoken = ""
        while self._held:
            if self._closing is not None:
                if not self._skip_to_end(self._closing):
                    break
                continue
            place, tag = _first_tag(self._held)
            if tag is None:
                ready = len(self._held) - _open_end(self._held, _OPENING)
                spoken += self._held[:ready]
                self._held = self._held[ready:]
                break
            spoken += self._held[:place]
            self._held = self._held[place + len(tag) :]
            self._closing = dict(_TAGS)[tag]
        return self._given(spoken)

    def finish(self) -> str:
        """The held-back text, at the end of the answer."""
        rest = "" if self._closing is not None else self._held
        self._held = ""
        return self._given(rest)

    def _skip_to_end(self, closing: str) -> bool:
        place = self._held.find(closing)
        if place < 0:
            self._held = self._held[len(self._held) - _open_end(self._held, (closing,)) :]
            return False
        self._held, self._closing, self._begins = self._held[place + len(closing) :], None, True
        return True

    def _given(self, text: str) -> str:
        if self._begins:
            text = text.lstrip()
        if text:
            self._begins = False
        return text


def _first_tag(text: str) -> tuple[int, str | None]:
    found = [(place, tag) for tag in _OPENING if (place := text.find(tag)) >= 0]
    return min(found, default=(-1, None))


def _open_end(text: str, tags: tuple[str, ...]) -> int:
    """The number of characters at the end of ``text`` that may begin one of ``tags``."""
    longest = min(len(text), max(map(len, tags)) - 1)
    return next((n for n in range(longest, 0, -1) if any(tag.startswith(text[-n:]) for tag in tags)), 0)
