"""Every setting, by concern; each has a bound, a unit and one sentence, and stands in the README's table.

All are environment variables ``FLUXIONS_<NAME>``; sizes are bytes, times are seconds.
"""

from __future__ import annotations

import ipaddress
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

_MIB = 1024 * 1024


class _Concern(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="FLUXIONS_", extra="ignore", frozen=True)


class ServerSettings(_Concern):
    """Where the platform lives and listens."""

    home: Path = Field(Path(".fluxions"), description="Folder of all state: tables, objects, keys, logs.")
    host: str = Field("127.0.0.1", description="Address the gateway listens on.")
    port: int = Field(8000, ge=1, le=65535, description="Port the gateway listens on.")
    public_url: str = Field("", description="URL clients reach the gateway by; default `http://HOST:PORT`.")
    allow_public: bool = Field(
        False, description="Must be true before the gateway listens on an address other machines can reach."
    )
    stop_timeout_secs: float = Field(
        15.0, gt=0, le=600, description="Time children get to end after Ctrl-C before they are killed, s."
    )

    @property
    def url(self) -> str:
        return self.public_url.rstrip("/") or f"http://{self.host}:{self.port}"

    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


class AuthSettings(_Concern):
    """Who may ask."""

    api_key: str = Field("", description="If set at first start, the key of the account `default`; else one is made.")
    key_cache_secs: float = Field(
        1.0, ge=0, le=60, description="How long a gateway remembers a known key; bounds how late a revocation bites, s."
    )
    signed_url_secs: int = Field(3600, ge=1, le=604_800, description="Life of a signed download URL, s.")


class StorageSettings(_Concern):
    """Where what lasts is kept."""

    storage_url: str = Field(
        "", description="Root of tables and objects: a folder or `s3://bucket/prefix`; default `HOME/data`."
    )
    checkpoint_interval: int = Field(20, ge=2, le=1000, description="Delta commits between two checkpoints of a table.")
    fsync: bool = Field(True, description="Flush commits and uploads to the disk before they are acknowledged.")
    read_cache_bytes: int = Field(
        128 * _MIB, ge=0, description="Decoded rows a gateway keeps of what history pages come back to, bytes."
    )
    vacuum_hours: int = Field(
        24, ge=1, le=8760, description="How long files of older table versions stay: the reach of time travel, h."
    )
    event_retention_days: float = Field(
        30.0,
        ge=0,
        le=36_500,
        description="How long events of a finished job and superseded revisions are kept; the job itself stays, days.",
    )
    maintenance: bool = Field(True, description="Whether the supervisor runs the schedules of `prefect.yaml`.")
    orphan_hours: float = Field(24.0, ge=1, le=8760, description="Age at which an object that no row names is removed, h.")


class LimitSettings(_Concern):
    """What a request may cost."""

    max_upload_bytes: int = Field(2048 * _MIB, ge=1, description="Largest recording accepted, bytes; more is a 413.")
    max_audio_secs: float = Field(36_000.0, gt=0, description="Longest decoded recording, s.")
    max_decode_ratio: float = Field(
        4096.0, gt=1, description="Most decoded bytes (16 kHz mono s16) for each byte of input, against decoding bombs."
    )
    decode_memory_bytes: int = Field(1024 * _MIB, ge=128 * _MIB, description="Address space of a decoding child, bytes.")
    decode_cpu_secs: float = Field(600.0, gt=0, description="CPU time of a decoding child, s.")
    decode_wall_secs: float = Field(900.0, gt=0, description="Wall-clock time of a decoding child, s.")


