"""Trained production models behind the whole API: recordings sent at once come back exactly, in their places, and once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
import torch

from audio.decode import Decoder
from audio.vad import VoiceActivity
from flows.client import OperatorClient
from flows.steps import Tools
from flows.worker import Worker
from lakehouse.rows import job_from_row
from schemas.domain import SAMPLE_RATE_HZ, Recognition, Span
from schemas.engines import Recognizer, Samples
from schemas.settings import EngineSettings, JobSettings, ServerSettings, Settings, StorageSettings
from scripts.word_speech import Utterance
from tests import scenes, speech
from tests.contract.gateway import OPERATOR_KEY, USER_KEY, Running, running
from tests.contract.speaking import served, until
from tests.e2e import recordings
from tests.spoken_words import SENTENCES, one_after_another, plain, spoken
from tests.tiny_diarizers import save_titanet
from tests.tiny_recognizers import CTC, MODELS, TDT

# NeMo and what it brings: deprecations of their own making.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:(nemo|lhotse|lightning|pydub|numba|torch|hydra).*")

CUE_GAP_SECS = 0.5
SAID = {f"{voice} {number}": (text, voice) for number, text in enumerate(SENTENCES) for voice in ("en-us", "en-us+f2")}
"""What is said in each recording of one voice, and by which."""


def cue_between() -> tuple[Utterance, Span]:
    """Two sentences with a gasp between them, and where it lies."""
    before, after = spoken(SENTENCES[0], SENTENCES[3])
    gasp = np.float32(0.5) * scenes.cue("gasp", 120.0, 2_000_000)
    start = before.samples.size / SAMPLE_RATE_HZ + CUE_GAP_SECS
    span = Span(start, start + gasp.size / SAMPLE_RATE_HZ)
    return one_after_another([before, Utterance(gasp, (), ()), after], CUE_GAP_SECS), span


def sent() -> dict[str, tuple[Utterance, dict[str, Any]]]:
    """Every recording by name, and what is asked about it."""
    found: dict[str, tuple[Utterance, dict[str, Any]]] = {
        name: (spoken(text, voice=voice)[0], {"num_speakers": 1}) for name, (text, voice) in SAID.items()
    }
    turns = [spoken(SENTENCES[0])[0], spoken(SENTENCES[2], voice="en-us+f2")[0]]
    found["two voices"] = (one_after_another(turns, 0.8), {"num_speakers": 2})
    found["gasp"] = (cue_between()[0], {"num_speakers": 1, "non_speech": True})
    return found


def floored(samples: Samples) -> Samples:
    """With the noise of a room at -60 dBFS under it."""
    return samples + speech.noise(samples.size / SAMPLE_RATE_HZ + 1, 1e-3)[: samples.size]


class Overheard:
    """Before a replica's recogniser: notes how many utterances each call has, and holds the calls back until let go."""

    def __init__(self, recognizer: Recognizer) -> None:
        self._recognize: Callable[[Sequence[Samples]], list[Recognition]] = recognizer.recognize
        self.sizes: list[int] = []
        self.go = threading.Event()
        recognizer.recognize = self  # type: ignore[method-assign]

    def __call__(self, utterances: Sequence[Samples]) -> list[Recognition]:
        self.go.wait(60)
        self.sizes.append(len(utterances))
        return self._recognize(utterances)


@dataclass(frozen=True)
class Platform:
    """Gateway, worker and replicas in this process; ``client`` speaks to it over HTTP."""

    gateway: Running
    client: httpx.AsyncClient
    overheard: Overheard

    @property
    def waiting(self) -> int:
        """Utterances in the recogniser's queue."""
        return len(self.gateway.services.engines.recognizer._loaded.engine.admission._lanes)  # type: ignore[attr-defined]

    async def submit(self, name: str, **changes: Any) -> dict[str, Any]:
        recording, params = sent()[name]
        body = recordings.wav(floored(recording.samples))
        answer = await self.client.post("/submit", content=body, params={"filename": f"{name}.wav", **params, **changes})
        return dict(answer.raise_for_status().json())

    async def completed(self, job_id: int) -> dict[str, Any]:
        await self.client.get(f"/transcriptions/{job_id}/events")  # ends when the job does
        answer = await self.client.get(f"/transcriptions/{job_id}", params={"word_level_timestamps": True})
        body = dict(answer.raise_for_status().json())
        assert body["status"] == "completed", body
        return body

    async def revision_of(self, job_id: int) -> str | None:
        row = await self.gateway.services.history.get("transcriptions", "default", job_id)
        assert row is not None
        return job_from_row(row).engine_revision


