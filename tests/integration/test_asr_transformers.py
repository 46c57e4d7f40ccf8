"""Recognisers of the transformers library: the trained Parakeets hear exactly, random ones keep the shape of real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from schemas.domain import RecognizeOptions
from schemas.engines import Recognizer, Samples
from schemas.errors import EngineFailure, InvalidParameter, Unavailable
from schemas.settings import EngineSettings, Settings
from serve.engines.asr.transformers_whisper import loops
from serve.engines.registry import build_recognizer, describe_slot
from tests.support import tiny_recognizers
from tests.support.processes import python
from tests.support.speech import noise, silence
from tests.support.spoken_words import SENTENCES, assert_in_order, assert_timed, one_after_another, plain, spoken, texts

pytestmark = pytest.mark.integration

Make = Callable[[str], Path]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Models this small gain nothing from threads, and lose much where other work shares the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def settings(model: Path, language: str = "") -> Settings:
    engines = EngineSettings(asr_engine="transformers", asr_model=str(model), asr_language=language, device="cpu")
    return Settings(engines=engines)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Folders of checkpoints by name, each made once."""
    folder = tmp_path_factory.mktemp("checkpoints")
    makers: dict[str, Callable[[Path], Path]] = {
        "parakeet_ctc": lambda path: tiny_recognizers.parakeet(tiny_recognizers.CTC, path),
        "parakeet_tdt": lambda path: tiny_recognizers.parakeet(tiny_recognizers.TDT, path),
        "whisper": tiny_recognizers.whisper,
        "moonshine": tiny_recognizers.moonshine,
    }

    def make(name: str) -> Path:
        path = folder / name
        return path if path.exists() else makers[name](path)

    return make


@pytest.fixture(scope="module")
def loaded(made: Make) -> Callable[[str], Recognizer]:
    kept: dict[str, Recognizer] = {}

    def load(name: str) -> Recognizer:
        if name not in kept:
            kept[name] = build_recognizer(settings(made(name)))
        return kept[name]

    return load


@pytest.fixture(scope="module")
def sounds() -> list[Samples]:
    return [utterance.samples for utterance in spoken(*SENTENCES)]


@pytest.mark.parametrize("kind", ["parakeet_ctc", "parakeet_tdt"])
def test_parakeet_recognises_every_word_at_its_time(kind: str, loaded: Callable[[str], Recognizer]) -> None:
    said = spoken(*SENTENCES)
    for utterance, heard in zip(said, loaded(kind).recognize([u.samples for u in said]), strict=True):
        wanted = plain(utterance.words) if kind == "parakeet_ctc" else list(utterance.words)
        assert texts(heard.words) == wanted
        assert_timed(heard.words, utterance)
        assert np.mean([word.confidence for word in heard.words]) > 0.7


def test_a_long_recording_is_recognised_in_windows_without_a_word_lost_or_doubled(
    loaded: Callable[[str], Recognizer],
) -> None:
    long = one_after_another(spoken(*SENTENCES) * 4, gap_secs=0.3)
    assert long.samples.size / 16_000 > 40
    (heard,) = loaded("parakeet_ctc").recognize([long.samples])
    assert plain(texts(heard.words)) == plain(long.words)
    assert_timed(heard.words, long)


@pytest.mark.parametrize("kind", ["parakeet_ctc", "parakeet_tdt", "whisper", "moonshine"])
def test_a_batch_gives_the_words_of_each_utterance_alone(
    kind: str, loaded: Callable[[str], Recognizer], sounds: list[Samples]
) -> None:
    together = loaded(kind).recognize(sounds[:3])
    for sound, heard in zip(sounds, together, strict=False):
        (alone,) = loaded(kind).recognize([sound])
        assert texts(alone.words) == texts(heard.words)
        assert alone.language == heard.language
        for one, other in zip(alone.words, heard.words, strict=True):
            assert one.start_secs == pytest.approx(other.start_secs, abs=0.081)
            assert one.confidence == pytest.approx(other.confidence, abs=0.02)


