"""A request for every POST route of the gateway that it answers with 200."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx

from schemas import wire
from schemas.domain import SAMPLE_RATE_HZ
from schemas.records import Voice
from tests.contract.gateway import OPERATOR_KEY, USER_KEY, Running
from tests.contract.test_openai_transcriptions import form
from tests.e2e import recordings
from tests.support import speech
from tests.support.archive_kit import said, source, wav

CLIP: Final = recordings.sentence(0)
PCM: Final = CLIP[44:]
SPEECH: Final = [[0.0, len(PCM) / 2 / SAMPLE_RATE_HZ]]
"""The span of PCM in which somebody speaks, s."""
ARCHIVES: Final = "/operator/archives"
JOBS: Final = "/operator/jobs"


@dataclass(frozen=True)
class Ask:
    """A request that succeeds; ``options`` are httpx's."""

    path: str
    options: dict[str, Any]
    key: str = USER_KEY


@dataclass
class World:
    """A gateway, and what requests need to be there before. Each method makes new things."""

    gateway: Running
    user: httpx.AsyncClient
    operator: httpx.AsyncClient
    count: int = 0

    def new(self) -> str:
        self.count += 1
        return f"n{self.count}"

    async def made(self, path: str, http: httpx.AsyncClient | None = None, **options: Any) -> Any:
        answer = await (http or self.user).post(path, timeout=120, **options)
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()

    async def job(self) -> int:
        content = recordings.wav(speech.noise(0.5, 0.1, self.count))
        self.count += 1
        return int((await self.made("/submit", content=content))["id"])

    async def leased(self) -> tuple[int, str]:
        """A job under a lease, which is the only one."""
        await self.job()
        claim = await self.gateway.ledger.jobs.claim("w", 10)
        assert claim is not None
        return claim.job.id, claim.lease

    async def archive(self) -> int:
        return int((await self.made(ARCHIVES, self.operator, json={"source": f"/recordings/{self.new()}"}))["id"])

    async def begin_body(self, archive: int) -> dict[str, Any]:
        """A request to begin a file whose recording is stored."""
        one = source(self.new(), account="default")
        head = {"files": [{"account": one.account, "sha256": one.sha256, "size_bytes": one.size_bytes}]}
        await self.made(f"{ARCHIVES}/{archive}/audio", self.operator, content=wire.pack(head, wav(one.filename[:-4])))
        file = {name: getattr(one, name) for name in ("key", "version", "location", "account", "filename", "sha256")}
        return {"worker": "w", "files": [{**file, "size_bytes": one.size_bytes}]}

    async def leased_file(self) -> tuple[int, dict[str, Any]]:
        """An archive, and the job and lease of its file."""
        archive = await self.archive()
        begun = await self.made(f"{ARCHIVES}/{archive}/begin", self.operator, json=await self.begin_body(archive))
        job = begun["files"][0]["lease"]
        return archive, {"job_id": job["job_id"], "lease": job["lease"]}

    async def webhook(self) -> str:
        body = {"url": f"https://example.org/{self.new()}", "events": ["transcription.completed"]}
        return str((await self.made("/v1/webhooks", json=body))["id"])


Make = Callable[[World], Awaitable[Ask]]
ASKS: Final[dict[str, Make]] = {}
"""A maker of a request by the path of its route."""


def asks(*paths: str) -> Callable[[Callable[[World, str], Awaitable[Ask]]], None]:
    """Enter a maker for these paths; it is given the path."""

    def enter(make: Callable[[World, str], Awaitable[Ask]]) -> None:
        for path in paths:
            ASKS[path] = lambda world, path=path: make(world, path)

    return enter


def plain(path: str, key: str = USER_KEY, **options: Any) -> None:
    """Enter a request that needs nothing to be there."""

    async def make(_: World, path: str) -> Ask:
        return Ask(path, options, key)

    asks(path)(make)


def form_of(**fields: tuple[Any, ...] | str) -> dict[str, Any]:
    return {"files": [(name, (None, one) if isinstance(one, str) else one) for name, one in fields.items()]}


