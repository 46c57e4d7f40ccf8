"""Result objects: a finished transcription as one JSON object, and the two views of it that users download.

    results/<account>/<id>-<lease>.json              the whole `Transcript`
    results/<account>/<id>-<lease>.txt               its text
    results/<account>/<id>-<lease>.segments.json     its segments, as the API shows them, words included
    results/<account>/<id>-<lease>.corrections.json  what a user corrected in it, if anything
    playback/<account>/<sha256>.opus                 the playback copy
    playback/<account>/<sha256>.peaks                its waveform, sent by the worker or computed at the first request

``<lease>`` is a digest of the lease under which the result was written, so that no other worker writes under its key.
Earlier versions wrote the number of the attempt there, which was used again after a release.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from lakehouse.storage.objects import Objects, account_folder, checked
from schemas.api.transcription import SegmentBody
from schemas.domain import Job, Transcript

_ENDING = ".json"
_SOUND = ".opus"


def result_key(account: str, name: str) -> str:
    """Key of a result. ``name``: the job's id and lease, or another name that is never given twice."""
    return checked(f"results/{account_folder(account)}/{name}{_ENDING}")


def lease_key(job: Job, lease: str) -> str:
    """Key of the result that the holder of ``lease`` writes for ``job``."""
    return result_key(job.account, f"{job.id}-{hashlib.blake2b(lease.encode(), digest_size=8).hexdigest()}")


def attempt_key(job: Job, attempt: int) -> str:
    """Key of the result of an attempt at ``job`` that an earlier version wrote."""
    return result_key(job.account, f"{job.id}-{attempt}")


def playback_key(job: Job) -> str:
    """Key of the playback copy (Ogg Opus) of a recording, shared by all jobs of the account with that recording."""
    return checked(f"playback/{account_folder(job.account)}/{job.sha256}.opus")


def text_key(key: str) -> str:
    """Key of the text of the result ``key``."""
    return key.removesuffix(_ENDING) + ".txt"


def segments_key(key: str) -> str:
    """Key of the segments of the result ``key``."""
    return key.removesuffix(_ENDING) + ".segments.json"


def corrections_key(key: str) -> str:
    """Key of the corrections of the result ``key``."""
    return key.removesuffix(_ENDING) + ".corrections.json"


def peaks_key(playback: str) -> str:
    """Key of the waveform of the playback copy ``playback``."""
    return playback.removesuffix(_SOUND) + ".peaks"


def result_keys(key: str) -> tuple[str, ...]:
    """Keys of all objects of the result ``key``."""
    return key, text_key(key), segments_key(key), corrections_key(key)


def written_keys(key: str) -> tuple[str, str, str]:
    """Keys of the objects that are written with the result ``key``: itself and its two views."""
    return key, text_key(key), segments_key(key)


def later_keys(key: str) -> tuple[str, ...]:
    """Keys of the objects that may be made later from the result or the playback copy ``key``."""
    if key.startswith("results/") and key == main_key(key):
        return (corrections_key(key),)
    return (peaks_key(key),) if key.startswith("playback/") and key.endswith(_SOUND) else ()


def main_key(key: str) -> str:
    """Key of the result or playback copy that an object made from it belongs to; any other key itself."""
    if key.startswith("results/"):
        for ending in (".segments.json", ".corrections.json", ".txt"):
            if key.endswith(ending):
                return key.removesuffix(ending) + _ENDING
    if key.startswith("playback/") and key.endswith(".peaks"):
        return key.removesuffix(".peaks") + _SOUND
    return key


async def put_result(objects: Objects, key: str, transcript: Transcript) -> None:
    """Write the result and its views, durably."""
    await objects.put_many(result_objects(key, transcript))


def result_objects(key: str, transcript: Transcript) -> dict[str, bytes]:
    """Contents of the result ``key`` and its two views, by key."""
    bodies = [SegmentBody.of(segment, words=True) for segment in transcript.segments]
    segments = [body.model_dump(mode="json", exclude_none=True) for body in bodies]
    return {
        text_key(key): transcript.text.encode(),
        segments_key(key): json.dumps(segments, ensure_ascii=False).encode(),
        key: json.dumps(transcript.to_json(), ensure_ascii=False).encode(),
    }


def job_keys(job: Job, leases: Iterable[str] = ()) -> set[str]:
    """Keys of every object that ``job`` may have: those its row names, and results that were written and not recorded,
    under its present lease, under ``leases``, or by attempts of an earlier version.

    The row may not count the last attempt, because it was released.
    """
    results = {attempt_key(job, attempt) for attempt in range(1, job.attempt + 2)}
    results |= {lease_key(job, lease) for lease in (*leases, job.worker) if lease}
    if job.result_key:
        results.add(job.result_key)
    named = {key for key in (job.audio_key, job.playback_key) if key}
    if job.playback_key:
        named.add(peaks_key(job.playback_key))
    return named.union(*(result_keys(key) for key in results))
