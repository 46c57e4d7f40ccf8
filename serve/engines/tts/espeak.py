"""espeak-ng through ctypes: a stream of 22,050 Hz speech with the start of every word.

espeak-ng has one voice, one set of parameters and one callback for the whole process, so a render holds a process-wide
lock from its first sample to its last. The library runs 90 to 300 times faster than real time. ctypes releases the GIL
while it works; its callback acquires it for each chunk of 100 ms. Its flutter continues from render to render, so two
renders of one text differ by a few milliseconds.

Source: espeak-ng 1.52, ``speak_lib.h`` (constants and structures below are named after it).
"""

from __future__ import annotations

import ctypes
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.domain import Seconds
from schemas.errors import EngineFailure

Pcm = NDArray[np.int16]

ESPEAK_RATE_HZ: Final = 22_050

_AUDIO_OUTPUT_SYNCHRONOUS: Final = 2
_INITIALIZE_DONT_EXIT: Final = 0x8000
_BUFFER_MS: Final = 100
_CHARS_UTF8: Final = 1
_PHONEMES_IPA: Final = 0x02
_PHONEME_SEPARATOR: Final = "_"
_ENDPAUSE: Final = 0x1000
_POS_CHARACTER: Final = 1
_EVENT_LIST_TERMINATED: Final = 0
_EVENT_WORD: Final = 1
_RATE, _VOLUME, _PITCH, _RANGE, _WORDGAP = 1, 2, 3, 4, 7


class _EventId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class WordEvent:
    """A word about to be spoken: ``text[text_position : text_position + length]`` starts at ``start_secs``."""

    text_position: int
    length: int
    start_secs: Seconds


@dataclass(frozen=True, slots=True)
class RenderedChunk:
    """``samples`` is ``(num_samples,) int16`` at 22,050 Hz mono; ``words`` are those that start in it."""

    samples: Pcm
    words: tuple[WordEvent, ...]


@dataclass(frozen=True, slots=True)
class Prosody:
    """Parameters of speech. Pitch, range and volume are on espeak-ng's own scales, with defaults of 50, 50 and 100."""

    rate_wpm: int = 175
    pitch: int = 50
    pitch_range: int = 50
    word_gap: int = 0
    """Extra pause between words, in units of 10 ms at the default rate."""
    volume: int = 100


