"""Whisper hears rendered sentences, invents nothing, times its words, and depends on nothing but sound and options."""

from __future__ import annotations

import re
import shutil
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import jiwer
import numpy as np
import pytest
from scipy.signal import resample_poly

from schemas.domain import SAMPLE_RATE_HZ, RecognizeOptions, Word
from schemas.engines import Samples
from schemas.errors import EngineFailure, InvalidParameter, Unavailable
from schemas.settings import EngineSettings, ServerSettings, Settings
from schemas.spacing import join_words
from serve.engines.asr import whisper_listener
from serve.engines.asr.whisper_confidence import calibration_of
from serve.engines.asr.whisper_guards import is_loop, is_silence, is_too_fast
from serve.engines.asr.whisper_listener import WhisperListener
from serve.engines.asr.whisper_model import FULL_FRAMES, Decoded, TokenTimes, frames_for
from serve.engines.asr.whisper_words import words_of
from serve.engines.bundled_weights import find_weights
from serve.engines.registry import build_recognizer, describe_slot
from serve.engines.weights_catalog import WHISPER_TINY_EN
from tests.support import kokoro
from tests.support.noises import KINDS, noise_of
from tests.support.recognizers import whisper
from tests.support.speech import SENTENCES, say, sequence
from tests.support.timed_speech import timed

pytestmark = pytest.mark.unit

ENGLISH = RecognizeOptions("en")


def text_of(words: tuple[Word, ...]) -> str:
    return " ".join(word.text for word in words)


def plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w' ]", " ", text.lower().replace("7", "seven")).split())


@pytest.fixture(scope="module")
def sounds() -> list[Samples]:
    return [say(sentence) for sentence in SENTENCES]


def test_rendered_sentences_are_recognised_with_case_and_punctuation() -> None:
    # A natural voice leaves a margin for processors whose kernels round 8-bit products otherwise.
    sounds = [resample_poly(kokoro.say(text), 2, 3).astype(np.float32) for text in SENTENCES]
    heard = whisper().recognize(sounds)
    assert jiwer.wer(list(SENTENCES), [plain(text_of(r.words)) for r in heard]) < 0.1
    for recognition in heard:
        assert recognition.language == "en"
        assert recognition.language_probability is not None
        assert recognition.language_probability > 0.8
        assert recognition.punctuated
    texts = [text_of(recognition.words) for recognition in heard]
    assert sum(text[0].isupper() for text in texts) >= 5
    assert sum(text[-1] in ".!?" for text in texts) >= 5


@pytest.mark.parametrize("gain", [0.3, 0.01])
def test_soft_speech_is_recognised_as_well(sounds: list[Samples], gain: float) -> None:
    heard = whisper().recognize([np.float32(gain) * sound for sound in sounds[:3]], ENGLISH)
    assert jiwer.wer(list(SENTENCES[:3]), [plain(text_of(r.words)) for r in heard]) < 0.1


def test_an_utterance_is_recognised_the_same_alone_in_a_batch_and_on_another_thread(sounds: list[Samples]) -> None:
    alone = [whisper().recognize([sound], ENGLISH)[0] for sound in sounds]
    assert whisper().recognize(sounds, ENGLISH) == alone
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda sound: whisper().recognize([sound], ENGLISH)[0], sounds)) == alone


def test_word_times_agree_with_the_synthesisers() -> None:
    errors: list[float] = []
    for number, (voice, text) in enumerate(
        (voice, text)
        for voice in ("en-us+m1", "en-gb-x-rp", "en-us+f4")
        for text in (
            "The captain closed the heavy door, and nobody in the cabin said a word.",
            "They sold apples and bread.",
            "The old man walked slowly along the river in the morning.",
        )
    ):
        spoken = timed(text, voice, seed=number)
        (heard,) = whisper().recognize([spoken.samples], ENGLISH)
        duration = spoken.samples.size / SAMPLE_RATE_HZ
        assert all(0 <= w.start_secs < w.end_secs <= duration and 0 <= w.confidence <= 1 for w in heard.words)
        assert all(before.end_secs <= after.start_secs for before, after in pairwise(heard.words))
        starts = dict(spoken.unique_words())
        errors += [abs(w.start_secs - starts[plain(w.text)]) for w in heard.words if plain(w.text) in starts]
    assert len(errors) > 35
    assert np.median(errors) <= 0.08
    assert np.percentile(errors, 95) <= 0.2


