"""The registry describes every slot without loading a model, and the deployments answer in domain words."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest

from schemas.domain import RecognizeOptions, Slot, Span, Word
from schemas.errors import InvalidParameter, InvalidRequest, Unavailable
from schemas.settings import EngineSettings, Settings
from serve.engines.registry import (
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
from tests.support.processes import python
from tests.support.speech import SENTENCES, noise, say

pytestmark = pytest.mark.unit

with warnings.catch_warnings():
    # Ray Serve 2.60 declares its models in a way pydantic deprecates, at import.
    warnings.simplefilter("ignore", DeprecationWarning)
    from serve.engines.asr.deployment import RecognizerDeployment
    from serve.engines.diarization.deployment import DiarizerDeployment
    from serve.engines.events.deployment import EventDetectorDeployment


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
    listening = [info for info in describe(settings()) if info.slot not in ("synthesizer", "language_model")]
    assert all(info.revision in revision for info in listening)
    assert engine_revision(settings(utterance_max_secs=10)) != revision


def test_describing_loads_no_heavy_library() -> None:
    program = (
        "import sys\n"
        "from schemas.settings import Settings\n"
        "from serve.engines.registry import engine_revision\n"
        "engine_revision(Settings())\n"
        "print([m for m in ('torch', 'ray', 'sklearn', 'scipy', 'ctranslate2', 'faster_whisper') if m in sys.modules])\n"
    )
    done = python(program, text=True)
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
    with pytest.raises(InvalidParameter, match="whisper, nemo, transformers") as refused:
        build_recognizer(settings(asr_engine="nimo"))
    assert refused.value.param == "FLUXIONS_ASR_ENGINE"
    with pytest.raises(InvalidParameter, match="brings its own model") as refused:
        build_event_detector(settings(events_model="/models/mine"))
    assert refused.value.param == "FLUXIONS_EVENTS_MODEL"
    with pytest.raises(Unavailable, match=r"use the language 'qq' .*: that model knows af, am, .* set FLUXIONS_ASR_LANG"):
        build_recognizer(settings(asr_language="qq"))
    with pytest.raises(Unavailable, match=r"use the language 'de' .*: that model knows en; "):
        build_recognizer(settings(asr_model="tiny.en", asr_language="de"))


async def test_a_recogniser_replica_recognises_pcm(recognizer: RecognizerDeployment.func_or_class) -> None:
    heard = await recognizer.recognize(pcm(say(SENTENCES[0])))
    assert [word.text.lower().strip(".,") for word in heard.words] == SENTENCES[0].split()
    assert heard.punctuated
    assert heard.language == "en"
    assert heard.language_probability is not None
    assert 0 < heard.engine_secs < 60
    spanish = await recognizer.recognize(pcm(say(SENTENCES[0])), "archive", RecognizeOptions(language="es"))
    assert (spanish.language, spanish.language_probability) == ("es", None)
    assert (await recognizer.info()) == describe(settings())[0]
    await recognizer.check_health()


async def test_a_recogniser_replica_refuses_in_our_own_words(recognizer: RecognizerDeployment.func_or_class) -> None:
    with pytest.raises(InvalidRequest, match="3 bytes"):
        await recognizer.recognize(b"abc")
    with pytest.raises(InvalidParameter, match="does not know the language 'qq'; it knows af, am, "):
        await recognizer.recognize(bytes(64_000), "interactive", RecognizeOptions(language="qq"))


async def test_a_diariser_replica_observes_and_resolves() -> None:
    replica = DiarizerDeployment.func_or_class(settings())
    speech = [Span(0.2, 2.5)]
    windows = (await replica.observe(pcm(say(SENTENCES[0])), speech, 0.0)).value
    turns = (await replica.resolve([windows], speech)).value
    assert [(t.speaker, t.start_secs, t.end_secs) for t in turns] == [(0, 0.2, 2.5)]
    assert (await replica.info()).slot == "diarizer"
    with pytest.raises(InvalidRequest):
        await replica.observe(pcm(noise(1, 0.1))[1:], speech)


async def test_an_event_replica_detects() -> None:
    replica = EventDetectorDeployment.func_or_class(settings())
    found = (await replica.detect([Span(0, 1), Span(3, 4)], [Word("um", 0.1, 0.3)], 5.0, [])).value
    assert [event.tag for event in found] == ["hesitation", "pause"]
    assert (await replica.info()).slot == "event_detector"