class JobSettings(_Concern):
    """How jobs are carried out."""

    workers: int = Field(1, ge=0, le=64, description="Worker processes the supervisor starts.")
    worker_jobs: int = Field(4, ge=1, le=256, description="Jobs one worker has in hand at once.")
    lease_secs: float = Field(
        15.0, ge=1, le=3600, description="Time without a heartbeat after which a job returns to the queue, s."
    )
    max_attempts: int = Field(3, ge=1, le=100, description="Attempts before a job whose worker keeps dying is failed.")
    claim_wait_secs: float = Field(
        20.0, ge=0, le=55, description="How long a claim waits for a job before answering empty, s."
    )
    long_file_secs: float = Field(
        120.0, ge=1, description="Recordings longer than this are worked on block by block, and resumed, s."
    )
    block_secs: float = Field(300.0, ge=5, le=900, description="Longest block of a long recording, s.")
    blocks_at_once: int = Field(2, ge=1, le=16, description="Blocks of one long recording that are worked on at once.")
    block_cache_days: float = Field(
        7.0, gt=0, le=3650, description="How long the words of a block are kept for the same sound sent again, days."
    )
    usd_per_audio_hour: float = Field(
        0.20, ge=0, description="Price of an hour of transcribed audio, billed by the second, USD."
    )


class ArchiveSettings(_Concern):
    """How archives are worked on."""

    archive_batch_files: int = Field(50, ge=1, le=100, description="Files in one Dask task; up to 100 in long runs.")
    archive_workers: int = Field(2, ge=1, le=256, description="Processes of the local Dask cluster an archive starts.")
    archive_files_at_once: int = Field(
        4, ge=1, le=64, description="Files, and utterances on their way to the engines, one Dask worker has at once."
    )
    dask_address: str = Field(
        "", description="Dask scheduler that archives use, as `tcp://HOST:PORT`; default a cluster of their own."
    )
    operator_key: SecretStr = Field(
        SecretStr(""), description="Key archives show the gateway; default the one kept in `HOME/keys/operator`."
    )


class SpeechSettings(_Concern):
    """What speaking may cost."""

    tts_max_chars: int = Field(100_000, ge=1, le=1_000_000, description="Longest text of one render, characters.")
    tts_socket_message_bytes: int = Field(
        2 * _MIB, ge=1024, le=16 * _MIB, description="Largest message a speech socket reads, bytes."
    )
    tts_socket_queue: int = Field(16, ge=1, le=1000, description="Renders that may wait on one speech socket.")
    tts_verify_retries: int = Field(
        2, ge=0, le=10, description="Times a passage that misreads its text is rendered again at most."
    )
    usd_per_million_chars: float = Field(10.0, ge=0, description="Price of a million characters spoken, USD.")
    anonymous_renders_per_minute: int = Field(
        120, ge=0, description="Renders without a key from one address in a minute; ten times that from all together."
    )
    anonymous_chars_per_minute: int = Field(
        200_000, ge=0, description="Characters spoken without a key for one address in a minute; ten times that for all."
    )
    clone_max_bytes: int = Field(25 * _MIB, ge=1024, description="Largest reference clip of a voice, bytes; more is a 413.")
    clone_max_secs: float = Field(120.0, ge=1, le=3600, description="Longest reference clip of a voice, s.")
    require_consent: bool = Field(
        False, description="Whether a voice is cloned only with its speaker's recorded consent and statement."
    )


