"""The check of production engines: a recogniser hears the passage, and its words are counted against the text's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

from schemas.domain import Recognition
from schemas.engines import Samples
from serve.tts.verify.lexicon import words_of
from serve.tts.verify.verdict import Expected, Verdict, edits

MIN_WORDS: Final = 4
"""Fewer words than this say nothing: one homophone would be a quarter of them."""
MAX_WORD_ERROR_RATE: Final = 0.3
MAX_WORD_ERROR_RATE_EMBEDDED: Final = 0.7
"""By the embedded recogniser, which gets a third of the words of good speech wrong: it finds what is lost or garbled."""

Recognize = Callable[[Sequence[Samples]], list[Recognition]]


class RecognizerVerifier:
    """A `Verifier` by free recognition, as strict as the recogniser is good."""

    def __init__(
        self,
        recognize: Recognize,
        max_word_error_rate: float = MAX_WORD_ERROR_RATE,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        """``recognize`` is a `Recognizer.recognize`, called by one thread at a time; ``close`` ends that recogniser."""
        self.close = close
        self._recognize = recognize
        self._turn = threading.Lock()
        self._max_word_error_rate = max_word_error_rate

    def check(self, samples: Samples, words: Expected) -> Verdict:
        """See `Verifier.check`; with fewer than four words everything is ``ok`` and the rate None."""
        expected = [word for word in words if word is not None]
        if len(expected) < MIN_WORDS:
            return Verdict(True, None, 0.0)
        with self._turn:
            (recognition,) = self._recognize([samples])
        heard = [part for word in recognition.words for part in words_of(word.text)]
        rate = edits(expected, heard) / len(expected)
        if rate <= self._max_word_error_rate:
            return Verdict(True, rate, rate)
        limit = self._max_word_error_rate
        return Verdict(False, min(1.0, rate), min(1.0, rate), (f"word error rate {rate:.2f}, over {limit:.2f}",))