@pytest.mark.parametrize("kind", KINDS)
def test_audio_without_speech_gives_no_words(kind: str) -> None:
    sounds = [
        noise_of(kind, duration_secs, level, seed)
        for seed, (duration_secs, level) in enumerate(((3.0, 0.003), (8.0, 0.03), (15.0, 0.2), (30.0, 0.03)))
    ]
    # The listener itself: silence and steady noise are not even shown to it otherwise.
    for options in (ENGLISH, RecognizeOptions("fr")):  # a greedy search, and a beam
        heard = recognizer_listener()(sounds, options)
        assert [text_of(r.words) for r in heard] == [""] * len(sounds)
    assert [text_of(r.words) for r in whisper().recognize(sounds)] == [""] * len(sounds)


@pytest.mark.parametrize("duration_secs", [0.0, 0.05, 3.0, 30.0])
def test_digital_silence_holds_no_words(duration_secs: float) -> None:
    zeros = np.zeros(round(duration_secs * SAMPLE_RATE_HZ), np.float32)
    assert whisper().recognize([zeros])[0].words == ()
    if duration_secs:
        assert recognizer_listener()([zeros], ENGLISH)[0].words == ()


def recognizer_listener() -> WhisperListener:
    listener = whisper()._listener  # type: ignore[attr-defined]
    assert isinstance(listener, WhisperListener)
    return listener


def test_what_is_not_speech_spoils_nothing_beside_it(sounds: list[Samples]) -> None:
    heard = whisper().recognize([noise_of("music", 5.0, 0.1), sounds[0], noise_of("breath", 4.0, 0.1)], ENGLISH)
    assert [bool(r.words) for r in heard] == [False, True, False]
    assert heard[1] == whisper().recognize([sounds[0]], ENGLISH)[0]


def test_a_loop_is_decoded_again_in_a_full_window(sounds: list[Samples], monkeypatch: pytest.MonkeyPatch) -> None:
    listener = recognizer_listener()
    (honest,) = listener([sounds[0]], ENGLISH)
    encode, frames_seen = listener._model.encode, []
    judged = whisper_listener.is_made_up

    def encoding(utterances: list[Samples], frames: int) -> np.ndarray:
        frames_seen.append(frames)
        return encode(utterances, frames)

    def doubting(decoded: Decoded, text: str, secs: float) -> bool:
        return judged(decoded, text, secs) or frames_seen[-1] < FULL_FRAMES

    monkeypatch.setattr(listener._model, "encode", encoding)
    monkeypatch.setattr(whisper_listener, "is_made_up", doubting)
    (again,) = listener([sounds[0]], ENGLISH)
    assert frames_seen == [frames_for(sounds[0].size / SAMPLE_RATE_HZ), FULL_FRAMES]
    assert plain(text_of(again.words)) == plain(text_of(honest.words))
    monkeypatch.setattr(whisper_listener, "is_made_up", lambda *_: True)
    assert listener([sounds[0]], ENGLISH)[0].words == (), "no third try"


def test_guards_know_loops_and_guesses() -> None:
    sentence = "The committee will discuss the budget for the next quarter, and nobody knows when it will end."
    assert not is_loop(sentence, range(20))
    assert is_loop(sentence * 5, range(100))
    assert is_loop("I see. I see. I see. I see. I see.", [1, 2, 3] * 5)
    assert not is_loop("No, no, no, no.", [5, 6, 5, 6, 5, 6, 5, 7])
    assert is_too_fast("word " * 20, 2.0)
    assert not is_too_fast("word " * 9, 2.0)
    sure = Decoded([1, 2], -0.2, 0.9, is_cut=False)
    assert not is_silence(sure)
    assert is_silence(Decoded([1, 2], -1.1, 0.7, is_cut=False))
    assert is_silence(Decoded([1, 2], -0.4, 0.95, is_cut=False))
    assert not is_silence(Decoded([1, 2], -1.1, 0.3, is_cut=False))
    assert is_silence(Decoded([1, 2], -1.1, 0.3, is_cut=False), doubtful=True)
    assert is_silence(Decoded([1, 2], -1.5, 0.0, is_cut=False))
    assert is_silence(Decoded([], 0.0, 0.0, is_cut=False))