class EngineSettings(_Concern):
    """Which engines serve, and how many of each."""

    profile: Literal["embedded", "cpu", "gpu"] = Field(
        "embedded", description="Choice of all engines: `embedded` needs no download; `cpu` and `gpu` need `models`."
    )
    asr_engine: str = Field("", description="Recogniser: `pocketsphinx`, `nemo` or `transformers`; empty: the profile's.")
    asr_model: str = Field(
        "", description="Recogniser's model: a folder, a `.nemo` file or a hub name; empty: the engine's."
    )
    asr_language: str = Field(
        "", description="Language spoken, as Whisper or Canary names it (`en`, `de`); empty: detected, or the model's own."
    )
    diarizer_engine: str = Field(
        "", description="Diariser: `resemblyzer`, `sortformer` or `nemo-embeddings`; empty: the profile's."
    )
    diarizer_model: str = Field("", description="Diariser's model: a `.nemo` file or a hub name; empty: the engine's.")
    events_engine: str = Field("", description="Detector of sounds: `rules` or `transformers`; empty: the profile's.")
    events_model: str = Field("", description="Detector's model: a folder or a hub name; empty: the engine's.")
    events_threshold: float = Field(
        0.5, gt=0, lt=1, description="How sure a detector that listens must be of a sound to tell it, a probability."
    )
    tts_engine: str = Field("", description="Synthesiser: `espeak`, `csm` or `dia`; empty: the profile's.")
    tts_model: str = Field("", description="Synthesiser's model: a folder or a hub name; empty: the engine's.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where models run: `auto` takes a GPU where there is one."
    )
    model_threads: int = Field(
        0, ge=0, le=1024, description="Threads of a model on the CPU; 0 means as many as there are cores."
    )
    asr_gpus: float = Field(
        0.25, ge=0, le=64, description="Share of a GPU one recogniser replica takes, where there is one."
    )
    diarizer_gpus: float = Field(0.25, ge=0, le=64, description="Share of a GPU one diariser replica takes.")
    events_gpus: float = Field(0.25, ge=0, le=64, description="Share of a GPU one replica of the sound detector takes.")
    tts_gpus: float = Field(0.25, ge=0, le=64, description="Share of a GPU one synthesiser replica takes.")
    asr_max_batch: int = Field(
        16, ge=1, le=1024, description="Most utterances of one batch, for a recogniser that works on several at once."
    )
    asr_batch_secs: float = Field(
        120.0, ge=1, description="Longest batch of utterances, each counted as long as the longest of them, s."
    )
    recognizer_replicas: int = Field(
        0, ge=0, le=256, description="Recogniser replicas; 0 means one for each core with pocketsphinx, else one."
    )
    recognizer_replicas_max: int = Field(
        0, ge=0, le=256, description="Recogniser replicas under load; 0 means no more than at rest."
    )
    diarizer_replicas: int = Field(1, ge=1, le=256, description="Diariser replicas.")
    diarizer_replicas_max: int = Field(
        0, ge=0, le=256, description="Diariser replicas under load; 0: no more than at rest."
    )
    synthesizer_replicas: int = Field(1, ge=1, le=256, description="Synthesiser replicas.")
    synthesizer_replicas_max: int = Field(
        0, ge=0, le=256, description="Synthesiser replicas under load; 0 means no more than at rest."
    )
    gateway_replicas: int = Field(1, ge=1, le=64, description="Gateway replicas.")
    utterance_max_secs: float = Field(20.0, ge=1, le=30, description="Longest utterance handed to a recogniser, s.")


CONCERNS: tuple[type[_Concern], ...] = (
    ServerSettings,
    AuthSettings,
    StorageSettings,
    LimitSettings,
    JobSettings,
    ArchiveSettings,
    SpeechSettings,
    EngineSettings,
)


class Settings(BaseModel):
    """All concerns together; built once a process with ``Settings()`` and handed on."""

    model_config = ConfigDict(frozen=True)

    server: ServerSettings = Field(default_factory=ServerSettings)
    auth: AuthSettings = Field(default_factory=AuthSettings)
    storage: StorageSettings = Field(default_factory=StorageSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    jobs: JobSettings = Field(default_factory=JobSettings)
    archives: ArchiveSettings = Field(default_factory=ArchiveSettings)
    speech: SpeechSettings = Field(default_factory=SpeechSettings)
    engines: EngineSettings = Field(default_factory=EngineSettings)

    @cached_property
    def home(self) -> Path:
        return self.server.home.expanduser().resolve()

    @cached_property
    def storage_url(self) -> str:
        """The storage root: an absolute folder path, or a URL with a scheme."""
        url = self.storage.storage_url
        if "://" in url and not url.startswith("file://"):
            return url.rstrip("/")
        return str(Path(url.removeprefix("file://")).expanduser().resolve()) if url else str(self.home / "data")


def documented() -> list[tuple[str, str, str, str]]:
    """Every setting as (concern, environment variable, default, sentence), for the README and ``doctor``."""
    rows: list[tuple[str, str, str, str]] = []
    for concern in CONCERNS:
        for name, info in concern.model_fields.items():
            rows.append(
                ((concern.__doc__ or "").strip(), f"FLUXIONS_{name.upper()}", str(info.default), info.description or "")
            )
    return rows
