"""The embedded diariser tells two rendered voices apart, keeps one voice whole, and computes its features right."""

from __future__ import annotations

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from schemas.domain import Span, SpeakerHint, Turn
from schemas.engines import VoiceWindows
from serve.engines.diarization.embedding_diarizer import EmbeddingDiarizer
from serve.engines.diarization.voiceprint import Voiceprint, mel_filterbank, mel_power, raise_volume
from serve.engines.diarization.window_choice import embedded
from tests.support.speech import HIGH_VOICE, LOW_VOICE, SENTENCES, noise, say, sequence, silence

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def diarizer() -> EmbeddingDiarizer:
    return EmbeddingDiarizer()


def test_two_voices_in_turn_are_two_speakers(diarizer: EmbeddingDiarizer) -> None:
    parts = [say(text, *(LOW_VOICE, HIGH_VOICE)[i % 2]) for i, text in enumerate(SENTENCES)]
    samples, spans = sequence(parts)
    turns = diarizer.resolve([diarizer.observe(samples, spans)], spans)
    assert [t.speaker for t in turns] == [0, 1, 0, 1, 0, 1]
    for turn, span in zip(turns, spans, strict=True):
        assert (turn.start_secs, turn.end_secs) == (span.start_secs, span.end_secs)


def test_a_change_of_voice_without_a_pause_is_found(diarizer: EmbeddingDiarizer) -> None:
    parts = [say(text, *(LOW_VOICE, HIGH_VOICE)[i % 2]) for i, text in enumerate(SENTENCES)]
    samples, spans = sequence(parts, gap_secs=0.0)
    speech = [Span(0.0, spans[-1].end_secs)]
    turns = diarizer.resolve([diarizer.observe(samples, speech)], speech, SpeakerHint(2, 2))
    prominent = [t for t in turns if not t.overlap]
    assert [t.speaker for t in prominent] == [0, 1, 0, 1, 0, 1]
    for turn, span in zip(prominent, spans, strict=True):
        assert turn.start_secs == pytest.approx(span.start_secs, abs=0.6)
    # Where both may be heard in a window, one of them is prominent.
    assert sum(t.end_secs - t.start_secs for t in turns if t.overlap) < 0.2 * speech[0].end_secs


def test_what_is_not_speech_after_all_is_no_voice(diarizer: EmbeddingDiarizer) -> None:
    """Noise that a recogniser was asked about is observed too."""
    parts = [say(text, *(LOW_VOICE, HIGH_VOICE)[i % 2]) for i, text in enumerate(SENTENCES)]
    samples, spans = sequence(parts)
    heard = np.concatenate((samples, noise(20, 0.01)))
    windows = [diarizer.observe(heard, [*spans, Span(spans[-1].end_secs + 1.0, heard.size / 16_000)])]
    assert diarizer.resolve(windows, spans) == diarizer.resolve([diarizer.observe(samples, spans)], spans)


def test_a_voice_that_speaks_once_among_many_turns_of_another_is_found(diarizer: EmbeddingDiarizer) -> None:
    parts = [say(text, *(HIGH_VOICE if i == 4 else LOW_VOICE)) for i, text in enumerate(SENTENCES * 2)]
    samples, spans = sequence(parts, gap_secs=0.9)
    turns = diarizer.resolve([diarizer.observe(samples, spans)], spans)
    assert [t.speaker for t in turns] == [int(i == 4) for i in range(len(parts))]