@pytest.mark.parametrize("kind", ["whisper", "moonshine"])
def test_words_are_in_order_within_the_audio(kind: str, loaded: Callable[[str], Recognizer], sounds: list[Samples]) -> None:
    found = loaded(kind).recognize(sounds)
    assert any(heard.words for heard in found)
    for sound, heard in zip(sounds, found, strict=True):
        assert_in_order(heard.words, sound.size / 16_000)


@pytest.mark.parametrize("kind", ["parakeet_ctc", "parakeet_tdt", "whisper", "moonshine"])
def test_what_holds_no_word_comes_back_empty_and_what_is_no_sound_is_refused(
    kind: str, loaded: Callable[[str], Recognizer], sounds: list[Samples]
) -> None:
    nothing = [np.zeros(0, np.float32), noise(0.01, 0.1), silence(2), noise(2, 0.05)]
    heard = loaded(kind).recognize([*nothing, sounds[0]])
    assert [bool(one.words) for one in heard] == [False, False, False, False, True]
    with pytest.raises(EngineFailure, match="finite"):
        loaded(kind).recognize([np.full(16_000, np.nan, np.float32)])


def test_whisper_writes_what_transformers_own_decoding_does(
    made: Make, loaded: Callable[[str], Recognizer], sounds: list[Samples]
) -> None:
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    model: Any = WhisperForConditionalGeneration.from_pretrained(made("whisper"))
    processor = WhisperProcessor.from_pretrained(made("whisper"))
    codes = {id_: name.strip("<|>") for name, id_ in model.generation_config.lang_to_id.items()}
    for sound, heard in zip(sounds, loaded("whisper").recognize(sounds), strict=True):
        features = processor(sound, sampling_rate=16_000, return_tensors="pt").input_features
        assert heard.language == codes[int(model.detect_language(features)[0])]
        not_text = sorted(set(processor.tokenizer.added_tokens_decoder) - {model.config.eos_token_id})
        options = {"task": "transcribe", "language": heard.language, "max_new_tokens": 32, "suppress_tokens": not_text}
        found = processor.tokenizer.decode(model.generate(features, **options)[0], skip_special_tokens=True)
        if loops(found):
            again = model.generate(features, **options, no_repeat_ngram_size=4)[0]
            found = processor.tokenizer.decode(again, skip_special_tokens=True)
        assert "".join(texts(heard.words)) == found.replace(" ", "")


@pytest.mark.parametrize("language", ["de", "en"])
def test_whisper_uses_the_configured_language(language: str, made: Make, sounds: list[Samples]) -> None:
    told = build_recognizer(settings(made("whisper"), language))
    assert {heard.language for heard in told.recognize(sounds)} == {language}
    assert told.info.capabilities["languages"] == (language,)
    assert told.info.revision != describe_slot(settings(made("whisper")), "recognizer").revision


@pytest.mark.parametrize("language", ["de", "en"])
def test_whisper_uses_the_requested_language_and_refuses_one_it_lacks(
    language: str, made: Make, loaded: Callable[[str], Recognizer], sounds: list[Samples]
) -> None:
    whisper = loaded("whisper")
    asked = whisper.recognize(sounds, RecognizeOptions(language))
    told = build_recognizer(settings(made("whisper"), language)).recognize(sounds)
    assert [(heard.words, heard.language) for heard in asked] == [(heard.words, language) for heard in told]
    detected = [heard.language_probability for heard in whisper.recognize(sounds)]
    assert all(chance is not None and 0.5 <= chance <= 1 for chance in detected)
    with pytest.raises(InvalidParameter, match="does not know 'fr'; it knows de, en") as refused:
        whisper.recognize(sounds, RecognizeOptions("fr"))
    assert refused.value.param == "language"


