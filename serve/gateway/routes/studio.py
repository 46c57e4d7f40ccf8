"""`/studio`: the files of the page. They need no key; the data that the page shows need one."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from schemas.errors import NotFound
from serve.gateway.dependencies import Services, services
from studio.assets import INDEX, read_assets

router = APIRouter(prefix="/studio", include_in_schema=False)

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Scripts and styles are files of this page, never inline, and no text becomes markup."""
_HEADERS: Final = {
    "Cache-Control": "no-cache",  # the browser asks each time, and gets 304 if the ETag matches
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}

_assets = cache(read_assets)


@router.get("")
async def to_page() -> RedirectResponse:
    """Redirect to the page by a relative URL, so that a proxy may serve the application below a path."""
    return RedirectResponse("studio/", 307)


@router.head("/{path:path}")
@router.get("/{path:path}")
async def file(path: str, request: Request, s: Annotated[Services, Depends(services)]) -> Response:
    """One file; the page itself for the empty path. Raises NotFound."""
    asset = _assets().get(path or INDEX)
    if asset is None:
        raise NotFound(f"the studio has no file {path[:80]!r}", param="path")
    headers = {
        **_HEADERS,
        "ETag": asset.etag,
        "Content-Security-Policy": f"{_POLICY}; media-src 'self' blob:{await _store(s)}",
    }
    if asset.etag in request.headers.get("if-none-match", ""):
        return Response(None, 304, headers)
    return Response(None if request.method == "HEAD" else asset.content, 200, headers, asset.media_type)


async def _store(s: Services) -> str:
    """The origin of a bucket that signs its URLs itself, from which recordings are played; nothing for a local folder."""
    if not s.objects.signs:
        return ""
    url = urlsplit(await s.signer.sign("studio", "", 1))
    return f" {url.scheme}://{url.netloc}"
