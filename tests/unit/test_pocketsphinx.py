"""The embedded recogniser hears rendered sentences, keeps its times in order, and survives its decoder."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import jiwer
import numpy as np
import psutil
import pytest

from schemas.domain import Word
from schemas.errors import EngineFailure
from schemas.priority import BACKGROUND_NICENESS
from serve.asr.conditioning import condition, has_digital_silence, is_speechless
from serve.asr.decoder_process import DecoderDied, DecoderProcess
from serve.asr.pocketsphinx import PocketsphinxRecognizer, describe, read_words
from tests.speech import SENTENCES, noise, say, sequence, silence

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def recognizer() -> Iterator[PocketsphinxRecognizer]:
    engine = PocketsphinxRecognizer()
    yield engine
    engine.close()


def text_of(words: tuple[Word, ...]) -> str:
    return " ".join(word.text for word in words)


def test_rendered_sentences_are_mostly_heard(recognizer: PocketsphinxRecognizer) -> None:
    sounds = [say(sentence) for sentence in SENTENCES]
    heard = recognizer.recognize(sounds)
    # About .35, a little different each time because espeak's flutter is; with digital silence left in, over .8.
    assert jiwer.wer(list(SENTENCES), [text_of(r.words) for r in heard]) < 0.5
    assert {r.language for r in heard} == {"en"}


@pytest.mark.parametrize("gain", [0.3, 0.01])
def test_soft_speech_is_heard_as_well(recognizer: PocketsphinxRecognizer, gain: float) -> None:
    heard = recognizer.recognize([np.float32(gain) * say(s) for s in SENTENCES[:3]])
    assert jiwer.wer(list(SENTENCES[:3]), [text_of(r.words) for r in heard]) < 0.5


def test_words_lie_in_order_within_the_utterance_and_where_they_were_said(recognizer: PocketsphinxRecognizer) -> None:
    first, second = "the children played in the garden", "he left the room"
    samples, spans = sequence([say(first), say(second)], gap_secs=1.5)
    (heard,) = recognizer.recognize([samples])
    assert len(heard.words) > 5
    free_from = 0.0
    for word in heard.words:
        assert free_from <= word.start_secs < word.end_secs <= samples.size / 16_000
        assert 0 <= word.confidence <= 1
        free_from = word.end_secs
    (room,) = [w for w in heard.words if w.text == "room"]
    assert spans[1].start_secs + 0.4 < room.start_secs < room.end_secs < spans[1].end_secs + 0.2


def test_an_utterance_is_heard_the_same_whatever_came_before(recognizer: PocketsphinxRecognizer) -> None:
    sentence = say(SENTENCES[0])
    (before,) = recognizer.recognize([sentence])
    other = say(SENTENCES[1])
    recognizer.recognize([np.float32(0.2) * other + noise(60, 0.02)[: other.size]])
    (after,) = recognizer.recognize([sentence])
    assert after == before


@pytest.mark.parametrize("level", [0.0, 3e-5, 1e-4, 2e-3, 0.05])
@pytest.mark.parametrize("duration_secs", [0.0, 0.05, 0.5, 5.0])
def test_silence_and_noise_hold_no_words(recognizer: PocketsphinxRecognizer, level: float, duration_secs: float) -> None:
    (heard,) = recognizer.recognize([noise(duration_secs, level)])
    assert heard.words == ()


def test_what_cannot_be_processed_is_refused(recognizer: PocketsphinxRecognizer) -> None:
    with pytest.raises(EngineFailure, match="over the recogniser's 60 s"):
        recognizer.recognize([noise(61, 0.1)])
    with pytest.raises(EngineFailure, match="finite"):
        recognizer.recognize([np.full(16_000, np.nan, np.float32)])


def test_an_utterance_survives_the_death_of_its_decoder(recognizer: PocketsphinxRecognizer) -> None:
    long = np.concatenate([say(sentence) for sentence in SENTENCES[:3]])
    (undisturbed,) = recognizer.recognize([long])
    pid = recognizer.decoder_pid
    kill = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
    kill.start()
    (disturbed,) = recognizer.recognize([long])
    kill.join()
    assert recognizer.decoder_pid != pid
    assert disturbed == undisturbed


def test_a_decoder_that_keeps_dying_is_an_engine_failure_and_the_next_utterance_is_heard() -> None:
    engine = PocketsphinxRecognizer()
    stopped = threading.Event()

    def keep_killing() -> None:
        while not stopped.wait(0.02):
            with contextlib.suppress(ProcessLookupError):
                os.kill(engine.decoder_pid, signal.SIGKILL)

    killer = threading.Thread(target=keep_killing)
    killer.start()
    with pytest.raises(EngineFailure):
        engine.recognize([np.concatenate([say(sentence) for sentence in SENTENCES])])
    stopped.set()
    killer.join()
    (heard,) = engine.recognize([say(SENTENCES[0])])
    engine.close()
    assert len(heard.words) > 5


def test_a_decoder_that_has_ended_says_so() -> None:
    process = DecoderProcess()
    process.close()
    with pytest.raises(DecoderDied):
        process.decode(b"\0\0")


def test_a_decoder_stands_back_as_far_as_its_owner_in_a_session_of_its_own() -> None:
    program = (
        "import os\nfrom pathlib import Path\nfrom schemas.priority import step_back\n"
        "from serve.asr.decoder_process import DecoderProcess\nstep_back()\ndecoder = DecoderProcess()\npid = decoder.pid\n"
        "group = Path(f'/proc/{pid}/autogroup')\n"
        "print(os.getpriority(0, pid) - os.getpriority(0, 0), os.getsid(pid) == pid,"
        " group.read_text().split()[-1] if group.exists() else os.getpriority(0, pid))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    apart, leads, niceness = found.stdout.split()
    assert (apart, leads) == ("0", "True")
    assert int(niceness) >= BACKGROUND_NICENESS


def test_the_decoder_dies_with_its_owner() -> None:
    program = (
        "import time\n"
        "from serve.asr.pocketsphinx import PocketsphinxRecognizer\n"
        "recognizer = PocketsphinxRecognizer()\n"
        "print(recognizer.decoder_pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        decoder = psutil.Process(int(owner.stdout.readline()))
        owner.kill()
        owner.wait()
        _, alive = psutil.wait_procs([decoder], timeout=10)
    assert not alive


def test_the_gil_stays_free_while_the_decoder_works(recognizer: PocketsphinxRecognizer) -> None:
    done = threading.Event()
    sounds = [say(sentence) for sentence in SENTENCES[:3]]

    def work() -> None:
        recognizer.recognize(sounds)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    turns = 0
    while not done.wait(0.01):
        turns += 1
    thread.join()
    assert turns > 20


def test_only_digital_silence_is_touched() -> None:
    microphone = noise(1, 0.01)
    assert condition(microphone).samples is microphone
    gated, _ = sequence([microphone, microphone], gap_secs=0.05)
    cured = condition(gated)
    assert cured.pad_secs == 0.2
    assert cured.samples.size == gated.size + 2 * 3200
    assert not has_digital_silence(cured.samples)
    assert np.array_equal(cured.samples, condition(gated).samples)


def test_noise_follows_the_level_of_the_sound() -> None:
    gated, _ = sequence([noise(1, 0.1), noise(1, 0.1)])
    loud, soft = condition(gated).samples[:3200], condition(gated * np.float32(0.01)).samples[:3200]
    assert np.std(loud) == pytest.approx(0.004, rel=0.05)
    assert np.std(soft) == pytest.approx(0.00004, rel=0.05)


def test_speechless_sounds_are_told_from_speech() -> None:
    assert is_speechless(silence(2))
    assert is_speechless(noise(2, 0.1))
    assert is_speechless(np.sin(np.arange(32_000, dtype=np.float32) / 20))
    speech = say(SENTENCES[0])
    assert not is_speechless(speech)
    assert not is_speechless(speech + noise(speech.size / 16_000 + 1, 0.05)[: speech.size])


def test_fillers_variants_and_pads_are_cut_from_the_words() -> None:
    found = [
        ("<s>", 0, 9, 1.0),
        ("lost", 0, 15, 1.0),
        ("to(2)", 15, 49, 0.5),
        ("<sil>", 50, 59, 1.0),
        ("[NOISE]", 60, 61, 1.0),
        ("end", 62, 199, 1.2),
        ("</s>", 200, 210, 1.0),
    ]
    assert read_words(found, 0.2, 1.5) == (Word("to", 0.0, 0.3, 0.5), Word("end", 0.42, 1.5, 1.0))


def test_the_revision_names_the_release_and_is_steady() -> None:
    info = describe()
    assert info.revision.startswith("pocketsphinx-5.")
    program = "from serve.asr.pocketsphinx import describe; print(describe().revision)"
    elsewhere = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert elsewhere.stdout.strip() == info.revision