def test_the_frames_of_an_utterance_depend_on_its_length_alone() -> None:
    assert [frames_for(secs) for secs in (0.1, 7.9, 8.0, 8.1, 12.0, 27.9, 29.9, 30.0)] == [
        1000, 1000, 1000, 1200, 1400, 3000, 3000, 3000,
    ]  # fmt: skip


def test_a_long_utterance_loses_and_doubles_nothing(sounds: list[Samples]) -> None:
    samples, _ = sequence([*sounds, *sounds], gap_secs=0.4)
    assert samples.size > 35 * SAMPLE_RATE_HZ
    (heard,) = whisper().recognize([samples], ENGLISH)
    assert jiwer.wer(" ".join([*SENTENCES, *SENTENCES]), plain(text_of(heard.words))) < 0.1
    assert heard.punctuated
    assert heard.language == "en"


def test_languages_are_set_detected_or_refused() -> None:
    spanish = say("buenos días a todos, hoy vamos a hablar de la historia de la ciudad", voice="es")
    (heard,) = whisper().recognize([spanish])
    assert heard.language == "es"
    assert heard.language_probability is not None
    assert heard.language_probability > 0.8
    (told,) = whisper().recognize([spanish], RecognizeOptions("es"))
    assert (told.language, told.language_probability) == ("es", None)
    for found in (heard, told):  # The one is searched greedily, the other with a beam.
        assert len({"historia", "ciudad", "hablar", "todos"} & set(plain(text_of(found.words)).split())) >= 3
    (english,) = whisper().recognize([spanish], RecognizeOptions("es", task="translate"))
    assert len({"history", "city", "today", "talk"} & set(plain(text_of(english.words)).split())) >= 2
    with pytest.raises(InvalidParameter, match="does not know the language 'qq'; it knows af, am,") as refused:
        whisper().recognize([spanish], RecognizeOptions("qq"))
    assert refused.value.param == "language"


@pytest.mark.parametrize(
    ("language", "text", "marks"),
    [
        ("zh", "今天天气很好，我们去公园。", "，。"),
        ("ja", "今日は天気がいいです。", "。"),
        ("th", "สวัสดีครับ วันนี้อากาศดีมาก", ""),
    ],
)
def test_scripts_without_spaces_are_words_of_whole_letters(language: str, text: str, marks: str) -> None:
    tokenizer = recognizer_listener()._model.tokenizer(language)
    tokens = tokenizer.encode(text)
    times = TokenTimes(0.1 * np.arange(len(tokens) + 1), np.full(len(tokens), 0.9))
    words = words_of(
        Decoded(tokens, -0.1, 0.0, is_cut=False), times, tokenizer, np.zeros(len(tokens) * 1600 + 1600, np.float32),
        calibration=calibration_of("whisper-base"),
    )  # fmt: skip
    assert len(words) > 4
    assert join_words(word.text for word in words) == text.replace(" ", "")
    assert not any(unicodedata.category(word.text[0]).startswith("M") or word.text[0] in marks for word in words)


def test_a_prompt_and_keyterms_change_how_names_are_written() -> None:
    samples = say("yesterday Xinyi and Aleksandr met at the Guggenheim", voice="en-us")
    spellings = RecognizeOptions("en", keyterms=("Synyi", "Aleksander"))
    without, with_terms = (whisper().recognize([samples], options)[0] for options in (ENGLISH, spellings))
    assert "Aleksander" in text_of(with_terms.words)
    assert "Aleksander" not in text_of(without.words)
    with pytest.raises(InvalidParameter, match=r"are \d+ tokens together, the model takes 223; shorten them") as refused:
        whisper().recognize([samples], RecognizeOptions("en", prompt="seven words that are said many times " * 40))
    assert refused.value.param == "prompt"