AUDIO = ("clip.wav", CLIP, "audio/wav")
plain("/vui/v1/tts", json={"voice": "maeve", "input": "Good evening."})
plain("/v1/audio/speech", json={"model": "tts-1", "voice": "alloy", "input": "Good evening.", "response_format": "pcm"})
plain("/vui/v1/voices", **form_of(audio=AUDIO, name="Ada", text=speech.SENTENCES[0]))
plain("/v1/audio/voices", **form_of(audio_sample=AUDIO, name="Ada"))
plain("/v1/audio/voice_consents", **form_of(recording=AUDIO, name="Ada", language="en"))
plain("/v1/speakers", **form_of(audio=AUDIO, name="Ada"))
plain("/v1/webhooks", json={"url": "https://example.org/new", "events": ["transcription.completed"]})
plain("/v1/tokens", json={"scopes": ["transcribe"]})
for route in ("/v1/realtime/client_secrets", "/realtime/client_secrets"):
    plain(route, json={"session": {"type": "realtime"}})
for route in ("/v1/realtime/sessions", "/v1/realtime/transcription_sessions"):
    plain(route, json={})
plain("/operator/keys", OPERATOR_KEY, json={"account": "default", "name": "made by a test"})
plain(f"{JOBS}/claim", OPERATOR_KEY, json={"worker": "w"})
plain("/operator/recognize", OPERATOR_KEY, content=wire.pack({}, PCM))
plain("/operator/diarization/observe", OPERATOR_KEY, content=wire.pack({"speech": SPEECH, "offset_secs": 0.0}, PCM))
plain("/operator/events", OPERATOR_KEY, json={"speech": SPEECH, "words": [], "duration_secs": 9.0, "heard": []})
plain("/operator/events/observe", OPERATOR_KEY, content=wire.pack({"offset_secs": 0.0}, PCM))
plain(ARCHIVES, OPERATOR_KEY, json={"source": "/recordings"})
plain(f"{ARCHIVES}/cached", OPERATOR_KEY, json={"files": [{"account": "default", "sha256": "0" * 64}]})
plain(f"{ARCHIVES}/select", OPERATOR_KEY, json={"where": "true"})


@asks("/submit", "/akro/submit")
async def submit(world: World, path: str) -> Ask:
    return Ask(path, {"content": recordings.wav(speech.noise(0.5, 0.1, len(path)))})


@asks("/v1/audio/transcriptions", "/v1/audio/translations")
async def awaited(world: World, path: str) -> Ask:
    return Ask(path, form(wav=recordings.wav(speech.noise(0.5, 0.1, len(path)))))


@asks("/transcriptions/{job_id}/cancel")
async def cancel(world: World, path: str) -> Ask:
    return Ask(path.format(job_id=await world.job()), {})


@asks("/vui/v1/voices/delete")
async def delete_voice(world: World, path: str) -> Ask:
    key = f"voices/default/{world.new()}.wav"
    await world.gateway.services.objects.put_bytes(key, b"clip")
    await world.gateway.ledger.voices.put(Voice("u-1", "default", "mine", "Hello.", 12, 1.0, key, {}, "e"))
    return Ask(path, {"json": {"voice_id": "u-1"}})


@asks("/v1/audio/voice_consents/{consent_id}")
async def rename_consent(world: World, path: str) -> Ask:
    made = await world.made("/v1/audio/voice_consents", **form_of(recording=AUDIO, name="Eve", language="en"))
    return Ask(path.format(consent_id=made["id"]), {"json": {"name": "Eve L."}})


@asks("/v1/webhooks/{webhook_id}/rotate_secret", "/v1/webhooks/{webhook_id}/test")
async def webhook(world: World, path: str) -> Ask:
    return Ask(path.format(webhook_id=await world.webhook()), {"json": {}})


@asks("/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/replay")
async def replay(world: World, path: str) -> Ask:
    hook = await world.webhook()
    await world.made(f"/v1/webhooks/{hook}/test")
    (delivery,) = (await world.user.get(f"/v1/webhooks/{hook}/deliveries")).json()["data"]
    return Ask(path.format(webhook_id=hook, delivery_id=delivery["id"]), {})


@asks("/delta-sharing/shares/{share}/schemas/{schema}/tables/{table}/query")
async def shared(world: World, path: str) -> Ask:
    return Ask(path.format(share="fluxions", schema="history", table="transcriptions"), {"json": {}})