class Espeak:
    """The process's espeak-ng. Instances share one library; calls from many threads wait for each other."""

    def __init__(self) -> None:
        """Loads the library and its data (0.3 s the first time in a process). Raises EngineFailure."""
        self._lib = _library()

    def render(self, text: str, voice: str = "en-us", prosody: Prosody | None = None) -> Iterator[RenderedChunk]:
        """Chunks of about 100 ms as they are rendered, at least one where there is anything to say.

        Closing the iterator stops the synthesis at its next chunk. Raises EngineFailure for a voice espeak-ng does not
        have (code ``unknown_voice``) or text that it cannot render.
        """
        made: queue.SimpleQueue[RenderedChunk | BaseException | None] = queue.SimpleQueue()
        stopped = threading.Event()

        def emit(chunk: RenderedChunk) -> bool:
            made.put(chunk)
            return not stopped.is_set()

        def work() -> None:
            try:
                self._synthesize(text, voice, prosody or Prosody(), emit, stopped.is_set)
                made.put(None)
            except BaseException as error:  # passed to the consumer, which raises it
                made.put(error)

        thread = threading.Thread(target=work, name="espeak", daemon=True)
        thread.start()
        try:
            while (item := made.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stopped.set()
            thread.join()

    def synthesize(
        self, text: str, voice: str = "en-us", prosody: Prosody | None = None
    ) -> tuple[Pcm, tuple[WordEvent, ...]]:
        """The whole of ``text``: ``(num_samples,) int16`` at 22,050 Hz mono and its words. Raises as `render` does."""
        chunks: list[RenderedChunk] = []

        def emit(chunk: RenderedChunk) -> bool:
            chunks.append(chunk)
            return True

        self._synthesize(text, voice, prosody or Prosody(), emit, lambda: False)
        samples = np.concatenate([c.samples for c in chunks]) if chunks else np.zeros(0, np.int16)
        return samples, tuple(word for chunk in chunks for word in chunk.words)

    def phonemes(self, text: str, voice: str) -> str:
        """IPA of ``text`` with stress marks, words separated by spaces; espeak-ng leaves out punctuation.

        A word read by the rules of another language is between flags, as in ``(en)wˈʊd(fr)``. Raises EngineFailure for
        a voice espeak-ng does not have.
        """
        encoded = ctypes.create_string_buffer(text.replace("\0", " ").encode("utf-8", errors="replace"))
        left = ctypes.c_void_p(ctypes.addressof(encoded))
        mode = _PHONEMES_IPA | ord(_PHONEME_SEPARATOR) << 8
        clauses: list[str] = []
        with _LOCK:
            self._configure(voice, Prosody())
            # Each call reads one clause and moves the pointer behind it; it is null after the last.
            while left.value is not None:
                found = self._lib.espeak_TextToPhonemes(ctypes.byref(left), _CHARS_UTF8, mode)
                clauses.append(found.decode("utf-8") if found else "")
        return " ".join(" ".join(clauses).replace(_PHONEME_SEPARATOR, "").split())

    def _synthesize(
        self,
        text: str,
        voice: str,
        prosody: Prosody,
        emit: Callable[[RenderedChunk], bool],
        is_stopped: Callable[[], bool],
    ) -> None:
        if "\0" in text:
            raise EngineFailure("the text holds a NUL character")
        encoded = text.encode("utf-8", errors="replace") + b"\0"
        callback = _Callback(lambda samples, count, events: _on_chunk(samples, count, events, emit))
        with _LOCK:
            if is_stopped():
                return
            self._configure(voice, prosody)
            self._lib.espeak_SetSynthCallback(callback)
            status = self._lib.espeak_Synth(
                encoded, len(encoded), 0, _POS_CHARACTER, 0, _CHARS_UTF8 | _ENDPAUSE, None, None
            )
        # A callback that stops the synthesis is no error; anything else but success is.
        if status != 0 and not is_stopped():
            raise EngineFailure(f"espeak-ng could not speak the text (status {status})")

    def _configure(self, voice: str, prosody: Prosody) -> None:
        if self._lib.espeak_SetVoiceByName(voice.encode()) != 0:
            raise EngineFailure(f"espeak-ng has no voice {voice!r}", code="unknown_voice", param="voice")
        parameters = (
            (_RATE, prosody.rate_wpm),
            (_VOLUME, prosody.volume),
            (_PITCH, prosody.pitch),
            (_RANGE, prosody.pitch_range),
            (_WORDGAP, prosody.word_gap),
        )
        for parameter, value in parameters:
            self._lib.espeak_SetParameter(parameter, value, 0)


def _on_chunk(samples: Any, count: int, events: Any, emit: Callable[[RenderedChunk], bool]) -> int:
    """The library's callback; returning 1 stops it. An error must not pass into C, so it stops the synthesis too."""
    words: list[WordEvent] = []
    index = 0
    while events[index].type != _EVENT_LIST_TERMINATED:
        event = events[index]
        if event.type == _EVENT_WORD:
            words.append(WordEvent(event.text_position - 1, event.length, event.sample / ESPEAK_RATE_HZ))
        index += 1
    if not samples or count <= 0:
        return 0 if not words or emit(RenderedChunk(np.zeros(0, np.int16), tuple(words))) else 1
    copied = np.ctypeslib.as_array(samples, (count,)).copy()
    return 0 if emit(RenderedChunk(copied, tuple(words))) else 1


@cache
def _library() -> ctypes.CDLL:
    import espeakng_loader

    lib = ctypes.CDLL(espeakng_loader.get_library_path())
    lib.espeak_SetSynthCallback.argtypes = [_Callback]
    lib.espeak_SetSynthCallback.restype = None
    lib.espeak_Synth.argtypes = [
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_uint,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_uint,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    lib.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_int, ctypes.c_int]
    lib.espeak_TextToPhonemes.restype = ctypes.c_char_p
    data = espeakng_loader.get_data_path().encode()
    rate = lib.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, _BUFFER_MS, data, _INITIALIZE_DONT_EXIT)
    if rate != ESPEAK_RATE_HZ:
        raise EngineFailure(f"espeak-ng did not start (espeak_Initialize returned {rate})")
    # Without a fixed seed the noise of breathy voices depends on the clock, and no render could be repeated.
    lib.espeak_ng_SetRandSeed(1)
    return lib
