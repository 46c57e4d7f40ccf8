"""What a worker gets with its claim: the job, and a small recording."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from clients.operator import OperatorClient
from schemas import wire
from schemas.domain import SAMPLE_RATE_HZ
from tests.contract.gateway import OPERATOR_KEY, USER_KEY, running
from tests.contract.speaking import served
from tests.e2e.recordings import wav
from tests.support import speech

pytestmark = pytest.mark.contract

CLAIM = "/operator/jobs/claim"
SAID = wav(speech.say("good morning"), SAMPLE_RATE_HZ)


async def test_a_small_recording_comes_with_the_claim_of_who_asks_for_it(tmp_path: Path) -> None:
    async with (
        running(tmp_path) as gateway,
        served(gateway) as address,
        httpx.AsyncClient(base_url=f"http://{address}", headers={"Authorization": USER_KEY}) as user,
        httpx.AsyncClient(base_url=f"http://{address}", headers={"Authorization": OPERATOR_KEY}) as operator,
    ):
        ids = []
        for name in ("a", "b", "c"):
            sent = await user.post("/submit", params={"filename": f"{name}.wav", "use_cache": False}, content=SAID)
            ids.append(sent.raise_for_status().json()["id"])
        worker = OperatorClient(f"http://{address}", OPERATOR_KEY)
        job = await worker.claim("w", 5)
        assert job is not None
        assert (job.id, job.recording) == (ids[0], SAID)
        await worker.fetch_audio(job, tmp_path / "with the claim")
        assert (tmp_path / "with the claim").read_bytes() == SAID
        await worker.close()

        small = await operator.post(CLAIM, json={"worker": "w", "wait_secs": 5, "audio_bytes": len(SAID) - 1})
        assert small.headers["content-type"] == wire.MEDIA_TYPE
        head, recording = wire.unpack(small.content)
        assert (head["claim"]["id"], bytes(recording)) == (ids[1], b"")

        plain = (await operator.post(CLAIM, json={"worker": "w", "wait_secs": 5})).json()["claim"]
        assert plain["id"] == ids[2]
        fetched = await operator.get(f"/operator/jobs/{ids[2]}/audio", params={"lease": plain["lease"]})
        assert fetched.content == SAID
        none = await operator.post(CLAIM, json={"worker": "w", "audio_bytes": 1})
        assert wire.unpack(none.content)[0] == {"claim": None}


async def test_a_recording_that_is_damaged_in_the_store_is_no_good_with_the_claim_either(tmp_path: Path) -> None:
    async with (
        running(tmp_path) as gateway,
        served(gateway) as address,
        httpx.AsyncClient(base_url=f"http://{address}", headers={"Authorization": USER_KEY}) as user,
    ):
        (await user.post("/submit", params={"filename": "a.wav"}, content=SAID)).raise_for_status()
        stored = gateway.services.settings.home / "data" / "objects" / "audio" / "default"
        (found,) = stored.iterdir()
        found.write_bytes(SAID[:-1] + b"\x55")
        worker = OperatorClient(f"http://{address}", OPERATOR_KEY)
        job = await worker.claim("w", 5)
        assert job is not None
        with pytest.raises(Exception, match="damaged in the store"):
            await worker.fetch_audio(job, tmp_path / "damaged")
        await worker.close()
