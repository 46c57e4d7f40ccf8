"""The overlap probe detects overlapped speech of any two voices, and such windows do not become a voice."""

from __future__ import annotations

import numpy as np
import pytest

from schemas.domain import Span
from serve.engines.diarization.embedding_diarizer import EmbeddingDiarizer
from serve.engines.diarization.overlap_probe import OverlapProbe, with_those_beside
from serve.engines.diarization.resegmentation import resegment
from serve.engines.diarization.speaker_counting import find_voices
from tests.support.speech import HIGH_VOICE, LOW_VOICE, SENTENCES, noise, say, sequence

pytestmark = pytest.mark.unit


def test_two_voices_at_once_are_distinguished_from_each_alone() -> None:
    low, _ = sequence([say(text, *LOW_VOICE) for text in SENTENCES], gap_secs=0.1)
    high, _ = sequence([say(text, *HIGH_VOICE) for text in reversed(SENTENCES)], gap_secs=0.1)
    length = min(low.size, high.size)
    diarizer, probe = EmbeddingDiarizer(), OverlapProbe()
    speech = [Span(0.0, length / 16_000)]

    def probability(samples: np.ndarray) -> np.ndarray:
        heard = diarizer.observe(samples[:length] + noise(length / 16_000, 1e-3)[:length], speech)
        return probe(heard.embeddings, heard.centers_secs)

    one, other, both = probability(low), probability(high), probability(low[:length] + high[:length])
    assert np.median(both) > max(np.quantile(one, 0.75), np.quantile(other, 0.75))
    for found in (one, other, both):
        assert found.min() >= 0
        assert found.max() <= 1


def test_a_window_is_seen_with_those_beside_it_and_no_others() -> None:
    found = np.eye(4, dtype=np.float32)[:3]
    seen = with_those_beside(found, np.array([0.1, 0.3, 2.0]))
    assert seen.shape == (3, 12)
    names = seen.reshape(3, 3, 4).argmax(axis=2)
    assert names.tolist() == [[0, 0, 1], [1, 0, 1], [2, 2, 2]]


def test_where_overlap_is_known_it_decides_the_second_speaker() -> None:
    likeness = np.array([[0.9, 0.5, 0.6]] * 4 + [[0.7, 0.69, 0.2]] * 4 + [[0.2, 0.9, 0.1]] * 4 + [[0.1, 0.2, 0.9]] * 4)
    sizes = np.array([8, 4, 4])
    overlap = np.zeros(16)
    overlap[2] = 0.9
    found = resegment(likeness.astype(np.float32), sizes, overlap=overlap)
    assert found.second.tolist() == [-1, -1, 2, *[-1] * 13]
    nearly = resegment(likeness.astype(np.float32), sizes)
    assert nearly.second.tolist() == [-1] * 4 + [1] * 4 + [-1] * 8


def test_overlapped_windows_are_no_voice_of_their_own() -> None:
    """Ten windows far from both voices, and from any sum of them, with probable overlap."""
    one, other, third = np.eye(256, dtype=np.float32)[:3]
    found = np.repeat(np.stack([one, third, other]), (40, 10, 40), axis=0)
    assert len(set(find_voices(found).first.tolist())) == 3
    overlap = np.repeat([0.1, 0.9, 0.1], (40, 10, 40))
    assert len(set(find_voices(found, overlap=overlap).first.tolist())) == 2


def test_where_nearly_all_is_overlapped_voices_are_counted_in_all_of_it() -> None:
    one, other = np.eye(256, dtype=np.float32)[:2]
    found = np.repeat(np.stack([one, other]), (40, 40), axis=0)
    overlap = np.full(80, 0.9)
    overlap[:5] = 0.1
    assert len(set(find_voices(found, overlap=overlap).first.tolist())) == 2
