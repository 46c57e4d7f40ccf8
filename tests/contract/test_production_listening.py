"""Trained production models behind the whole API: recordings sent at once come back exactly, in their places, and once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import torch

from schemas.settings import EngineSettings, JobSettings, ServerSettings, Settings, StorageSettings
from tests.contract.production_platform import (
    SAID,
    Found,
    all_at_once,
    cue_between,
    platform,
    sent,
)
from tests.support.spoken_words import SENTENCES, plain
from tests.support.tiny_diarizers import save_titanet
from tests.support.tiny_recognizers import CTC, MODELS, TDT

# NeMo and what it brings: deprecations of their own making.
pytestmark = [
    pytest.mark.contract,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(nemo|lhotse|lightning|pydub|numba|torch|hydra).*"),
]


@pytest.fixture(autouse=True, scope="module")
def threads() -> Iterator[None]:
    """Engines set how many threads torch has, for the process; the next module has its own again."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def titanet(home: Path) -> Path:
    return save_titanet(home / "titanet.nemo")


def settings(home: Path, model: Path, **diarizer: Path | str) -> Settings:
    """As the environment says; ``diarizer`` is its slot's variables."""
    with pytest.MonkeyPatch.context() as env:
        for name, value in {
            "ASR_ENGINE": "nemo",
            "ASR_MODEL": model,
            **diarizer,
            "EVENTS_ENGINE": "transformers",
            "EVENTS_MODEL": MODELS / "tiny-ast",
            "DEVICE": "cpu",
            "MODEL_THREADS": 1,  # models this small gain nothing from more
        }.items():
            env.setenv(f"FLUXIONS_{name}", str(value))
        return Settings(
            server=ServerSettings(home=home),
            storage=StorageSettings(fsync=False),
            # A worker that leaves must not be waited for while it asks for jobs.
            jobs=JobSettings(worker_jobs=len(sent()), claim_wait_secs=0.5),
            engines=EngineSettings(),
        )


@dataclass(frozen=True)
class Again:
    """The same recordings sent again to the same model: as before, and with the cache declined, one at a time."""

    cached: dict[str, dict[str, Any]]
    alone: dict[str, dict[str, Any]]
    batches: list[int]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tdt_twice(home: Path, titanet: Path) -> tuple[Found, Again]:
    chosen = settings(home, TDT, DIARIZER_ENGINE="nemo-embeddings", DIARIZER_MODEL=titanet)
    async with platform(home, chosen) as here:
        found = await all_at_once(here, list(sent()))
        cached = {}
        for name in found.bodies:
            answer = await here.submit(name)
            cached[name] = {**await here.completed(answer["id"]), "answered": answer["status"]}
        assert here.overheard.sizes == found.batches, "what is cached is not heard again"
        alone = {}
        for name in ("en-us 0", "en-us+f2 1"):
            alone[name] = await here.completed((await here.submit(name, cache=False))["id"])
        return found, Again(cached, alone, here.overheard.sizes[len(found.batches) :])


@pytest.fixture(scope="module")
def tdt(tdt_twice: tuple[Found, Again]) -> Found:
    return tdt_twice[0]


@pytest.fixture(scope="module")
def again(tdt_twice: tuple[Found, Again]) -> Again:
    return tdt_twice[1]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ctc(home: Path, titanet: Path, tdt: Found) -> Found:
    """Another recogniser over the same tables, after the first has heard it all."""
    chosen = settings(home, CTC, DIARIZER_ENGINE="nemo-embeddings", DIARIZER_MODEL=titanet)
    async with platform(home, chosen) as here:
        return await all_at_once(here, list(sent()))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def other_diarizer(home: Path, tdt: Found) -> Found:
    """The first recogniser again, beside a diariser that knows voices; one recording."""
    async with platform(home, settings(home, TDT, DIARIZER_ENGINE="resemblyzer")) as here:
        return await all_at_once(here, ["two voices"])


def words_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    return sorted((w for segment in body["segments"] for w in segment["words"]), key=lambda word: word["start"])


def assert_placed(found: Found) -> None:
    """Every word of every recording starts within 100 ms of the synthesiser's own account, and is held possible."""
    for name, (recording, _) in sent().items():
        words = words_of(found.bodies[name])
        assert plain([w["word"] for w in words]) == plain(recording.words), name
        for word, span in zip(words, recording.spans, strict=True):
            assert abs(word["start"] - span.start_secs) <= 0.1, (name, word, span)
            assert span.start_secs < word["end"] <= span.end_secs + 0.2, (name, word, span)
            assert 0 < word["confidence"] <= 1
        assert found.bodies[name]["language"] == "en"


@pytest.mark.parametrize("model", ["tdt", "ctc"])
def test_every_word_is_there_in_its_place(model: str, request: pytest.FixtureRequest) -> None:
    assert_placed(request.getfixturevalue(model))


@pytest.mark.parametrize("model", ["tdt", "ctc"])
def test_utterances_of_many_recordings_share_batches(model: str, request: pytest.FixtureRequest) -> None:
    found: Found = request.getfixturevalue(model)
    assert sum(found.batches) == sum(body["num_chunks"] for body in found.bodies.values())
    assert max(found.batches) >= len(found.bodies) / 2


