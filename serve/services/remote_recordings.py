"""Downloads recordings from clients' URLs, with limits of size and time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import httpx

from runtime.file_names import download_name
from runtime.untrusted_urls import NO_URL, AddressRefused, EncodingRefused, async_client, check_encoding
from schemas.domain import Progress, Seconds
from schemas.errors import Forbidden, InvalidRequest, PayloadTooLarge, Unavailable
from schemas.settings import LimitSettings

_READ_BYTES: Final = 256 * 1024
_TIMEOUT: Final = httpx.Timeout(30.0, connect=10.0)
_STAGE: Final = "fetching"
_SHARE: Final = 0.02
"""The part of all work on a recording that its download counts for, as at the job's worker (`flows.progress`)."""
_RATE_AFTER_SECS: Final[Seconds] = 1.0


class RemoteRecording:
    """A recording whose server has answered, and how much of it has arrived."""

    def __init__(self, answer: httpx.Response, max_bytes: int) -> None:
        self.filename = download_name(str(answer.url), answer.headers.get("Content-Disposition"))
        self.size_bytes = _declared_bytes(answer)
        """Size in bytes that the server declares. None if the server declares no size, or sends the recording
        compressed.
        """
        self._answer = answer
        self._max_bytes = max_bytes
        self._arrived = 0
        self._began = time.monotonic()
        self._check(self.size_bytes or 0)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes of the recording; can be read once.

        Raises PayloadTooLarge, and for a failed download the errors of `opened`.
        """
        with _explained():
            async for chunk in self._answer.aiter_bytes(_READ_BYTES):
                self._arrived += len(chunk)
                self._check(self._arrived)
                yield chunk

    @property
    def progress(self) -> Progress:
        """The share of the recording that has arrived; without a declared size, only the phase."""
        if not self.size_bytes:
            return Progress(_STAGE)
        done = min(1.0, self._answer.num_bytes_downloaded / self.size_bytes)
        took = time.monotonic() - self._began
        eta_secs = took * (1 - done) / done if done and took >= _RATE_AFTER_SECS else None
        return Progress(_STAGE, round(_SHARE * done, 6), eta_secs)

    def _check(self, size_bytes: int) -> None:
        if size_bytes > self._max_bytes:
            raise PayloadTooLarge(f"the recording is larger than the {self._max_bytes} bytes accepted here")


@asynccontextmanager
async def opened(url: str, limits: LimitSettings) -> AsyncIterator[RemoteRecording]:
    """The recording behind ``url``, once its server has answered. The block must end within FLUXIONS_FETCH_SECS.

    Raises Forbidden(code="address_refused"), InvalidRequest(code="download_failed"), PayloadTooLarge, Unavailable. Messages
    do not repeat the URL, which may contain a secret.
    """
    with _explained():
        try:
            async with (
                asyncio.timeout(limits.fetch_secs),
                async_client(allow_private=limits.fetch_private, timeout=_TIMEOUT) as client,
                client.stream("GET", url) as answer,
            ):
                if not answer.is_success:
                    raise InvalidRequest(
                        f"url: its server answered HTTP {answer.status_code}", code="download_failed", param="url"
                    )
                check_encoding(answer)
                yield RemoteRecording(answer, limits.max_upload_bytes)
        except TimeoutError as error:
            raise InvalidRequest(
                f"url: it took longer than {limits.fetch_secs:g} s", code="download_failed", param="url"
            ) from error


@contextmanager
def _explained() -> Iterator[None]:
    """Turns errors of the download into errors of `schemas.errors`."""
    try:
        yield
    except AddressRefused as error:
        raise Forbidden(
            "url: it is, or leads to, an address that is not of the internet", code="address_refused", param="url"
        ) from error
    except (EncodingRefused, *NO_URL, httpx.TooManyRedirects, httpx.UnsupportedProtocol) as error:
        raise InvalidRequest(
            f"url: it cannot be downloaded ({type(error).__name__})", code="download_failed", param="url"
        ) from error
    except httpx.HTTPError as error:
        raise Unavailable(f"url: its server does not answer ({type(error).__name__})", code="download_failed") from error


def _declared_bytes(answer: httpx.Response) -> int | None:
    declared = answer.headers.get("Content-Length", "")
    is_plain = answer.headers.get("Content-Encoding", "identity") == "identity"
    return int(declared) if is_plain and declared.isascii() and declared.isdigit() and len(declared) < 19 else None
