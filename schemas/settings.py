"""Every setting, by concern; each has a bound, a unit and one sentence, and a row in ``docs/settings.md``.

All are environment variables ``FLUXIONS_<NAME>``; sizes are bytes, times are seconds.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from schemas.cluster_settings import ClusterSettings
from schemas.gateway_settings import MIB, AuthSettings, LimitSettings, ServerSettings
from schemas.language_model_settings import Concern, LanguageModelSettings
from schemas.scaling_settings import ScalingSettings

__all__ = [
    "CONCERNS",
    "ArchiveSettings",
    "AuthSettings",
    "ClusterSettings",
    "DropinSettings",
    "EngineSettings",
    "JobSettings",
    "LanguageModelSettings",
    "LimitSettings",
    "RealtimeSettings",
    "ScalingSettings",
    "ServerSettings",
    "Settings",
    "SpeechSettings",
    "StorageSettings",
    "WebhookSettings",
    "documented",
]


class StorageSettings(Concern):
    """Storage and maintenance."""

    storage_url: str = Field(
        "", description="Root of tables and objects: a folder or `s3://bucket/prefix`; default `HOME/data`."
    )
    checkpoint_interval: int = Field(
        20, ge=2, le=1000, description="Fewest Delta commits between two checkpoints of a table."
    )
    fsync: bool = Field(True, description="Flush commits and uploads to the disk before they are acknowledged.")
    reserve_bytes: int = Field(
        512 * MIB,
        ge=0,
        description="Free space that is kept for accepted work: with less, uploads are refused with 507, bytes.",
    )
    read_cache_bytes: int = Field(128 * MIB, ge=0, description="Size of a gateway's cache of decoded history rows, bytes.")
    vacuum_hours: int = Field(
        24, ge=1, le=8760, description="How long files of older table versions are kept for time travel, h."
    )
    event_retention_days: float = Field(
        30.0,
        ge=0,
        le=36_500,
        description="How long events of ended jobs, old revisions and deliveries are kept, days; deliveries at least 7.",
    )
    maintenance: bool = Field(True, description="Whether the supervisor runs the schedules of `prefect.yaml`.")
    orphan_hours: float = Field(24.0, ge=1, le=8760, description="Age at which an object that no row names is removed, h.")


class JobSettings(Concern):
    """Jobs and workers."""

    workers: int = Field(1, ge=0, le=64, description="Worker processes that the supervisor starts.")
    worker_jobs: int = Field(4, ge=1, le=256, description="Jobs that one worker processes at once.")
    lease_secs: float = Field(
        15.0,
        ge=1,
        le=3600,
        description="Time without renewal after which a lease expires and its job returns to the queue, s.",
    )
    max_attempts: int = Field(3, ge=1, le=100, description="Attempts before a job whose worker keeps dying is failed.")
    claim_wait_secs: float = Field(
        20.0, ge=0, le=55, description="How long a claim waits for a job before it is answered without one, s."
    )
    long_file_secs: float = Field(
        120.0, ge=1, description="Recordings longer than this are processed block by block, and can be resumed, s."
    )
    block_secs: float = Field(300.0, ge=5, le=900, description="Longest block of a long recording, s.")
    blocks_at_once: int = Field(2, ge=1, le=16, description="Blocks of one long recording that are processed at once.")
    block_cache_days: float = Field(
        7.0, gt=0, le=3650, description="How long results of blocks of long recordings are cached, days."
    )
    usd_per_audio_hour: float = Field(
        0.20, ge=0, description="Price of an hour of transcribed audio, billed by the second, USD."
    )


class ArchiveSettings(Concern):
    """Archives."""

    archive_batch_files: int = Field(50, ge=1, le=100, description="Files in one Dask task; up to 100 in long runs.")
    archive_workers: int = Field(2, ge=1, le=256, description="Processes of the local Dask cluster of an archive run.")
    archive_files_at_once: int = Field(
        4, ge=1, le=64, description="Files that one Dask worker processes at once; also its concurrent requests to engines."
    )
    dask_address: str = Field(
        "", description="Dask scheduler that archives use, as `tls://HOST:PORT`; default: a local cluster."
    )
    operator_key: SecretStr = Field(
        SecretStr(""), description="Key of scope `operator` that archives use; default the one in `HOME/keys/node`."
    )


class SpeechSettings(Concern):
    """Speech and cloned voices."""

    tts_max_chars: int = Field(100_000, ge=1, le=1_000_000, description="Longest text of one render, characters.")
    tts_emoji: Literal["silent", "named"] = Field(
        "silent", description="Whether emoji in a text are left out or named in English."
    )
    tts_socket_message_bytes: int = Field(
        2 * MIB, ge=1024, le=16 * MIB, description="Largest message on a speech socket, bytes."
    )
    tts_socket_queue: int = Field(16, ge=1, le=1000, description="Renders that may wait on one speech socket.")
    tts_verify_retries: int = Field(2, ge=0, le=10, description="Most retries of a passage whose verification fails.")
    usd_per_million_chars: float = Field(10.0, ge=0, description="Price of a million rendered characters, USD.")
    anonymous_renders_per_minute: int = Field(
        120, ge=0, description="Renders without a key from one address in a minute; ten times that from all together."
    )
    anonymous_chars_per_minute: int = Field(
        200_000, ge=0, description="Characters rendered without a key for one address in a minute; ten times that for all."
    )
    clone_max_bytes: int = Field(25 * MIB, ge=1024, description="Largest reference clip of a voice, bytes; more is a 413.")
    clone_max_secs: float = Field(120.0, ge=1, le=3600, description="Longest reference clip of a voice, s.")
    clone_search_secs: float = Field(
        45.0, ge=1, le=600, description="Longest search for the style nearest to a reference clip, with Kokoro, s."
    )
    require_consent: bool = Field(
        False, description="Whether a voice is cloned only with its speaker's recorded consent and statement."
    )


class RealtimeSettings(Concern):
    """Limits of realtime sessions."""

    realtime_sessions: int = Field(
        80,
        ge=1,
        le=10_000,
        description="Realtime sessions of one gateway replica; more are refused with 503, and over four fifths of them "
        "for one account with 429.",
    )
    realtime_session_secs: float = Field(
        3600.0, ge=1, le=86_400, description="Longest realtime session; then it ends with `session_expired`, s."
    )
    realtime_turn_secs: float = Field(
        300.0, ge=1, le=3600, description="Longest turn of a user, and longest audio that waits for a commit, s."
    )
    realtime_interrupt_secs: float = Field(
        0.5, ge=0, le=10, description="Duration of speech that interrupts a response even without words; 0: any speech, s."
    )
    realtime_lead_secs: float = Field(
        0.2,
        ge=0.05,
        le=60,
        description="Audio of a response that is sent ahead of its playback, for networks with varying delay, s.",
    )
    realtime_eager: bool = Field(
        True, description="Whether a response is prepared before a turn is certainly over; discarded if the turn continues."
    )
    realtime_store_audio: bool = Field(
        True, description="Whether the audio of both sides of a conversation is stored in its account's history."
    )
    realtime_model_stall_secs: float = Field(
        30.0, gt=0, le=3600, description="Longest wait for output of the language model; then the response fails, s."
    )


class EngineSettings(LanguageModelSettings):
    """Engines and replicas."""

    profile: Literal["embedded", "cpu", "gpu"] = Field(
        "embedded", description="Choice of all engines: `embedded` needs no download; `cpu` and `gpu` need `models`."
    )
    asr_engine: str = Field("", description="Recogniser: `whisper`, `nemo` or `transformers`; empty: the profile's.")
    asr_model: str = Field(
        "",
        description="Recogniser's model: a folder, a `.nemo` file, a hub name, or `tiny.en`; empty: the engine's own.",
    )
    asr_language: str = Field(
        "", description="Spoken language, as Whisper or Canary names it (`en`, `de`); empty: detected, or the model's own."
    )
    diarizer_engine: str = Field(
        "", description="Diariser: `resemblyzer`, `sortformer` or `nemo-embeddings`; empty: the profile's."
    )
    diarizer_model: str = Field("", description="Diariser's model: a `.nemo` file or a hub name; empty: the engine's.")
    events_engine: str = Field("", description="Event detector: `rules` or `transformers`; empty: the profile's.")
    events_model: str = Field("", description="Event detector's model: a folder or a hub name; empty: the engine's.")
    events_threshold: float = Field(
        0.5, gt=0, lt=1, description="Least probability at which a detector that analyses audio reports an event."
    )
    tts_engine: str = Field("", description="Synthesiser: `kokoro`, `espeak`, `csm` or `dia`; empty: the profile's.")
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
    events_gpus: float = Field(0.25, ge=0, le=64, description="Share of a GPU one event detector replica takes.")
    tts_gpus: float = Field(0.25, ge=0, le=64, description="Share of a GPU one synthesiser replica takes.")
    asr_max_batch: int = Field(
        16, ge=1, le=1024, description="Most utterances in one batch, for a recogniser that supports batches."
    )
    asr_batch_secs: float = Field(
        120.0, ge=1, description="Longest batch of utterances, each counted as long as the longest of them, s."
    )
    recognizer_replicas: int = Field(0, ge=0, le=256, description="Recogniser replicas; 0 means one, which uses all cores.")
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
    utterance_max_secs: float = Field(13.0, ge=1, le=30, description="Longest utterance given to a recogniser, s.")


class WebhookSettings(Concern):
    """Delivery of events to webhooks."""

    webhook_at_once: int = Field(32, ge=1, le=1000, description="Most events that one gateway sends at once.")
    webhook_timeout_secs: float = Field(15.0, gt=0, le=60, description="Timeout of a receiver's response, s.")
    webhook_private_addresses: bool = Field(
        False, description="Whether webhooks may be sent to addresses of this machine and of private networks."
    )


class LiveSettings(Concern):
    """Live transcription."""

    live_streams: int = Field(
        20, ge=1, le=1000, description="Most concurrent live streams of one gateway; four fifths of one account."
    )
    live_idle_secs: float = Field(30.0, ge=1, le=3600, description="Time after which a silent live stream is closed, s.")


class DropinSettings(Concern):
    """Names of models and voices for clients of other servers."""

    model_aliases: dict[str, Literal["recognizer", "synthesizer"]] = Field(
        default_factory=dict,
        description='Further model names and the slot that answers, as JSON: `{"nova-3": "recognizer"}`.',
    )
    voice_aliases: dict[str, str] = Field(
        default_factory=dict,
        description="Further voice names and the voice that speaks, as JSON; they come before those of OpenAI's voices.",
    )
    unknown_models: Literal["serve", "refuse"] = Field(
        "serve", description="Unknown model names: `serve` with the configured model, or `refuse` with a 404."
    )


CONCERNS: tuple[type[Concern], ...] = (
    ServerSettings,
    AuthSettings,
    StorageSettings,
    LimitSettings,
    JobSettings,
    ArchiveSettings,
    SpeechSettings,
    RealtimeSettings,
    EngineSettings,
    ScalingSettings,
    WebhookSettings,
    LiveSettings,
    DropinSettings,
    ClusterSettings,
)


class Settings(BaseModel):
    """All groups of settings, built once in a process with ``Settings()`` and passed to its parts."""

    model_config = ConfigDict(frozen=True)

    server: ServerSettings = Field(default_factory=ServerSettings)
    auth: AuthSettings = Field(default_factory=AuthSettings)
    storage: StorageSettings = Field(default_factory=StorageSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    jobs: JobSettings = Field(default_factory=JobSettings)
    archives: ArchiveSettings = Field(default_factory=ArchiveSettings)
    speech: SpeechSettings = Field(default_factory=SpeechSettings)
    realtime: RealtimeSettings = Field(default_factory=RealtimeSettings)
    engines: EngineSettings = Field(default_factory=EngineSettings)
    scaling: ScalingSettings = Field(default_factory=ScalingSettings)
    webhooks: WebhookSettings = Field(default_factory=WebhookSettings)
    live: LiveSettings = Field(default_factory=LiveSettings)
    dropin: DropinSettings = Field(default_factory=DropinSettings)
    cluster: ClusterSettings = Field(default_factory=ClusterSettings)

    def on_this_machine(self) -> Settings:
        """The settings of another machine of the cluster, with the home folder that this machine uses for caches."""
        home = os.environ.get("FLUXIONS_HOME")
        if not home or not self.cluster.has_other_machines:
            return self
        parts = {name: getattr(self, name) for name in Settings.model_fields}
        return Settings(**{**parts, "server": self.server.model_copy(update={"home": Path(home)})})

    @cached_property
    def home(self) -> Path:
        """Absolute path of FLUXIONS_HOME."""
        return self.server.home.expanduser().resolve()

    @cached_property
    def scratch(self) -> Path:
        """Folder of scratch folders (`runtime.scratch`)."""
        return self.home / "scratch"

    @cached_property
    def storage_url(self) -> str:
        """The storage root: an absolute folder path, or a URL with a scheme."""
        url = self.storage.storage_url
        if "://" in url and not url.startswith("file://"):
            return url.rstrip("/")
        return str(Path(url.removeprefix("file://")).expanduser().resolve()) if url else str(self.home / "data")


def documented() -> list[tuple[str, str, str, str]]:
    """Every setting as (concern, environment variable, default, sentence), for ``docs/settings.md`` and ``doctor``."""
    rows: list[tuple[str, str, str, str]] = []
    for concern in CONCERNS:
        about = (concern.__doc__ or "").strip()
        for name, info in concern.model_fields.items():
            default = str(info.get_default(call_default_factory=True))
            rows.append((about, f"FLUXIONS_{name.upper()}", default, info.description or ""))
    return rows
