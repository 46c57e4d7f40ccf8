"""The multipart forms of OpenAI's clients: one file and text fields in any order, the file usually last."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import PurePath
from typing import Any, Final, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from schemas.api.openai_forms import form_values
from schemas.api.parsing import validation_error
from schemas.errors import InvalidRequest

M = TypeVar("M", bound=BaseModel)

PART_BYTES: Final = 16 * 1024 * 1024
"""Largest text field: a reference clip of ten seconds as a data URL."""
_MOST_FIELDS: Final = 1000
_READ_BYTES: Final = 256 * 1024


def form_schema(model: type[BaseModel], file_field: str) -> dict[str, Any]:
    """The OpenAPI schema of a form that the route reads by itself: the fields of ``model`` and the file."""
    fields = _without_references(model.model_json_schema())
    fields["properties"] = {file_field: {"type": "string", "format": "binary"}, **fields["properties"]}
    fields["required"] = [file_field, *fields.get("required", ())]
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": fields}}}}


def _without_references(schema: dict[str, Any]) -> Any:
    """A schema with its definitions inlined, because an OpenAPI document keeps definitions in another place."""
    definitions = schema.pop("$defs", {})

    def resolved(part: Any) -> Any:
        if isinstance(part, list):
            return [resolved(one) for one in part]
        if not isinstance(part, dict):
            return part
        definition = definitions[part["$ref"].rpartition("/")[2]] if "$ref" in part else {}
        return {name: resolved(one) for name, one in (definition | part).items() if name != "$ref"}

    return resolved(schema)


@asynccontextmanager
async def uploaded(request: Request, file_field: str) -> AsyncIterator[tuple[UploadFile, dict[str, Any]]]:
    """The file and the text fields of the request's form, see `form_values`. Raises InvalidRequest."""
    content_type = request.headers.get("content-type", "")
    if not content_type.startswith("multipart/form-data"):
        raise InvalidRequest(
            f"the body is {content_type.partition(';')[0][:80] or 'of no type'}; send multipart/form-data", code="no_form"
        )
    try:
        form = await request.form(max_files=_MOST_FIELDS, max_fields=_MOST_FIELDS, max_part_size=PART_BYTES)
    except HTTPException as error:
        raise InvalidRequest(f"the form cannot be read: {error.detail}", code="bad_form") from error
    try:
        yield (
            _file(form, file_field),
            form_values((name, text) for name, text in form.multi_items() if isinstance(text, str)),
        )
    finally:
        await form.close()


def _file(form: FormData, field: str) -> UploadFile:
    found = form.get(field)
    if not isinstance(found, UploadFile):
        raise InvalidRequest(f"{field}: the form has no file of this name", code="missing_file", param=field)
    return found


def valid_form(model: type[M], values: dict[str, Any]) -> M:
    """The fields as ``model``. Raises InvalidParameter that names the field."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise validation_error(error.errors(include_url=False)) from None


def file_name(upload: UploadFile) -> str:
    """The client's name of the file, without folders, 255 characters at most."""
    return PurePath((upload.filename or "").replace("\\", "/")).name[-255:] or "audio"


async def chunks(upload: UploadFile) -> AsyncIterator[bytes]:
    """The file's bytes, piece by piece."""
    while piece := await upload.read(_READ_BYTES):
        yield piece
