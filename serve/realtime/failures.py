"""Logs unexpected errors without their messages, which may contain a user's words."""

from __future__ import annotations

import logging
import traceback


def log_unexpected(logger: logging.Logger, where: str, error: BaseException) -> None:
    """Log the error's type and the lines of code in its traceback."""
    lines = "".join(traceback.format_tb(error.__traceback__))
    logger.error("unexpected %s in %s\n%s", type(error).__name__, where, lines)
