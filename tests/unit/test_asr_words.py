"""Tokens become words, words of windows become one text, and times stay in order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.domain import Recognition, Word
from serve.engines.asr.estimated_word_times import lasting, spread
from serve.engines.asr.token_words import Token, collapsed, in_order, words_of
from serve.engines.asr.windows import OVERLAP_SECS, join, recognize_in_windows
from tests.support.speech import noise, silence
from tests.support.spoken_words import texts

pytestmark = pytest.mark.unit


class Pieces:
    """A vocabulary that is a list."""

    def __init__(self, pieces: Sequence[str]) -> None:
        self._pieces = pieces

    def piece(self, token: int) -> str:
        return self._pieces[token]

    def text(self, tokens: Sequence[int]) -> str:
        return "".join(self._pieces[token] for token in tokens).replace("##", "").replace("▁", " ").strip()


def tokens_of(pieces: Sequence[str], confidence: float = 0.9) -> tuple[list[Token], Pieces]:
    return [Token(i, 2 * i, 2 * i + 1, confidence) for i in range(len(pieces))], Pieces(pieces)


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        (["▁Se", "ven", "▁stop", "."], ["Seven", "stop."]),
        (["▁", "H", "ello", "▁world", ",", "▁go"], ["Hello", "world,", "go"]),
        (["▁¿", "Qué", "▁tal", "?"], ["¿Qué", "tal?"]),
        (["▁one", "▁–", "▁two"], ["one –", "two"]),
        (["<|en|>", "▁a", "<unk>", "b", "[PAD]"], ["ab"]),
        (["sev", "##en", "go"], ["sevengo"]),
        (["g", "o", " ", "u", "p"], ["go", "up"]),
        (["▁今", "日", "は"], ["今", "日", "は"]),
        ([".", "▁", "▁go"], ["go"]),
        ([], []),
    ],
)
def test_pieces_become_words_with_their_marks(pieces: list[str], words: list[str]) -> None:
    tokens, vocabulary = tokens_of(pieces)
    assert texts(words_of(tokens, vocabulary, 0.08, 100.0)) == words


def test_a_word_lasts_from_its_first_token_to_its_last_and_is_as_sure_as_the_least() -> None:
    vocabulary = Pieces(["▁se", "ven", ".", "▁go"])
    tokens = [Token(0, 5, 6, 0.9), Token(1, 7, 9, 0.6), Token(2, 20, 21, 0.1), Token(3, 25, 26, 1.7)]
    seven, go = words_of(tokens, vocabulary, 0.08, 3.0)
    assert seven == Word("seven.", 0.4, 0.72, 0.6)
    assert go == Word("go", 2.0, 2.08, 1.0)


def test_runs_of_a_label_are_one_token_and_blanks_part_them() -> None:
    labels = np.array([9, 1, 1, 9, 1, 2, 2, 9])
    chances = np.array([1, 0.5, 0.8, 1, 0.7, 0.6, 0.4, 1], np.float32)
    found = collapsed(labels, chances, blank=9)
    assert [(t.id, t.start_frame, t.end_frame) for t in found] == [(1, 1, 3), (1, 4, 5), (2, 5, 7)]
    assert [t.confidence for t in found] == pytest.approx([0.8, 0.7, 0.6])
    assert collapsed(np.zeros(0, np.int64), np.zeros(0, np.float32), 9) == []


@given(
    st.lists(st.tuples(st.floats(-1, 12), st.floats(-1, 12), st.floats(-1, 2)), max_size=30),
    st.floats(0.5, 10),
)
def test_times_never_run_backwards_or_leave_the_sound(found: list[tuple[float, float, float]], duration: float) -> None:
    ordered = in_order([Word("a", *times) for times in found], duration)
    assert len(ordered) == len(found)
    for word in ordered:
        assert 0 <= word.start_secs < word.end_secs <= duration
        assert 0 <= word.confidence <= 1
    assert [w.start_secs for w in ordered] == sorted(w.start_secs for w in ordered)


def test_a_word_without_duration_lasts_while_there_is_sound() -> None:
    sound = np.concatenate([noise(0.6, 0.1), silence(1), noise(2, 0.1)])
    words = [Word("one", 0.1, 0.18), Word("two", 1.7, 1.78), Word("three", 1.9, 1.98), Word("four", 2.6, 2.68)]
    assert [w.end_secs for w in lasting(words, sound)] == pytest.approx([0.6, 1.9, 2.48, 3.18])


def test_words_without_times_are_spread_over_what_sounds() -> None:
    tokens, vocabulary = tokens_of(["▁aaaa", "▁bbbb"])
    sound = np.concatenate([silence(1), noise(1, 0.1), silence(1), noise(1, 0.1), silence(1)])
    first, second = spread(tokens, vocabulary, sound)
    assert (first.start_secs, first.end_secs) == pytest.approx((1.0, 2.0), abs=0.05)
    assert (second.start_secs, second.end_secs) == pytest.approx((3.0, 4.0), abs=0.05)
    assert spread([], vocabulary, sound) == ()


def spoken_at(*starts: float, prefix: str = "w") -> list[Word]:
    return [Word(f"{prefix}{start:g}", start, start + 0.3) for start in starts]


def test_windows_are_joined_at_a_word_that_both_recognised() -> None:
    whole = spoken_at(*np.arange(0, 40, 0.7).round(1))
    before = [w for w in whole if w.end_secs < 30]
    after = [w for w in whole if w.start_secs > 26]
    assert join(before, after, 26, 30) == whole


def test_a_word_cut_by_a_windows_edge_is_taken_from_the_window_that_has_all_of_it() -> None:
    before = [*spoken_at(25.0, 27.0, 28.0), Word("ele", 29.8, 30.0)]
    after = [Word("phant", 26.0, 26.1), *spoken_at(27.1, 28.1, prefix="x"), Word("elephant", 29.8, 30.3)]
    after[1:3] = [Word("w27", 27.1, 27.4), Word("W28.", 28.1, 28.4)]
    assert texts(join(before, after, 26, 30)) in (["w25", "w27", "w28", "elephant"], ["w25", "w27", "W28.", "elephant"])


def test_windows_that_agree_on_nothing_are_cut_in_the_middle() -> None:
    joined = join(spoken_at(20.0, 27.0, 29.0), spoken_at(26.5, 28.5, 31.0, prefix="x"), 26, 30)
    assert texts(joined) == ["w20", "w27", "x28.5", "x31"]


def test_windows_cover_every_sample_once() -> None:
    """A recogniser that finds a word at every click: none may be lost or told twice, wherever windows are cut."""

    def hear(windows: Sequence[np.ndarray]) -> list[Recognition]:
        assert len(windows) <= 3
        found = []
        for sound in windows:
            places = np.flatnonzero(sound > 0.5)
            found.append(
                Recognition(tuple(Word(f"{sound[at]:.6f}", at / 16_000, at / 16_000 + 0.01) for at in places), "en")
            )
        return found

    random = np.random.default_rng(0)
    utterances = []
    for duration in (3, 29, 31, 95):
        sound = noise(duration, 0.01) * np.sin(np.arange(duration * 16_000, dtype=np.float32) / 10_000)
        sound[random.choice(sound.size - 400, duration, replace=False)] = random.uniform(0.6, 1, duration)
        utterances.append(sound)
    for sound, heard in zip(utterances, recognize_in_windows(utterances, hear, 30, 3), strict=True):
        places = np.flatnonzero(sound > 0.5)
        assert texts(heard.words) == [f"{sound[place]:.6f}" for place in places]
        assert [w.start_secs for w in heard.words] == pytest.approx(list(places / 16_000), abs=0.02)
    assert OVERLAP_SECS < 30