def test_a_model_that_writes_keeps_its_capitals_and_full_stops(tdt: Found) -> None:
    assert tdt.models["recognizer"]["capabilities"]["punctuation"] is True
    for name, (recording, _) in sent().items():
        assert [w["word"] for w in words_of(tdt.bodies[name])] == list(recording.words), name
    for name, (text, _) in SAID.items():
        assert tdt.bodies[name]["text"] == f"SPEAKER_0: {text}"


def test_words_of_one_that_does_not_are_written_as_sentences(ctc: Found) -> None:
    assert ctc.models["recognizer"]["capabilities"]["punctuation"] is False
    for name in ("en-us 0", "en-us+f2 0", "en-us 3", "en-us+f2 3"):
        assert ctc.bodies[name]["text"] == f"SPEAKER_0: {SAID[name][0]}"
    for body in ctc.bodies.values():
        assert all(segment["text"] == " ".join(w["word"] for w in segment["words"]) for segment in body["segments"])
        texts = [w["word"] for w in words_of(body)]
        ends = [True, *(text.endswith(".") for text in texts)]
        assert [text[0].isupper() for text in texts] == ends[:-1]
        assert ends[-1]


@pytest.mark.parametrize("model", ["tdt", "ctc"])
def test_a_gasp_is_in_the_text_at_its_time_and_only_if_requested(model: str, request: pytest.FixtureRequest) -> None:
    found: Found = request.getfixturevalue(model)
    _, span = cue_between()
    body = found.bodies["gasp"]
    (event,) = [e for e in body["events"] if e["tag"] not in ("pause", "hesitation")]
    assert event["tag"] == "breath"
    assert event["start"] < span.end_secs
    assert event["end"] > span.start_secs
    assert 0.5 <= event["confidence"] <= 1
    inline = [token for token in body["text"].split() if token != "[pause]"]
    assert plain(inline[1:]) == plain([*SENTENCES[0].split(), "[breath]", *SENTENCES[3].split()])
    assert all("events" not in other and "[" not in other["text"] for name, other in found.bodies.items() if name != "gasp")


def test_the_number_of_speakers_that_is_known_holds_for_a_nemo_model(tdt: Found) -> None:
    assert tdt.models["diarizer"]["engine"] == "nemo-embeddings"
    for name, (_, asked) in sent().items():
        body = tdt.bodies[name]
        speakers = {part["speaker"] for part in (*body["segments"], *body["turns"])}
        assert 1 <= len(speakers) == tdt.bodies[name]["num_speakers"] <= asked["num_speakers"]


def test_every_word_has_its_speaker(other_diarizer: Found) -> None:
    body = other_diarizer.bodies["two voices"]
    assert body["text"] == f"SPEAKER_0: {SENTENCES[0]}\nSPEAKER_1: {SENTENCES[2]}"
    assert body["num_speakers"] == 2


def test_results_name_the_models_they_came_from(tdt: Found, ctc: Found) -> None:
    for found, model in ((tdt, "words_tdt"), (ctc, "words_ctc")):
        assert set(found.revisions.values()) == {found.ready["engine_revision"]}
        for part in (model, "titanet", "tiny-ast"):
            assert part in found.ready["engine_revision"]
        for slot in ("recognizer", "diarizer", "event_detector"):
            assert found.models[slot]["revision"] in found.ready["engine_revision"]
    assert tdt.models["recognizer"]["revision"] != ctc.models["recognizer"]["revision"]
    assert tdt.models["event_detector"]["revision"] == ctc.models["event_detector"]["revision"]


def test_a_recording_sent_again_is_answered_from_the_cache(tdt: Found, again: Again) -> None:
    for name, body in again.cached.items():
        assert not tdt.submitted[name]["cached"]
        assert (body["cached"], body["answered"]) == (True, "completed")
        assert {key: body.get(key) for key in ("text", "segments", "events")} == {
            key: tdt.bodies[name].get(key) for key in ("text", "segments", "events")
        }


def test_other_models_never_use_cached_results_of_the_first(tdt: Found, ctc: Found, other_diarizer: Found) -> None:
    for found in (ctc, other_diarizer):
        assert found.ready["engine_revision"] != tdt.ready["engine_revision"]
        assert not any(answer["cached"] for answer in found.submitted.values())
        assert sum(found.batches) == sum(body["num_chunks"] for body in found.bodies.values()), "all is heard anew"


def test_recognition_is_the_same_alone_and_in_a_batch(tdt: Found, again: Again) -> None:
    for name, body in again.alone.items():
        assert body["cached"] is False
        assert body["text"] == tdt.bodies[name]["text"]
        for one, other in zip(words_of(body), words_of(tdt.bodies[name]), strict=True):
            assert one["start"] == pytest.approx(other["start"], abs=0.081)
            assert one["confidence"] == pytest.approx(other["confidence"], abs=0.02)
    assert max(again.batches) < max(tdt.batches)
