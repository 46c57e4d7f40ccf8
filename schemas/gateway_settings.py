"""Settings of the gateway: addresses, keys and limits of requests. `schemas.settings` has all settings."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from schemas.language_model_settings import Concern

MIB: Final = 1024 * 1024
MOST_TOKEN_SECS: Final = 86_400
"""Greatest value of `AuthSettings.token_max_secs`."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class ServerSettings(Concern):
    """Addresses and the home folder."""

    home: Path = Field(Path(".fluxions"), description="Folder of all state: tables, objects, keys, logs.")
    host: str = Field("127.0.0.1", description="Address on which the gateway listens.")
    port: int = Field(8000, ge=1, le=65535, description="Port on which the gateway listens.")
    public_url: str = Field("", description="URL by which clients reach the gateway; default `http://HOST:PORT`.")
    allow_public: bool = Field(
        False, description="Must be true before the gateway listens on an address other machines can reach."
    )
    ready_secs: float = Field(
        180.0, ge=1, le=86_400, description="How long `fluxions up` waits for ledger and engines before it gives up, s."
    )
    trusted_proxies: str = Field(
        "",
        description="Addresses or networks of proxies whose `X-Forwarded-For` is accepted, comma-separated: `10.0.0.0/8`.",
    )
    connections: int = Field(
        4096, ge=16, le=1_000_000, description="Connections that the gateway's proxy keeps open at once."
    )
    connections_per_address: int = Field(
        512, ge=1, le=1_000_000, description="Connections from one address at once; trusted proxies may have more."
    )
    header_timeout_secs: float = Field(
        10.0, gt=0, le=600, description="Time a client has to send a request's head, before its connection ends, s."
    )
    idle_timeout_secs: float = Field(
        300.0, gt=0, le=86_400, description="Time without a byte from a client that is sending or reading, s."
    )
    show_key: bool = Field(
        True, description="Whether `fluxions up` prints the key of `HOME/keys/default` when it is ready; else where it is."
    )
    stop_timeout_secs: float = Field(
        15.0, gt=0, le=600, description="Time after Ctrl-C before children that have not ended are killed, s."
    )
    log_mib: int = Field(64, ge=1, le=65_536, description="Size at which a log file in `HOME/logs` is rotated, MiB.")
    log_format: Literal["text", "json"] = Field(
        "text", description="Form of log lines: `text`, or `json` with one object a line."
    )
    traces_url: str = Field(
        "", description="Receiver of traces, OTLP over HTTP (`http://127.0.0.1:4318/v1/traces`); empty: no traces."
    )
    traces_share: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of requests and jobs that are traced, in addition to those that request it by `traceparent`.",
    )
    metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port of Prometheus' metrics; 0: a free port, see `HOME/monitoring/scrape-targets.json`.",
    )
    metrics_host: str = Field(
        "127.0.0.1",
        description="Address on which metrics are served; any other than loopback needs `FLUXIONS_ALLOW_PUBLIC`.",
    )
    logs_kept: int = Field(3, ge=0, le=100, description="Earlier files kept of each log.")

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        for part in filter(None, map(str.strip, value.split(","))):
            ipaddress.ip_network(part, strict=False)
        return value

    @property
    def proxies(self) -> tuple[str, ...]:
        """`trusted_proxies`, one by one."""
        return tuple(filter(None, map(str.strip, self.trusted_proxies.split(","))))

    @property
    def url(self) -> str:
        """Clients' URL of the gateway, without a slash at its end."""
        return self.public_url.rstrip("/") or f"http://{self.host}:{self.port}"

    def is_loopback(self) -> bool:
        """Whether only this machine can reach the gateway."""
        return is_loopback(self.host)


class AuthSettings(Concern):
    """Keys and signed links."""

    api_key: str = Field(
        "", description="If set at the first start, the key of the account `default`; otherwise a key is created."
    )
    key_cache_secs: float = Field(
        1.0,
        ge=0,
        le=60,
        description="How long a gateway caches a known key; a revocation takes effect within this time, for what is open "
        "within a second at least, s.",
    )
    signed_url_secs: int = Field(3600, ge=1, le=604_800, description="Lifetime of a signed download URL, s.")
    token_max_secs: float = Field(
        3600.0, ge=1, le=MOST_TOKEN_SECS, description="Longest lifetime of a token made from a key, s."
    )
    jwt_jwks_url: str = Field(
        "", description="URL of an identity provider's public keys; then its JWTs are accepted as keys."
    )
    jwt_issuer: str = Field("", description="Issuer (`iss`) of its tokens.")
    jwt_audience: str = Field("", description="Audience (`aud`) of its tokens.")
    jwt_algorithms: str = Field(
        "RS256,ES256", description="Accepted signature algorithms, comma-separated; asymmetric ones only."
    )
    jwt_leeway_secs: float = Field(30.0, ge=0, le=600, description="Tolerated difference of its clock, s.")
    jwt_account_claim: str = Field("sub", description="Claim that names the account.")
    jwt_local_accounts: bool = Field(
        False, description="Whether its tokens may also act for accounts that have keys of this server."
    )
    jwt_scopes_claim: str = Field(
        "scope", description="Claim that names scopes; a token without it has the scopes of a user."
    )

    cors_origins: str = Field(
        "",
        description="Web pages that may use the API from a browser: origins, comma-separated (`https://app.example.org`), "
        "or `*` for all. Empty: none.",
    )

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: str) -> str:
        for origin in filter(None, map(str.strip, value.split(","))):
            if origin != "*" and not re.fullmatch(r"https?://[^/\s]+", origin):
                raise ValueError(f"{origin!r} is no origin; give scheme and host, as https://app.example.org, or *")
        return value

    @property
    def cors_origin_list(self) -> list[str]:
        """`cors_origins`, one by one."""
        return [part.strip() for part in self.cors_origins.split(",") if part.strip()]

    @property
    def jwt_algorithm_list(self) -> list[str]:
        """`jwt_algorithms`, one by one."""
        return [part.strip() for part in self.jwt_algorithms.split(",") if part.strip()]

    @model_validator(mode="after")
    def _jwt_is_whole(self) -> Self:
        if self.jwt_jwks_url and not (self.jwt_issuer and self.jwt_audience):
            raise ValueError("FLUXIONS_JWT_JWKS_URL needs FLUXIONS_JWT_ISSUER and FLUXIONS_JWT_AUDIENCE")
        return self


