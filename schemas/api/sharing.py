"""Bodies of `/delta-sharing`, in the form of the Delta Sharing protocol (delta-io/delta-sharing, PROTOCOL.md)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ShareBody(BaseModel):
    """A share: what a recipient may read."""

    name: str


class SharePage(BaseModel):
    """A page of shares."""

    items: list[ShareBody]
    nextPageToken: str | None = None  # noqa: N815 - the protocol's name


class OneShare(BaseModel):
    """One share."""

    share: ShareBody


class SchemaBody(BaseModel):
    """A group of tables of a share."""

    name: str
    share: str


class SchemaPage(BaseModel):
    """A page of schemas."""

    items: list[SchemaBody]
    nextPageToken: str | None = None  # noqa: N815 - the protocol's name


class TableBody(BaseModel):
    """A table of a share."""

    name: str
    schema_: str = Field(alias="schema")
    share: str


class TablePage(BaseModel):
    """A page of tables."""

    items: list[TableBody]
    nextPageToken: str | None = None  # noqa: N815 - the protocol's name


class TableQuery(BaseModel):
    """The request of a table's files. Hints of predicates and limits are accepted and have no effect."""

    model_config = ConfigDict(extra="ignore")

    version: int | None = Field(None, description="Earlier versions are not shared; a request for one is refused.")
    timestamp: str | None = Field(None, description="Refused, as `version`.")
    startingVersion: int | None = Field(None, description="Changes are not shared; refused.")  # noqa: N815
