"""Settings of clusters: the addresses and the parts of each machine. `schemas.settings` has all settings."""

from __future__ import annotations

from typing import Final, Literal, get_args

from pydantic import Field, SecretStr, field_validator

from schemas.language_model_settings import Concern

Role = Literal["gateway", "engines", "ledger", "worker"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)


class ClusterSettings(Concern):
    """More than one machine."""

    ray_address: str = Field(
        "", description="An existing Ray cluster, as `HOST:PORT`; empty: one is started, only for this home."
    )
    node_address: str = Field(
        "", description="Address by which other machines of a cluster reach this one; empty: no other machine can reach it."
    )
    cluster_port: int = Field(
        6380,
        ge=1024,
        le=65_533,
        description="Port on which a cluster's head waits for other machines; the next two are used as well.",
    )
    cluster_secret_file: str = Field(
        "", description="File with the secret of a cluster, mode 0600; default `HOME/keys/cluster`."
    )
    node_roles: str = Field(
        ",".join(ROLES), description="Parts that may run on this machine: `gateway`, `engines`, `ledger`, `worker`."
    )
    role_resources: bool = Field(
        False,
        description="Whether an existing Ray cluster has the resources `fluxions_gateway`, `fluxions_engines` and "
        "`fluxions_ledger`, which say where each part may run.",
    )
    shared_storage: bool = Field(
        False, description="Whether other machines use the storage's folder too; then a lease locks it, as for a bucket."
    )
    ledger_lease_secs: float = Field(
        10.0,
        ge=1,
        le=600,
        description="Time without renewal after which another process may take the ledger of a bucket or cluster over, s.",
    )
    prefect_database_url: SecretStr = Field(
        SecretStr(""),
        description="Database of Prefect's server, as `postgresql+asyncpg://USER:PASSWORD@HOST/NAME`; default SQLite.",
    )

    @field_validator("node_roles")
    @classmethod
    def _known_roles(cls, value: str) -> str:
        unknown = {part.strip() for part in value.split(",") if part.strip()} - set(ROLES)
        if unknown:
            raise ValueError(f"{', '.join(sorted(unknown))}: no such role; there are {', '.join(ROLES)}")
        return value

    @property
    def roles(self) -> frozenset[Role]:
        """`node_roles`, one by one."""
        return frozenset(role for role in ROLES if role in {part.strip() for part in self.node_roles.split(",")})

    @property
    def places_by_role(self) -> bool:
        """Whether parts run only on machines that offer the resource of their role."""
        return bool(self.node_address) or self.role_resources

    @property
    def storage_is_shared(self) -> bool:
        """Whether a ledger on another machine may use the storage."""
        return self.shared_storage or self.has_other_machines

    @property
    def has_other_machines(self) -> bool:
        """Whether processes of this instance may run on other machines."""
        return bool(self.node_address or self.ray_address)