class LimitSettings(Concern):
    """Limits of uploads and decoding."""

    max_upload_bytes: int = Field(2048 * MIB, ge=1, description="Largest recording accepted, bytes; more is a 413.")
    json_max_bytes: int = Field(8 * MIB, ge=1024, description="Largest body of JSON, bytes; more is a 413.")
    frame_max_bytes: int = Field(
        256 * MIB, ge=MIB, description="Largest body of audio or results that a worker sends, bytes; more is a 413."
    )
    import_max_bytes: int = Field(1024 * MIB, ge=1024, description="Largest body of an import, bytes; more is a 413.")
    uploads_at_once: int = Field(
        128,
        ge=1,
        le=10_000,
        description="Submits, forms, and downloads of URLs, that one gateway receives at once, each; more get a 503, "
        "and an account that has as many as are free a 429.",
    )
    requests_per_minute: int = Field(0, ge=0, description="Requests of one key in a minute; more is a 429. 0: no limit.")
    upload_bytes_per_day: int = Field(
        0, ge=0, description="Bytes of recordings that one account sends in a day; more is a 429. 0: no limit."
    )
    unfinished_jobs: int = Field(
        0, ge=0, description="Transcriptions of one account that wait or are processed; more is a 429. 0: no limit."
    )
    jobs_at_once: int = Field(
        0, ge=0, description="Transcriptions of one account that are processed at once; further ones wait. 0: no limit."
    )
    audio_hours_per_day: float = Field(
        0.0, ge=0, description="Hours of audio transcribed for one account in a day; more is a 429. 0: no limit."
    )
    chars_per_day: int = Field(
        0, ge=0, description="Characters synthesised for one account in a day; more is a 429. 0: no limit."
    )
    search_secs_per_minute: float = Field(
        0.0, ge=0, le=60, description="Time that searches of one account take in a minute, s; more is a 429. 0: no limit."
    )
    streams_per_client: int = Field(
        64,
        ge=1,
        description="Sockets, streams of events, and requests that wait for a job, which one key, or one address without a "
        "key, has open.",
    )
    streams_per_account: int = Field(
        128, ge=1, description="Sockets and streams of events that all keys and tokens of one account have open."
    )
    streams: int = Field(512, ge=1, le=900, description="Sockets and streams of events that are open in total.")
    voices_per_account: int = Field(100, ge=0, description="Cloned voices of one account; more is a 409. 0: no limit.")
    consents_per_account: int = Field(
        100, ge=0, description="Recorded consents to cloning of one account; more is a 409. 0: no limit."
    )
    speakers_per_account: int = Field(100, ge=0, description="Known speakers of one account; more is a 409. 0: no limit.")
    webhooks_per_account: int = Field(
        50, ge=0, description="Webhooks of one account, without callbacks of single jobs; more is a 409. 0: no limit."
    )
    socket_idle_secs: float = Field(
        600.0, gt=0, le=86_400, description="Time without requests after which a speech socket is closed, s."
    )
    fetch_secs: float = Field(600.0, gt=0, le=86_400, description="Longest download of a recording named by URL, s.")
    fetch_private: bool = Field(False, description="Whether recordings may be fetched by URL from private addresses.")
    manifest_anywhere: bool = Field(False, description="Whether paths in a manifest may lead out of the manifest's folder.")
    max_audio_secs: float = Field(36_000.0, gt=0, description="Longest decoded recording, s.")
    max_decode_ratio: float = Field(
        4096.0, gt=1, description="Most decoded bytes (16 kHz mono s16) for each byte of input, against decoding bombs."
    )
    decode_memory_bytes: int = Field(1024 * MIB, ge=128 * MIB, description="Address space of a decoding child, bytes.")
    decode_cpu_secs: float = Field(600.0, gt=0, description="CPU time of a decoding child, s.")
    decode_wall_secs: float = Field(900.0, gt=0, description="Wall-clock time of a decoding child, s.")
