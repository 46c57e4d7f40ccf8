"""Checks options of a job against the capabilities of the running recogniser, before anything is stored."""

from __future__ import annotations

import asyncio
from typing import Final

from schemas.domain import AS_SPOKEN, RecognizeOptions, Seconds
from schemas.errors import Unavailable
from schemas.speech_engines import Engines

_ANSWER_SECS: Final[Seconds] = 5.0
"""A loaded recogniser answers within milliseconds. After this time the recogniser counts as loading."""


async def check_supported(engines: Engines, options: RecognizeOptions) -> None:
    """Raises InvalidParameter, naming the parameter and what is allowed, for an option that the recogniser does not
    support. Raises Unavailable while the recogniser is loading. Options with default values are not checked.
    """
    if options == AS_SPOKEN:
        return
    try:
        async with asyncio.timeout(_ANSWER_SECS):
            await engines.check_options(options)
    except TimeoutError:
        raise Unavailable(
            "the recogniser is loading, so what it can do is not known yet; try again in some seconds", retry_after_secs=5
        ) from None