def test_the_model_of_english_knows_english_only(sounds: list[Samples]) -> None:
    tiny = whisper("tiny.en")
    assert tiny.info.capabilities["languages"] == ("en",)
    assert not tiny.info.capabilities["detects_language"]
    assert not tiny.info.capabilities["translates"]
    heard = tiny.recognize(sounds[:3])
    assert jiwer.wer(list(SENTENCES[:3]), [plain(text_of(r.words)) for r in heard]) < 0.1
    assert {r.language for r in heard} == {"en"}
    with pytest.raises(InvalidParameter, match="does not know the language 'de'; it knows en"):
        tiny.recognize(sounds[:1], RecognizeOptions("de"))
    with pytest.raises(InvalidParameter, match="English only, so it cannot translate"):
        tiny.recognize(sounds[:1], RecognizeOptions(task="translate"))


def test_what_cannot_be_processed_is_refused() -> None:
    with pytest.raises(EngineFailure, match="finite"):
        whisper().recognize([np.full(16_000, np.nan, np.float32)])


def settings(home: Path, **engines: object) -> Settings:
    return Settings(server=ServerSettings(home=home), engines=EngineSettings(**engines))  # type: ignore[arg-type]


def test_a_folder_serves_as_the_weights_do(tmp_path: Path, sounds: list[Samples]) -> None:
    folder = tmp_path / "my model"
    shutil.copytree(find_weights(WHISPER_TINY_EN, tmp_path / "cache").folder, folder)
    mine = build_recognizer(settings(tmp_path, asr_model=str(folder), device="cpu"))
    assert mine.info.model == str(folder)
    assert text_of(mine.recognize(sounds[:1])[0].words) == text_of(whisper("tiny.en").recognize(sounds[:1])[0].words)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        ("model.bin", "holds no model.bin, so it is no CTranslate2 model"),
        ("tokenizer.json", "holds no tokenizer.json"),
        ("vocabulary.txt", "holds no vocabulary"),
        ("specification", r"the model.bin in .* is of no CTranslate2 Whisper model"),
        ("empty", r"the model.bin in .* is of no CTranslate2 Whisper model"),
    ],
)
def test_a_folder_that_is_no_whisper_model_is_refused_by_name(tmp_path: Path, spoil: str, why: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in find_weights(WHISPER_TINY_EN, tmp_path / "cache").folder.iterdir():
        (folder / file.name).symlink_to(file)
    if spoil in ("specification", "empty"):
        (folder / "model.bin").unlink()
        transformer = b"\6\0\0\0\20\0TransformerSpec\0" + bytes(100)
        (folder / "model.bin").write_bytes(transformer if spoil == "specification" else b"")
    else:
        (folder / spoil).unlink()
    with pytest.raises(Unavailable, match=why) as refused:
        describe_slot(settings(tmp_path, asr_model=str(folder)), "recognizer")
    assert str(folder) in refused.value.message
    assert "name a folder that ct2-transformers-converter made" in refused.value.message
    assert refused.value.param == "FLUXIONS_ASR_MODEL"


def test_a_gpu_that_is_not_there_is_refused(tmp_path: Path) -> None:
    import ctranslate2

    if ctranslate2.get_cuda_device_count():
        pytest.skip("this machine has a GPU")
    with pytest.raises(Unavailable, match="CTranslate2 finds no GPU that it can use; set FLUXIONS_DEVICE to cpu"):
        build_recognizer(settings(tmp_path, device="cuda"))


def test_the_revision_names_model_precision_and_language(tmp_path: Path) -> None:
    def revision(**engines: object) -> str:
        return describe_slot(settings(tmp_path, **engines), "recognizer").revision

    base = revision(device="cpu")
    assert re.fullmatch(r"whisper-[\d.]+-whisper-base-[0-9a-f]{12}", base)
    assert revision(device="cpu") == base
    others = [
        revision(device="cuda"),
        revision(device="cpu", asr_model="tiny.en"),
        revision(device="cpu", asr_language="fr"),
    ]
    assert len({base, *others}) == 4
