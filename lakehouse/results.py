"""Result objects: a finished transcription as one JSON object, and the two views of it that people download.

results/<account>/<id>-<attempt>.json             the whole `Transcript`
results/<account>/<id>-<attempt>.txt              its text
results/<account>/<id>-<attempt>.segments.json    its segments, as the API shows them, words included
"""

from __future__ import annotations

import json

from lakehouse.objects import Objects, account_folder, checked
from schemas.api.transcription import SegmentBody
from schemas.domain import Job, Transcript

_ENDING = ".json"


def result_key(account: str, name: str) -> str:
    """Where a result lies; ``name`` is the job's id and attempt, or another that is never given twice."""
    return checked(f"results/{account_folder(account)}/{name}{_ENDING}")


def attempt_key(job: Job, attempt: int) -> str:
    """Where the result of an attempt at ``job`` lies."""
    return result_key(job.account, f"{job.id}-{attempt}")


def playback_key(job: Job) -> str:
    """Where the playback copy (Ogg Opus) of a job's recording lies; the same for all jobs of its account with its bytes."""
    return checked(f"playback/{account_folder(job.account)}/{job.sha256}.opus")


def text_key(key: str) -> str:
    """The text beside the result ``key``."""
    return key.removesuffix(_ENDING) + ".txt"


def segments_key(key: str) -> str:
    """The segments beside the result ``key``."""
    return key.removesuffix(_ENDING) + ".segments.json"


def result_keys(key: str) -> tuple[str, str, str]:
    """All objects of the result ``key``."""
    return key, text_key(key), segments_key(key)


def main_key(key: str) -> str:
    """The result that a view of it belongs to; any other key is its own."""
    if key.startswith("results/"):
        for ending in (".segments.json", ".txt"):
            if key.endswith(ending):
                return key.removesuffix(ending) + _ENDING
    return key


async def put_result(objects: Objects, key: str, transcript: Transcript) -> None:
    """Write the result and its views, durably."""
    await objects.put_many(result_objects(key, transcript))


def result_objects(key: str, transcript: Transcript) -> dict[str, bytes]:
    """The result ``key`` and its views, as objects."""
    segments = [SegmentBody.of(segment, words=True).model_dump(mode="json") for segment in transcript.segments]
    return {
        text_key(key): transcript.text.encode(),
        segments_key(key): json.dumps(segments, ensure_ascii=False).encode(),
        key: json.dumps(transcript.to_json(), ensure_ascii=False).encode(),
    }


def job_keys(job: Job) -> set[str]:
    """Every object that may belong to ``job``: what its row names, and results of attempts that were not recorded."""
    results = {attempt_key(job, attempt) for attempt in range(1, job.attempt + 1)}
    if job.result_key:
        results.add(job.result_key)
    named = {key for key in (job.audio_key, job.playback_key) if key}
    return named.union(*(result_keys(key) for key in results))