def test_a_long_block_takes_less_than_half_the_work_and_has_the_same_turns(
    diarizer: EmbeddingDiarizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [say(text, *(LOW_VOICE, HIGH_VOICE)[i % 2]) for i, text in enumerate(SENTENCES * 5)]
    samples, spans = sequence(parts)
    asked: list[int] = []
    embed = diarizer._voiceprint.embed

    def counted(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        asked.append(len(windows))
        return embed(windows)

    monkeypatch.setattr(diarizer._voiceprint, "embed", counted)
    half = diarizer.observe(samples, spans)
    few = sum(asked)
    monkeypatch.setattr(diarizer, "_choose", partial(embedded, plenty=len(half.centers_secs)))
    whole = diarizer.observe(samples, spans)
    assert few < 0.5 * asked[-1]
    assert len(half.embeddings) == len(whole.embeddings) == asked[-1]
    assert diarizer.resolve([half], spans) == diarizer.resolve([whole], spans)


@pytest.mark.parametrize("voice", [LOW_VOICE, HIGH_VOICE])
def test_one_voice_is_one_speaker(diarizer: EmbeddingDiarizer, voice: tuple[str, object]) -> None:
    samples, spans = sequence([say(text, *voice) for text in SENTENCES])  # type: ignore[arg-type]
    turns = diarizer.resolve([diarizer.observe(samples, spans)], spans)
    assert {t.speaker for t in turns} == {0}


def test_a_short_utterance_is_one_turn(diarizer: EmbeddingDiarizer) -> None:
    samples = say("yes")
    speech = [Span(0.1, 0.3)]
    assert diarizer.resolve([diarizer.observe(samples, speech)], speech) == [Turn(0, 0.1, 0.3)]


def test_blocks_are_observed_apart_and_resolved_together(diarizer: EmbeddingDiarizer) -> None:
    parts = [say(text, *(LOW_VOICE, HIGH_VOICE)[i // 3]) for i, text in enumerate(SENTENCES)]
    samples, spans = sequence(parts, gap_secs=0.9)
    cut = round((spans[2].end_secs + 0.3) * 16_000)
    offset = cut / 16_000
    second = [Span(s.start_secs - offset, s.end_secs - offset) for s in spans[3:]]
    windows = [diarizer.observe(samples[cut:], second, offset), diarizer.observe(samples[:cut], spans[:3])]
    turns = diarizer.resolve(windows, spans)
    assert [t.speaker for t in turns] == [0, 0, 0, 1, 1, 1]
    assert [t.start_secs for t in turns] == [s.start_secs for s in spans]


def test_windows_are_unit_vectors_in_time(diarizer: EmbeddingDiarizer) -> None:
    windows = diarizer.observe(say(SENTENCES[0]), [Span(0.0, 3.0)], 100.0)
    assert windows.embeddings.dtype == np.float32
    assert windows.embeddings.shape == (len(windows.centers_secs), 256)
    assert np.allclose(np.linalg.norm(windows.embeddings, axis=1), 1, atol=1e-5)
    assert windows.centers_secs[0] == pytest.approx(100.1)
    assert np.all(np.diff(windows.centers_secs) > 0)


def test_the_level_of_a_voice_is_not_who_it_is(diarizer: EmbeddingDiarizer) -> None:
    samples, speech = say(SENTENCES[0]), [Span(0.2, 3.0)]
    near, far = (diarizer.observe(gain * samples, speech).embeddings for gain in (1.0, 0.01))
    assert (near * far).sum(axis=1).min() > 0.99


@pytest.mark.parametrize("difference", [1e-6, 1e-3])
def test_two_hours_of_two_voices_are_two_speakers(diarizer: EmbeddingDiarizer, difference: float) -> None:
    """Also where another machine's arithmetic differs by rounding, or by a thousand times that."""
    parts = [say(text, *(LOW_VOICE, HIGH_VOICE)[i % 2]) for i, text in enumerate(SENTENCES)]
    samples, spans = sequence(parts)
    heard = diarizer.observe(samples, spans)
    times = math.ceil(2 * 3600 / spans[-1].end_secs)
    generator = np.random.default_rng(0)
    starts = (spans[-1].end_secs + 1.0) * np.arange(times)
    windows = []
    for start in starts.tolist():
        spread = np.float32(0.014 + difference) * generator.standard_normal(heard.embeddings.shape, np.float32)
        varied = heard.embeddings + spread
        varied /= np.linalg.norm(varied, axis=1, keepdims=True)
        windows.append(VoiceWindows(heard.centers_secs + start, varied))
    speech = [Span(s.start_secs + start, s.end_secs + start) for start in starts.tolist() for s in spans]
    turns = diarizer.resolve(windows, speech)
    assert {t.speaker for t in turns} == {0, 1}
    assert [t.speaker for t in turns if not t.overlap] == [0, 1] * (len(parts) // 2) * times


def test_no_speech_gives_no_turns(diarizer: EmbeddingDiarizer) -> None:
    empty = diarizer.observe(noise(1, 0.1), [])
    assert empty.embeddings.shape == (0, 256)
    assert diarizer.resolve([empty], []) == []
    assert diarizer.resolve([], [Span(0, 1)]) == []
    assert len(diarizer.observe(noise(1, 0.1), [Span(2.0, 3.0)]).centers_secs) == 0  # beyond the block's end


def test_silence_taken_for_speech_does_no_harm(diarizer: EmbeddingDiarizer) -> None:
    speech = [Span(0.0, 20.0)]
    windows = diarizer.observe(silence(20), speech)
    assert np.isfinite(windows.embeddings).all()
    assert {t.speaker for t in diarizer.resolve([windows], speech)} == {0}


def test_the_mel_filterbank_is_slaneys() -> None:
    bank = mel_filterbank()
    assert bank.shape == (40, 201)
    # Recorded from librosa 0.11: filters.mel(sr=16000, n_fft=400, n_mels=40).
    assert bank[0, :5] == pytest.approx([0, 0.00739021, 0.01240452, 0.00501431, 0], abs=1e-7)
    assert (bank[20].argmax(), float(bank[39].max())) == (44, pytest.approx(0.0017249404, abs=1e-8))
    assert np.flatnonzero(bank[39])[[0, -1]].tolist() == [172, 199]


def test_a_tone_lights_its_own_band() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype(np.float32)
    mels = mel_power(tone)
    assert mels.shape == (101, 40)
    assert mels.dtype == np.float32
    holds_1khz = mel_filterbank()[:, 25] > 0  # bin 25 of 40 Hz each
    assert 1 <= holds_1khz.sum() <= 2
    assert mels[50].argmax() in np.flatnonzero(holds_1khz)
    assert mels[50, holds_1khz].sum() > 0.75 * mels[50].sum()
    assert mels[50, ~_beside(holds_1khz)].sum() < 1e-6 * mels[50].sum()


def _beside(bands: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.convolve(bands, (1, 1, 1), "same") > 0


def test_volume_is_only_ever_raised() -> None:
    soft, loud = noise(1, 0.001), noise(1, 0.1)
    assert np.sqrt(np.mean(raise_volume(soft) ** 2)) == pytest.approx(10**-1.5, rel=1e-3)
    assert raise_volume(loud) is loud
    assert not raise_volume(silence(1)).any()


def test_a_voice_is_nearer_to_itself_than_to_another() -> None:
    encoder = Voiceprint()

    def voice_of(text: str, voice: tuple[str, object]) -> NDArray[np.float32]:
        mels = mel_power(raise_volume(say(text, *voice)))  # type: ignore[arg-type]
        return encoder.embed(mels[None, 20:180])[0]

    low, same, high = (
        voice_of(*v) for v in ((SENTENCES[0], LOW_VOICE), (SENTENCES[1], LOW_VOICE), (SENTENCES[1], HIGH_VOICE))
    )
    assert low @ same > low @ high + 0.1


def test_the_encoder_computes_in_float32() -> None:
    """The precision is part of the revision: a faster one on some machines would give other speakers there."""
    encoder = Voiceprint()
    assert {p.dtype for p in encoder._network.parameters()} == {torch.float32}
    mels = mel_power(raise_volume(say(SENTENCES[0], *LOW_VOICE)))
    windows = np.stack([mels[i : i + 160] for i in (20, 60, 100)])
    exact = copy.deepcopy(encoder._network).double()
    with torch.inference_mode():
        hidden = torch.nn.functional.normalize(exact(torch.from_numpy(windows).double()), dim=1).numpy()
    assert (encoder.embed(windows) * hidden).sum(axis=1) == pytest.approx(1.0, abs=1e-5)
