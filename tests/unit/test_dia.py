"""Dia over a tiny checkpoint: delays undone and sound decoded while rows are generated, cues as tags, prompts, rates."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from audio.resample import Resampler
from schemas.domain import SPEECH_RATE_HZ
from schemas.engines import Samples
from schemas.errors import Unavailable
from schemas.speech import Part, Passage, VoicePrompt
from serve.engines.tts import dia
from serve.engines.tts.dia_codec import DacStream
from serve.engines.tts.espeak_voices import ESPEAK_VOICES
from serve.engines.tts.generative_synthesizer import GenerativeSynthesizer, Utterance, stretches
from serve.engines.tts.text.markup import parts_of
from tests.support import synthesizers

pytestmark = pytest.mark.unit

CODEC_RATE_HZ = 44_100
HOP = 512
SAID = Utterance("Well, hello there.", synthesizers.prompt(), 0, 0.9, 0.8, 7)


@pytest.fixture(scope="module")
def engine() -> GenerativeSynthesizer:
    return dia.build(synthesizers.chosen("dia", synthesizers.tiny_dia()))


@pytest.fixture(scope="module")
def model() -> dia.DiaModel:
    folder = synthesizers.tiny_dia()
    return dia.DiaModel(folder, folder / "audio_tokenizer", "cpu")


def spoken(model: dia.DiaModel, said: Utterance) -> list[Samples]:
    return [piece for piece in model.speak(said) if piece.size]


def whole(model: dia.DiaModel, said: Utterance) -> Samples:
    """The same generation, undelayed and decoded by transformers when it has ended, at 44.1 kHz."""
    import torch

    inputs = model._inputs(said)
    torch.manual_seed(said.seed)
    rows = model._model.generate(**inputs, **model._options(said, inputs))
    prompt = {"audio_prompt_len": model._processor.get_audio_prompt_len(inputs["decoder_attention_mask"])}
    return np.asarray(model._processor.decode(rows, **prompt if said.prompt else {}).numpy(), np.float32)


@pytest.mark.parametrize("prompt", [None, SAID.prompt])
def test_a_stream_is_what_decoding_all_of_it_gives(model: dia.DiaModel, prompt: VoicePrompt | None) -> None:
    said = replace(SAID, prompt=prompt)
    resampler = Resampler(SPEECH_RATE_HZ)
    expected = whole(model, said)
    assert float(np.abs(expected).max()) > 0.1
    resampled = np.concatenate((resampler.feed(expected, CODEC_RATE_HZ), resampler.finish()))
    sound = np.concatenate(spoken(model, said))
    # transformers' own decoding leaves the last frame of a generation that was cut off unheard.
    extra = sound.size - resampled.size
    assert 0 <= extra <= HOP * SPEECH_RATE_HZ / CODEC_RATE_HZ + 1
    settled = resampled.size - 100  # the resampler's filter sees the end coming
    np.testing.assert_allclose(sound[:settled], resampled[:settled], atol=1e-4)
    assert sound.size / SPEECH_RATE_HZ == pytest.approx(SAID.max_secs, abs=0.03)


def test_sound_comes_while_the_model_generates(model: dia.DiaModel) -> None:
    spoken(model, SAID)
    began = time.process_time()
    arrived = [time.process_time() - began for piece in model.speak(replace(SAID, max_secs=1.5)) if piece.size]
    assert len(arrived) >= 4
    assert arrived[0] < 0.5 * arrived[-1]
    assert arrived == sorted(arrived)


@pytest.mark.parametrize("num_frames", [1, 7, 20, 90])
def test_every_length_is_decoded_whole_whatever_the_stretches(model: dia.DiaModel, num_frames: int) -> None:
    import torch

    delays = model._model.config.delay_pattern
    codes = torch.from_numpy(np.random.default_rng(num_frames).integers(0, 1024, (9, num_frames)))
    rows = torch.full((num_frames + max(delays) + 4, 9), 1026)
    for codebook, delay in enumerate(delays):
        rows[delay : delay + num_frames, codebook] = codes[codebook]
        rows[delay + num_frames :, codebook] = 1024
    stream = DacStream(model._codec, delays)
    sound = np.concatenate([*(stream.feed(row) for row in rows), stream.finish()])
    with torch.inference_mode():
        expected = model._codec.decode(audio_codes=codes[None]).audio_values[0].numpy()
    assert sound.size == num_frames * HOP
    np.testing.assert_allclose(sound, expected, atol=1e-5)


def test_closing_stops_the_generation_within_a_step(model: dia.DiaModel) -> None:
    with closing(model.speak(replace(SAID, max_secs=20.0))) as pieces:
        assert next(piece for piece in pieces if piece.size).size
        began = time.process_time()
    assert time.process_time() - began < 0.2
    assert spoken(model, replace(SAID, max_secs=0.2))


def test_cues_are_written_as_the_tags_the_model_knows() -> None:
    text = "[sigh] Fine. [laugh] I [hesitate] know [sniff] it, [cough] yes [gasp]"
    written = "(sighs) Fine. (laughs) I um... know (sniffs) it, (coughs) yes (gasps)"
    assert stretches(parts_of(text), dia.TAGS) == [Part(written)]


def test_the_prompt_reaches_the_model_before_the_text(model: dia.DiaModel) -> None:
    assert SAID.prompt is not None
    inputs, alone = model._inputs(SAID), model._inputs(replace(SAID, prompt=None))
    read = bytes(inputs["input_ids"][0].tolist())
    assert read == b"\x01 " + f"{SAID.prompt.text} {SAID.text}".encode()  # [S1] is the byte 1
    assert bytes(alone["input_ids"][0].tolist()) == b"\x01 " + SAID.text.encode()
    num_frames = -(-CODEC_RATE_HZ // HOP)  # a second
    assert inputs["decoder_input_ids"].shape == (1, num_frames + 16, 9)
    assert alone["decoder_input_ids"].shape == (1, 16, 9)
    assert (inputs["decoder_input_ids"][0, 1 : num_frames + 1, 0] < 1024).all()


def test_temperature_is_the_models_own_in_proportion(model: dia.DiaModel) -> None:
    def options(temperature: float) -> dict[str, object]:
        said = replace(SAID, temperature=temperature)
        return model._options(said, model._inputs(said))

    assert options(0.9)["temperature"] == pytest.approx(1.8)
    assert options(0.1)["temperature"] == 1.0
    assert options(0.0)["do_sample"] is False
    cold = replace(SAID, temperature=0.0, max_secs=0.2)
    assert np.array_equal(np.concatenate(spoken(model, cold)), np.concatenate(spoken(model, replace(cold, seed=8))))


def test_a_passage_is_rendered_at_24_khz_with_its_pause(engine: GenerativeSynthesizer) -> None:
    voice = replace(ESPEAK_VOICES[0], prompt=SAID.prompt)
    passage = Passage(parts_of("[laugh]"), 7, 0.25)
    sound = np.concatenate(list(engine.render(passage, voice, 0.9)))
    assert not sound[-SPEECH_RATE_HZ // 4 :].any()
    assert 1.0 < sound.size / SPEECH_RATE_HZ < 0.25 + 2.0 + 0.2 * len("(laughs)") + 0.1
    assert float(np.abs(sound).max()) > 0.1


def test_the_codec_is_beside_the_model_or_named_or_asked_for(tmp_path: Path) -> None:
    own = synthesizers.tiny_dia()
    shutil.copytree(own, tmp_path / "dia", ignore=shutil.ignore_patterns("audio_tokenizer"))
    shutil.copytree(own / "audio_tokenizer", tmp_path / "codec")
    asked = synthesizers.chosen("dia", tmp_path / "dia")
    names = tmp_path / "dia" / "processor_config.json"
    found = json.loads(names.read_text())

    found["audio_tokenizer"]["audio_tokenizer_name_or_path"] = str(tmp_path / "codec")
    names.write_text(json.dumps(found))
    assert dia.build(asked).info.revision == dia.describe(asked).revision
    found["audio_tokenizer"]["audio_tokenizer_name_or_path"] = "somebody/a-codec-that-was-never-fetched"
    names.write_text(json.dumps(found))
    with pytest.raises(Unavailable, match=r"models pull somebody/a-codec-that-was-never-fetched"):
        dia.build(asked)
    names.unlink()
    with pytest.raises(Unavailable, match=r"which codec it speaks by; put a DAC"):
        dia.build(asked)
    with pytest.raises(Unavailable, match=r"type 'csm', not dia"):
        dia.build(synthesizers.chosen("dia", synthesizers.tiny_csm()))