@asks("/operator/import/{kind}")
async def imported(world: World, path: str) -> Ask:
    line = {"id": 7, "created_at": dt.datetime(2026, 6, 29, tzinfo=dt.UTC).isoformat(), "voice": "maeve", "text": "Hello."}
    content = json.dumps({**line, "audio_secs": 1.5}).encode()
    return Ask(path.format(kind="tts"), {"content": content, "params": {"account": "default"}}, OPERATOR_KEY)


@asks("/operator/keys/{key_id}/rotate")
async def rotate_key(world: World, path: str) -> Ask:
    made = await world.made("/operator/keys", world.operator, json={"account": "default", "name": "old"})
    return Ask(path.format(key_id=made["id"]), {"json": {}}, OPERATOR_KEY)


@asks("/operator/maintenance/{task}")
async def maintain(world: World, path: str) -> Ask:
    return Ask(path.format(task="checkpoint"), {}, OPERATOR_KEY)


@asks("/operator/diarization/resolve")
async def resolve(world: World, path: str) -> Ask:
    observed = await world.operator.post(
        "/operator/diarization/observe", content=wire.pack({"speech": SPEECH, "offset_secs": 0.0}, PCM), timeout=120
    )
    return Ask(path, {"content": wire.pack({"speech": SPEECH, "speakers": {}}, observed.content)}, OPERATOR_KEY)


@asks(*(f"{JOBS}/{{job_id}}/{step}" for step in ("renew", "release", "progress", "complete", "fail")))
async def at_work(world: World, path: str) -> Ask:
    job, lease = await world.leased()
    options: dict[str, dict[str, Any]] = {
        "progress": {"json": {"stage": "reading", "fraction": 0.5}},
        "complete": {"content": json.dumps(said("Good morning.").to_json()).encode()},
        "fail": {"json": {"lease": lease, "message": "The recording is silent."}},
    }
    given = options.get(path.rpartition("/")[2], {})
    return Ask(path.format(job_id=job), {"params": {"lease": lease}, **given}, OPERATOR_KEY)


@asks(f"{ARCHIVES}/{{archive_id}}/known", *(f"{ARCHIVES}/{{archive_id}}/{one}" for one in ("note", "end", "cancel")))
async def about_files(world: World, path: str) -> Ask:
    file = {"key": "d", "location": "line 7", "account": "default", "filename": "d"}
    bodies: dict[str, dict[str, Any]] = {
        "known": {"keys": ["a"]},
        "note": {"files": [{**file, "failure": {"reason": "duplicate", "message": "It was named before."}}]},
        "end": {"status": "completed"},
    }
    body = bodies.get(path.rpartition("/")[2], {})
    return Ask(path.format(archive_id=await world.archive()), {"json": body}, OPERATOR_KEY)


@asks(f"{ARCHIVES}/{{archive_id}}/begin")
async def begin(world: World, path: str) -> Ask:
    archive = await world.archive()
    return Ask(path.format(archive_id=archive), {"json": await world.begin_body(archive)}, OPERATOR_KEY)


@asks(f"{ARCHIVES}/{{archive_id}}/audio")
async def send(world: World, path: str) -> Ask:
    one = source("sent", account="default")
    head = {"files": [{"account": one.account, "sha256": one.sha256, "size_bytes": one.size_bytes}]}
    return Ask(path.format(archive_id=await world.archive()), {"content": wire.pack(head, wav("sent"))}, OPERATOR_KEY)


@asks(f"{ARCHIVES}/{{archive_id}}/renew", f"{ARCHIVES}/{{archive_id}}/release")
async def keep(world: World, path: str) -> Ask:
    archive, lease = await world.leased_file()
    return Ask(path.format(archive_id=archive), {"json": {"leases": [lease]}}, OPERATOR_KEY)


@asks(f"{ARCHIVES}/{{archive_id}}/finish")
async def finish(world: World, path: str) -> Ask:
    archive, lease = await world.leased_file()
    done = {"files": [{**lease, "transcript": said("Good morning.").to_json()}]}
    return Ask(path.format(archive_id=archive), {"content": wire.pack(done)}, OPERATOR_KEY)
