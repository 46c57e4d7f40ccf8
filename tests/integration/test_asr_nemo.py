"""NeMo recognisers trained on twenty words hear them exactly, say when, and how sure they are."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from schemas.domain import RecognizeOptions
from schemas.engines import Recognizer
from schemas.errors import EngineFailure, InvalidParameter, Unavailable
from schemas.settings import EngineSettings, Settings
from serve.engines.asr.nemo_canary import Canary
from serve.engines.nemo_loading import restore
from serve.engines.registry import build_recognizer, describe_slot
from tests.support.processes import python
from tests.support.speech import noise, silence
from tests.support.spoken_words import SENTENCES, assert_in_order, assert_timed, one_after_another, plain, spoken, texts
from tests.support.tiny_nemo_models import KINDS
from tests.support.tiny_recognizers import CTC, TDT

pytestmark = [
    pytest.mark.integration,
    # NeMo and what it brings: deprecations of their own making.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(nemo|lhotse|lightning|pydub|numba|torch|hydra).*"),
]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Models this small gain nothing from threads, and lose much where other work shares the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def settings(model: Path, language: str = "") -> Settings:
    return Settings(engines=EngineSettings(asr_engine="nemo", asr_model=str(model), asr_language=language, device="cpu"))


@pytest.fixture(scope="module")
def ctc() -> Recognizer:
    return build_recognizer(settings(CTC))


@pytest.fixture(scope="module")
def tdt() -> Recognizer:
    return build_recognizer(settings(TDT))


def test_a_ctc_model_recognises_every_word(ctc: Recognizer) -> None:
    said = spoken(*SENTENCES)
    for utterance, heard in zip(said, ctc.recognize([u.samples for u in said]), strict=True):
        assert texts(heard.words) == plain(utterance.words)
        assert_timed(heard.words, utterance)
        assert_in_order(heard.words, utterance.samples.size / 16_000)


def test_a_transducer_recognises_every_word_with_capitals_and_full_stops(tdt: Recognizer) -> None:
    said = spoken(*SENTENCES)
    for utterance, heard in zip(said, tdt.recognize([u.samples for u in said]), strict=True):
        assert texts(heard.words) == list(utterance.words)
        assert_timed(heard.words, utterance)
        assert_in_order(heard.words, utterance.samples.size / 16_000)


@pytest.mark.parametrize("kind", ["ctc", "tdt"])
def test_a_batch_gives_the_words_of_each_utterance_alone(kind: str, request: pytest.FixtureRequest) -> None:
    recognizer: Recognizer = request.getfixturevalue(kind)
    sounds = [u.samples for u in spoken(*SENTENCES)]
    together = recognizer.recognize(sounds)
    for sound, heard in zip(sounds, together, strict=True):
        (alone,) = recognizer.recognize([sound])
        assert texts(alone.words) == texts(heard.words)
        for one, other in zip(alone.words, heard.words, strict=True):
            assert one.start_secs == pytest.approx(other.start_secs, abs=0.081)
            assert one.confidence == pytest.approx(other.confidence, abs=0.02)


@pytest.mark.parametrize("kind", ["ctc", "tdt"])
def test_confidence_is_higher_for_clear_speech_than_for_garbled(kind: str, request: pytest.FixtureRequest) -> None:
    recognizer: Recognizer = request.getfixturevalue(kind)
    clear = [u.samples for u in spoken(*SENTENCES)]
    garbled = [samples + noise(samples.size / 16_000 + 1, 0.1)[: samples.size] for samples in clear]
    sure, unsure = (
        [word.confidence for heard in recognizer.recognize(sounds) for word in heard.words] for sounds in (clear, garbled)
    )
    assert all(0 <= confidence <= 1 for confidence in sure + unsure)
    assert np.mean(sure) > np.mean(unsure) + 0.03


def test_a_long_recording_is_recognised_in_windows_without_a_word_lost_or_doubled(ctc: Recognizer) -> None:
    long = one_after_another(spoken(*SENTENCES) * 8, gap_secs=0.3)
    assert long.samples.size / 16_000 > 80
    (heard,) = ctc.recognize([long.samples])
    assert plain(texts(heard.words)) == plain(long.words)
    assert_timed(heard.words, long)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_loads_and_recognises_batches(kind: str, tmp_path: Path) -> None:
    recognizer = build_recognizer(settings(KINDS[kind](tmp_path)))
    sounds = [utterance.samples for utterance in spoken(*SENTENCES)[::3]]
    heard = recognizer.recognize(sounds)
    for sound, one in zip(sounds, heard, strict=True):
        # What a random decoder writes may be special tokens and nothing else.
        assert one.words or kind == "canary"
        assert_in_order(one.words, sound.size / 16_000)
        (alone,) = recognizer.recognize([sound])
        assert texts(alone.words) == texts(one.words)
        assert alone.language == one.language == ("en" if kind == "canary" else None)


def test_canary_uses_the_configured_language_and_refuses_others(tmp_path: Path) -> None:
    file = KINDS["canary"](tmp_path)
    german = build_recognizer(settings(file, "de"))
    (heard,) = german.recognize([spoken(SENTENCES[0])[0].samples])
    assert heard.language == "de"
    assert german.info.capabilities["languages"] == ("de",)
    untold = describe_slot(settings(file), "recognizer")
    assert untold.capabilities["languages"] == ("de", "en")
    assert untold.capabilities["takes_language"]
    canary, sounds = build_recognizer(settings(file)), [spoken(SENTENCES[0])[0].samples]
    assert canary.recognize(sounds, RecognizeOptions("de")) == [heard]
    with pytest.raises(InvalidParameter, match="does not know 'fr'; it knows de, en"):
        canary.recognize(sounds, RecognizeOptions("fr"))
    assert untold.revision != german.info.revision != describe_slot(settings(file, "en"), "recognizer").revision
    with pytest.raises(Unavailable, match=r"'fr' \(FLUXIONS_ASR_LANGUAGE\): that model knows de, en; set") as refused:
        describe_slot(settings(file, "fr"), "recognizer")
    assert refused.value.param == "FLUXIONS_ASR_LANGUAGE"


def test_a_model_that_takes_no_language_refuses_one(ctc: Recognizer) -> None:
    with pytest.raises(InvalidParameter, match="takes none; leave language out"):
        ctc.recognize([noise(1, 0.1)], RecognizeOptions("en"))
    with pytest.raises(Unavailable, match="takes no language; leave FLUXIONS_ASR_LANGUAGE empty"):
        describe_slot(settings(CTC, "en"), "recognizer")


def test_times_that_canary_writes_between_its_words_are_read(tmp_path: Path) -> None:
    from nemo.collections.asr.parts.utils.rnnt_utils import Hypothesis
    from nemo.collections.asr.parts.utils.timestamp_utils import process_aed_timestamp_outputs

    model = restore(KINDS["canary"](tmp_path), "ASRModel", "cpu")
    tokens = model.tokenizer
    written = [*tokens.text_to_ids("<|3|>", "spl_tokens"), *tokens.text_to_ids("seven", "en")]
    written += [*tokens.text_to_ids("<|9|><|12|>", "spl_tokens"), *tokens.text_to_ids("stop.", "en")]
    written += tokens.text_to_ids("<|20|>", "spl_tokens")
    chances = torch.linspace(0.9, 0.5, len(written))
    hypothesis = Hypothesis(0.0, torch.tensor(written), tokens.ids_to_text(written), token_confidence=chances)
    (timed,) = process_aed_timestamp_outputs([hypothesis], 8, 0.01)
    seven, stop = Canary(model).words(timed, noise(3, 0.1))
    assert (seven.text, seven.start_secs, seven.end_secs) == ("seven", 0.24, 0.72)
    assert (stop.text, stop.start_secs, stop.end_secs) == ("stop.", 0.96, 1.6)
    assert 0.9 > seven.confidence > stop.confidence > 0.5


def test_what_holds_no_word_comes_back_empty_beside_what_does(ctc: Recognizer) -> None:
    (spoken_one,) = spoken(SENTENCES[0])
    nothing = [np.zeros(0, np.float32), noise(0.01, 0.1), silence(2), noise(2, 0.05)]
    heard = ctc.recognize([*nothing[:2], spoken_one.samples, *nothing[2:]])
    assert [len(one.words) for one in heard] == [0, 0, len(spoken_one.words), 0, 0]


def test_samples_that_are_no_numbers_are_refused(ctc: Recognizer) -> None:
    with pytest.raises(EngineFailure, match="finite"):
        ctc.recognize([np.full(16_000, np.nan, np.float32)])


def test_what_a_model_can_do_is_read_without_nemo() -> None:
    described = describe_slot(settings(TDT), "recognizer")
    assert described.capabilities["punctuation"] is True
    assert described.capabilities["word_timestamps"] is True
    assert described.revision.startswith("nemo-3.")
    assert describe_slot(settings(CTC), "recognizer").capabilities["punctuation"] is False
    program = (
        "import sys\n"
        "from schemas.settings import EngineSettings, Settings\n"
        "from serve.engines.registry import describe_slot\n"
        f"chosen = Settings(engines=EngineSettings(asr_engine='nemo', asr_model={str(TDT)!r}))\n"
        "print(describe_slot(chosen, 'recognizer').revision, 'torch' in sys.modules, 'nemo' in sys.modules)\n"
    )
    elsewhere = python(program, text=True)
    assert elsewhere.stdout.split() == [described.revision, "False", "False"]


def test_a_folder_that_holds_one_nemo_file_is_that_model(tmp_path: Path, ctc: Recognizer) -> None:
    shutil.copy(CTC, tmp_path / "model.nemo")
    assert describe_slot(settings(tmp_path), "recognizer").capabilities == ctc.info.capabilities


def test_a_file_that_holds_no_recogniser_says_what_it_holds(tmp_path: Path) -> None:
    config = tmp_path / "model_config.yaml"
    config.write_text("target: nemo.collections.asr.models.SortformerEncLabelModel\nsample_rate: 16000\n")
    file = tmp_path / "speakers.nemo"
    with tarfile.open(file, "w") as archive:
        archive.add(config, "./model_config.yaml")
    with pytest.raises(Unavailable, match=r"holds SortformerEncLabelModel.*FLUXIONS_ASR_MODEL"):
        describe_slot(settings(file), "recognizer")


def test_a_model_for_another_rate_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "model_config.yaml"
    config.write_text("target: a.EncDecCTCModel\npreprocessor: {sample_rate: 8000}\ndecoder: {vocabulary: [a, b]}\n")
    file = tmp_path / "telephone.nemo"
    with tarfile.open(file, "w") as archive:
        archive.add(config, "./model_config.yaml")
    with pytest.raises(Unavailable, match="8000 Hz"):
        describe_slot(settings(file), "recognizer")