def test_a_model_that_takes_no_language_refuses_a_request_with_one(
    loaded: Callable[[str], Recognizer], sounds: list[Samples]
) -> None:
    with pytest.raises(InvalidParameter, match="takes none; leave language out"):
        loaded("moonshine").recognize(sounds, RecognizeOptions("en"))


@pytest.mark.parametrize(("kind", "why"), [("whisper", "that model knows de, en"), ("moonshine", "takes no language")])
def test_a_language_that_a_model_does_not_take_is_refused(kind: str, why: str, made: Make) -> None:
    with pytest.raises(Unavailable, match=rf"'fr' \(FLUXIONS_ASR_LANGUAGE\): .*{why}") as refused:
        build_recognizer(settings(made(kind), "fr"))
    assert refused.value.param == "FLUXIONS_ASR_LANGUAGE"


def test_whisper_returns_no_words_without_speech(made: Make, sounds: list[Samples], tmp_path: Path) -> None:
    folder = reweighted(made("whisper"), tmp_path, "<|nospeech|>", sounds[0], 8)
    (heard,) = build_recognizer(settings(folder)).recognize([sounds[0]])
    assert heard.words == ()


def test_whisper_gets_out_of_a_loop(made: Make, sounds: list[Samples], tmp_path: Path) -> None:
    folder = reweighted(made("whisper"), tmp_path, "Ġhello", sounds[0], 1.5)
    (heard,) = build_recognizer(settings(folder)).recognize([sounds[0]])
    in_a_row = max(len(list(run)) for word, run in groupby(texts(heard.words)) if word == "hello")
    assert 1 <= in_a_row < 8


def reweighted(source: Path, target: Path, token: str, sound: Samples, weight: float) -> Path:
    """The Whisper of ``source`` made to think of ``token`` at once when it hears ``sound``."""
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    model: Any = WhisperForConditionalGeneration.from_pretrained(source)
    processor = WhisperProcessor.from_pretrained(source)
    features = processor(sound, sampling_rate=16_000, return_tensors="pt").input_features
    with torch.no_grad():
        start = torch.tensor([[model.config.decoder_start_token_id]])
        state = model.model(input_features=features, decoder_input_ids=start).last_hidden_state[0, -1]
        place = processor.tokenizer.convert_tokens_to_ids(token)
        model.get_output_embeddings().weight[place] = weight * state / state.norm() * state.norm()
    model.save_pretrained(target)
    processor.save_pretrained(target)
    return target


def test_what_a_model_can_do_is_read_without_transformers(made: Make) -> None:
    whisper = describe_slot(settings(made("whisper")), "recognizer").capabilities
    assert whisper["languages"] == ("de", "en")
    assert describe_slot(settings(made("moonshine")), "recognizer").capabilities["word_timestamps"] is False
    ctc, tdt = (describe_slot(settings(made(f"parakeet_{kind}")), "recognizer").capabilities for kind in ("ctc", "tdt"))
    assert (ctc["punctuation"], tdt["punctuation"]) == (False, True)
    program = (
        "import sys\n"
        "from schemas.settings import EngineSettings, Settings\n"
        "from serve.engines.registry import describe_slot\n"
        f"chosen = Settings(engines=EngineSettings(asr_engine='transformers', asr_model={str(made('whisper'))!r}))\n"
        "describe_slot(chosen, 'recognizer')\n"
        "print('torch' in sys.modules, 'transformers' in sys.modules)\n"
    )
    elsewhere = python(program, text=True)
    assert elsewhere.stdout.split() == ["False", "False"]


def test_a_folder_of_another_kind_of_model_says_which_would_do(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(Unavailable, match=r"model_type 'bert'.*whisper.*FLUXIONS_ASR_MODEL"):
        build_recognizer(settings(tmp_path))


def test_a_folder_without_weights_says_so_and_where_to_look(made: Make, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((made("moonshine") / "config.json").read_text())
    with pytest.raises(Unavailable, match=r"recognizer: the engine transformers cannot load .*FLUXIONS_ASR_MODEL"):
        build_recognizer(settings(tmp_path))
