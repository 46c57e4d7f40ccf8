"""The registry describes every slot without loading a model, and the deployments answer in domain words."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator

import pytest

from schemas.domain import Span, Word
from schemas.engines import Slot
from schemas.errors import EngineFailure, InvalidParameter, InvalidRequest
from schemas.settings import EngineSettings, Settings
from serve.engines import (
    ENGINES,
    PROFILES,
    SLOTS,
    VARIABLES,
    build_event_detector,
    build_recognizer,
    choice,
    describe,
    engine_revision,
)
from tests.speech import SENTENCES, noise, say

with warnings.catch_warnings():
    # Ray Serve 2.60 declares its models in a way pydantic deprecates, at import.
    warnings.simplefilter("ignore", DeprecationWarning)
    from serve.asr.deployment import RecognizerDeployment
    from serve.diarization.deployment import DiarizerDeployment
    from serve.events.deployment import EventDetectorDeployment


def settings(**engines: object) -> Settings:
    return Settings(engines=EngineSettings(**engines))  # type: ignore[arg-type]


def pcm(samples: object) -> bytes:
    return (samples * 32767).astype("<i2").tobytes()  # type: ignore[operator,attr-defined,no-any-return]


@pytest.fixture(scope="module")
def recognizer() -> Iterator[RecognizerDeployment.func_or_class]:
    replica = RecognizerDeployment.func_or_class(settings())
    yield replica
    del replica


def test_every_slot_says_what_serves_it() -> None:
    infos = describe(settings())
    assert [info.slot for info in infos] == list(SLOTS)
    assert all(info.revision and info.capabilities for info in infos)


def test_the_revision_holds_every_listening_slot_and_the_cut() -> None:
    revision = engine_revision(settings())
    listening = [info for info in describe(settings()) if info.slot != "synthesizer"]
    assert all(info.revision in revision for info in listening)
    assert engine_revision(settings(utterance_max_secs=10)) != revision


def test_describing_loads_no_heavy_library() -> None:
    program = (
        "import sys\n"
        "from schemas.settings import Settings\n"
        "from serve.engines import engine_revision\n"
        "engine_revision(Settings())\n"
        "print([m for m in ('torch', 'ray', 'sklearn', 'scipy', 'pocketsphinx') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("profile", list(PROFILES))
def test_a_profile_chooses_every_slot(profile: str) -> None:
    for slot in SLOTS:
        chosen = choice(settings(profile=profile), slot)
        assert chosen.engine == PROFILES[profile][slot]
        assert bool(chosen.model) == (ENGINES[slot][chosen.engine].model is not None)


@pytest.mark.parametrize("slot", SLOTS)
def test_a_slot_is_chosen_alone(slot: Slot) -> None:
    name = VARIABLES[slot].lower()
    engine = next(name for name, entry in ENGINES[slot].items() if entry.model is not None)
    alone = settings(**{f"{name}_engine": engine, f"{name}_model": "/models/mine"})
    assert choice(alone, slot).model == "/models/mine"
    assert choice(settings(**{f"{name}_engine": engine}), slot).model == ENGINES[slot][engine].model
    for other in set(SLOTS) - {slot}:
        there, usual = choice(alone, other), choice(settings(), other)
        assert (there.engine, there.model) == (usual.engine, usual.model)


def test_a_choice_that_does_not_exist_names_its_variable() -> None:
    with pytest.raises(InvalidParameter, match="pocketsphinx, nemo, transformers") as refused:
        build_recognizer(settings(asr_engine="nimo"))
    assert refused.value.param == "FLUXIONS_ASR_ENGINE"
    with pytest.raises(InvalidParameter, match="brings its own model") as refused:
        build_event_detector(settings(events_model="/models/mine"))
    assert refused.value.param == "FLUXIONS_EVENTS_MODEL"
    with pytest.raises(InvalidParameter, match="hears one language only; leave FLUXIONS_ASR_LANGUAGE empty") as refused:
        build_recognizer(settings(asr_language="de"))
    assert refused.value.param == "FLUXIONS_ASR_LANGUAGE"


async def test_a_recogniser_replica_hears_pcm(recognizer: RecognizerDeployment.func_or_class) -> None:
    heard = await recognizer.recognize(pcm(say(SENTENCES[0])))
    assert len({word.text for word in heard.words} & set(SENTENCES[0].split())) >= 6
    assert (await recognizer.info()) == describe(settings())[0]
    await recognizer.check_health()


async def test_a_recogniser_replica_refuses_in_our_own_words(recognizer: RecognizerDeployment.func_or_class) -> None:
    with pytest.raises(InvalidRequest, match="3 bytes"):
        await recognizer.recognize(b"abc")
    with pytest.raises(EngineFailure):
        await recognizer.recognize(bytes(2 * 16_000 * 61))


async def test_a_diariser_replica_observes_and_resolves() -> None:
    replica = DiarizerDeployment.func_or_class(settings())
    speech = [Span(0.2, 2.5)]
    windows = await replica.observe(pcm(say(SENTENCES[0])), speech, 0.0)
    assert [(t.speaker, t.start_secs, t.end_secs) for t in await replica.resolve([windows], speech)] == [(0, 0.2, 2.5)]
    assert (await replica.info()).slot == "diarizer"
    with pytest.raises(InvalidRequest):
        await replica.observe(pcm(noise(1, 0.1))[1:], speech)


async def test_an_event_replica_detects() -> None:
    replica = EventDetectorDeployment.func_or_class(settings())
    found = await replica.detect([Span(0, 1), Span(3, 4)], [Word("um", 0.1, 0.3)], 5.0, [])
    assert [event.tag for event in found] == ["hesitation", "pause"]
    assert (await replica.info()).slot == "event_detector"