@asynccontextmanager
async def platform(home: Path, settings: Settings) -> AsyncIterator[Platform]:
    scratch = home / "scratch"
    scratch.mkdir(exist_ok=True)
    headers = {"Authorization": USER_KEY}
    async with running(home, settings) as gateway, served(gateway) as address, Decoder(settings.limits) as decoder:
        engines: Any = gateway.services.engines
        # All loaded before the first job: what imports for seconds keeps no lease.
        await engines.recognize(bytes(SAMPLE_RATE_HZ))
        await engines.event_detector()
        await engines.observe(bytes(2 * SAMPLE_RATE_HZ), [Span(0.0, 1.0)], 0.0, "interactive")
        overheard = Overheard(engines.recognizer._loaded.engine.recognizer)
        operator = OperatorClient(f"http://{address}", OPERATOR_KEY)
        at_once = await operator.utterances_at_once()
        voice_activity = VoiceActivity()
        tools = Tools(operator, decoder, voice_activity, settings.engines, at_once, settings.jobs, home / "blocks")
        working = asyncio.create_task(Worker(settings, tools, scratch).run())
        try:
            async with httpx.AsyncClient(base_url=f"http://{address}", headers=headers, timeout=60) as client:
                yield Platform(gateway, client, overheard)
        finally:
            overheard.go.set()
            working.cancel()
            await asyncio.wait([working])
            await operator.close()


@dataclass(frozen=True)
class Found:
    """What one model made of all recordings: transcripts by name, and what the platform says of them."""

    bodies: dict[str, dict[str, Any]]
    submitted: dict[str, dict[str, Any]]
    """Answers to the first submission of each."""
    revisions: dict[str, str | None]
    batches: list[int]
    models: dict[str, dict[str, Any]]
    ready: dict[str, Any]


async def all_at_once(here: Platform, names: Sequence[str]) -> Found:
    """Sends these recordings, lets the recogniser begin when an utterance of each has come, and waits for the ends."""
    answers = dict(zip(names, await asyncio.gather(*(here.submit(name) for name in names)), strict=True))
    new = [name for name in names if not answers[name]["cached"]]
    await until(lambda: here.waiting >= len(new) - 1, 60)  # one more may be in the recogniser's hands
    here.overheard.go.set()
    bodies = {name: await here.completed(answers[name]["id"]) for name in names}
    return Found(
        bodies=bodies,
        submitted=answers,
        revisions={name: await here.revision_of(answers[name]["id"]) for name in names},
        batches=list(here.overheard.sizes),
        models={model["slot"]: model for model in (await here.client.get("/v1/models")).json()["data"]},
        ready=(await here.client.get("/ready")).json(),
    )


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
def test_utterances_of_many_recordings_are_heard_together(model: str, request: pytest.FixtureRequest) -> None:
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
def test_a_gasp_stands_where_it_was_and_only_where_it_was_asked_for(model: str, request: pytest.FixtureRequest) -> None:
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
        speakers = {segment["speaker"] for segment in tdt.bodies[name]["segments"]}
        assert 1 <= len(speakers) == tdt.bodies[name]["num_speakers"] <= asked["num_speakers"]


def test_every_word_goes_to_who_said_it(other_diarizer: Found) -> None:
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


def test_a_recording_sent_again_is_answered_by_what_is_kept(tdt: Found, again: Again) -> None:
    for name, body in again.cached.items():
        assert not tdt.submitted[name]["cached"]
        assert (body["cached"], body["answered"]) == (True, "completed")
        assert {key: body.get(key) for key in ("text", "segments", "events")} == {
            key: tdt.bodies[name].get(key) for key in ("text", "segments", "events")
        }


def test_other_models_are_never_answered_by_what_the_first_ones_heard(
    tdt: Found, ctc: Found, other_diarizer: Found
) -> None:
    for found in (ctc, other_diarizer):
        assert found.ready["engine_revision"] != tdt.ready["engine_revision"]
        assert not any(answer["cached"] for answer in found.submitted.values())
        assert sum(found.batches) == sum(body["num_chunks"] for body in found.bodies.values()), "all is heard anew"


def test_what_is_heard_alone_is_what_was_heard_in_a_batch(tdt: Found, again: Again) -> None:
    for name, body in again.alone.items():
        assert body["cached"] is False
        assert body["text"] == tdt.bodies[name]["text"]
        for one, other in zip(words_of(body), words_of(tdt.bodies[name]), strict=True):
            assert one["start"] == pytest.approx(other["start"], abs=0.081)
            assert one["confidence"] == pytest.approx(other["confidence"], abs=0.02)
    assert max(again.batches) < max(tdt.batches)
