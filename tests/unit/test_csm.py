"""CSM over a tiny checkpoint: frames in order and as they are made, equal to decoding them at once, stopped at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from schemas.domain import SPEECH_RATE_HZ
from schemas.engines import Samples
from schemas.errors import EngineFailure, Unavailable
from schemas.speech import Cue, Part, Passage, RenderRequest, VoiceProfile
from serve.engines.tts import csm
from serve.engines.tts.cues import render_cue
from serve.engines.tts.espeak_voices import ESPEAK_VOICES
from serve.engines.tts.generative_synthesizer import GenerativeSynthesizer, Utterance, prompt_samples, stretches
from serve.engines.tts.render_stream import Stopped, rendered
from serve.engines.tts.token_generation import Generations, longest_secs
from serve.engines.tts.verify.phone_verifier import PhoneVerifier
from tests.support import synthesizers

pytestmark = pytest.mark.unit

FRAME = 1920
SAID = Utterance("The old man walked slowly along the river.", synthesizers.prompt(), 1, 0.9, 2.0, 7)
MAEVE = replace(ESPEAK_VOICES[0], preview_text="Hello.")


@pytest.fixture(scope="module")
def model() -> csm.CsmModel:
    return csm.CsmModel(synthesizers.tiny_csm(), "cpu")


@pytest.fixture(scope="module")
def engine() -> GenerativeSynthesizer:
    return csm.build(synthesizers.chosen("csm", synthesizers.tiny_csm()))


def spoken(model: csm.CsmModel, said: Utterance) -> list[Samples]:
    return [piece for piece in model.speak(said) if piece.size]


def whole(model: csm.CsmModel, said: Utterance) -> Samples:
    """The same generation, decoded by transformers when it has ended."""
    import torch

    inputs = model._inputs(said)
    torch.manual_seed(said.seed)
    (sound,) = model._model.generate(**inputs, **model._options(said, inputs["input_ids"].shape[1]), output_audio=True)
    return np.asarray(sound.numpy(), np.float32)


def test_a_stream_of_frames_is_what_decoding_all_of_them_gives(model: csm.CsmModel) -> None:
    long = replace(SAID, max_secs=4.8)
    frames = spoken(model, long)
    assert [frame.size for frame in frames] == [FRAME] * 60
    expected = whole(model, long)
    assert float(np.abs(expected).max()) > 0.1
    # The codec's transformer looks two seconds back here, less than half of this.
    np.testing.assert_allclose(np.concatenate(frames), expected, atol=1e-4)


def test_frames_come_while_the_model_generates(model: csm.CsmModel) -> None:
    spoken(model, SAID)
    began = time.process_time()
    arrived = [time.process_time() - began for piece in model.speak(SAID) if piece.size]
    assert len(arrived) == 25
    assert arrived[0] < 0.3 * arrived[-1]
    assert max(later - earlier for earlier, later in pairwise(arrived)) < 0.5 * arrived[-1]


def test_seed_and_temperature_determine_the_audio(model: csm.CsmModel) -> None:
    short = replace(SAID, max_secs=0.4)
    assert np.array_equal(np.concatenate(spoken(model, short)), np.concatenate(spoken(model, short)))
    other = np.concatenate(spoken(model, replace(short, seed=8)))
    assert not np.array_equal(np.concatenate(spoken(model, short)), other)
    cold = replace(short, temperature=0.0)
    assert np.array_equal(np.concatenate(spoken(model, cold)), np.concatenate(spoken(model, replace(cold, seed=8))))


def test_the_prompt_reaches_the_model_as_the_previous_turn(model: csm.CsmModel) -> None:
    assert SAID.prompt is not None
    inputs = model._inputs(SAID)
    read = model._processor.tokenizer.decode(inputs["input_ids"][0])
    begun, frames, text = read.partition("<|AUDIO|>")[0], read.count("<|AUDIO|>"), read.rpartition("<|audio_eos|>")[2]
    assert begun == f"<|begin_of_text|>[1]{SAID.prompt.text}<|end_of_text|>"
    assert frames == 13  # one second, and what is begun of a frame
    assert text == f"<|begin_of_text|>[1]{SAID.text}<|end_of_text|>"
    np.testing.assert_allclose(inputs["input_values"][0, 0].numpy(), prompt_samples(SAID.prompt))
    short = replace(SAID, max_secs=0.4)
    unlike = replace(short, prompt=synthesizers.prompt(1.0, "Another text entirely."))
    assert not np.array_equal(np.concatenate(spoken(model, short)), np.concatenate(spoken(model, unlike)))


@pytest.mark.parametrize("num_frames", [0, 1, 5])
def test_closing_stops_the_generation_after_the_current_frame(model: csm.CsmModel, num_frames: int) -> None:
    pieces = model.speak(replace(SAID, max_secs=120.0))
    with closing(pieces):
        next(pieces)
        for _ in range(num_frames):
            next(pieces)
        began = time.process_time()
    assert time.process_time() - began < 0.2
    began = time.process_time()
    assert len(spoken(model, replace(SAID, max_secs=0.16))) == 2
    assert time.process_time() - began < 2.0


def test_a_render_that_is_to_be_checked_is_stopped_while_it_is_made(engine: GenerativeSynthesizer) -> None:
    made, stop, ended = threading.Event(), threading.Event(), threading.Event()

    class Noticed(GenerativeSynthesizer):
        def render(
            self, passage: Passage, voice: VoiceProfile, temperature: float, speed: float = 1.0
        ) -> Generator[Samples, None, None]:
            for piece in super().render(passage, voice, temperature, speed):
                if piece.size:
                    made.set()
                yield piece

    def listen() -> None:
        with pytest.raises(Stopped):
            next(rendered(Noticed(engine._model, engine.info), request, PhoneVerifier(), 2, stop))
        ended.set()

    request = RenderRequest(replace(MAEVE, prompt=SAID.prompt), "word after word, " * 10)  # 34 s, and no chunk before
    threading.Thread(target=listen, daemon=True).start()
    assert made.wait(60)
    began = time.process_time()
    stop.set()
    assert ended.wait(60)
    assert time.process_time() - began < 0.2


def test_who_waits_for_a_turn_can_leave_and_never_gets_one() -> None:
    generations, begun, go_on = Generations(), threading.Event(), threading.Event()

    def hold(streamer: object) -> None:
        begun.set()
        assert go_on.wait(60)

    first = generations.tokens(hold, 0)
    assert next(first) is None
    assert begun.wait(60)
    asked = threading.Event()
    second = generations.tokens(lambda streamer: asked.set(), 0)
    assert next(second) is None
    began = time.process_time()
    second.close()
    assert time.process_time() - began < 0.2
    go_on.set()
    assert [tokens for tokens in first if tokens is not None] == []
    assert list(generations.tokens(lambda streamer: None, 0)) == []
    assert not asked.is_set()


def test_what_the_model_raises_is_an_engine_failure_and_the_next_render_works(model: csm.CsmModel) -> None:
    def broken(streamer: object) -> None:
        raise RuntimeError("CUDA out of memory")

    with pytest.raises(EngineFailure, match="RuntimeError"):
        list(model._generations.tokens(broken, 0))
    assert len(spoken(model, replace(SAID, max_secs=0.16))) == 2


def test_a_text_beyond_what_the_model_reads_is_refused(model: csm.CsmModel) -> None:
    with pytest.raises(EngineFailure, match="longer than the model"):
        next(model.speak(replace(SAID, text="word " * 500)))


def said_by(engine: GenerativeSynthesizer, *parts: Part, pause_secs: float = 0.0) -> Samples:
    voice = replace(MAEVE, prompt=SAID.prompt)
    return np.concatenate(list(engine.render(Passage(parts, 10, pause_secs), voice, 0.9)))


def test_a_passage_is_no_longer_than_its_text_allows_and_ends_with_its_pause(engine: GenerativeSynthesizer) -> None:
    sound = said_by(engine, Part("Well."), pause_secs=0.5)
    spoken_secs = sound.size / SPEECH_RATE_HZ - 0.5
    assert 0.8 * longest_secs("Well.") < spoken_secs <= longest_secs("Well.") + 0.08
    assert not sound[-SPEECH_RATE_HZ // 2 :].any()


def test_cues_are_words_or_sounds_between_words(engine: GenerativeSynthesizer) -> None:
    parts = (Part("I,"), Part(cue="hesitate"), Part("see."), Part(cue="sigh"), Part("Fine", emphasis=True), Part("then."))
    assert stretches(parts, csm.TAGS) == [Part("I, um... see."), Part(cue="sigh"), Part("Fine then.")]
    sigh = render_cue("sigh", MAEVE)
    sound = said_by(engine, Part(cue="sigh"))
    np.testing.assert_array_equal(sound[SPEECH_RATE_HZ // 10 :][: sigh.size], sigh)
    cues: tuple[Cue, ...] = engine.info.capabilities["cues"]
    assert all(np.abs(said_by(engine, Part(cue=cue))).max() > 0.05 for cue in cues)


def test_a_built_in_voice_makes_its_prompt_once_and_keeps_to_it(engine: GenerativeSynthesizer) -> None:
    def said() -> Iterator[Samples]:
        yield from engine.render(Passage((Part("Yes."),), 4, 0.0), MAEVE, 0.9)

    assert sum(piece.size for piece in said()) > 0
    made = engine._made[MAEVE.voice_id]
    assert made.text == MAEVE.preview_text
    assert 0 < len(made.pcm) / 2 / SPEECH_RATE_HZ <= longest_secs(MAEVE.preview_text)
    assert sum(piece.size for piece in said()) > 0
    assert engine._made[MAEVE.voice_id] is made
    again = csm.build(synthesizers.chosen("csm", synthesizers.tiny_csm()))
    list(again.render(Passage((Part("No."),), 3, 0.0), MAEVE, 0.9))
    assert again._made[MAEVE.voice_id] == made


def test_a_folder_of_something_else_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"FLUXIONS_TTS_MODEL.*holds neither"):
        csm.build(synthesizers.chosen("csm", tmp_path))
    with pytest.raises(Unavailable, match=r"type 'dia', not csm; name such a model in FLUXIONS_TTS_MODEL"):
        csm.build(synthesizers.chosen("csm", synthesizers.tiny_dia()))
    (tmp_path / "config.json").write_text("no json")
    with pytest.raises(Unavailable, match=r"no config\.json that can be read"):
        csm.build(synthesizers.chosen("csm", tmp_path))


def test_its_capabilities_are_described_without_loading() -> None:
    info = csm.describe(synthesizers.chosen("csm", synthesizers.tiny_csm()))
    assert (info.slot, info.engine) == ("synthesizer", "csm")
    assert info.capabilities["prompt_secs"] == 10
    assert info.capabilities["temperature"] is True
    assert info.revision.startswith("csm-")
