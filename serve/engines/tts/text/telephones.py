"""Telephone numbers, digit by digit with a pause between groups.

They are recognised by form: an international prefix, a national prefix of 0, or the groups of North America.
"""

from __future__ import annotations

import re
from typing import Final

from serve.engines.tts.text.numbers import Rule, digits

_LEAST_DIGITS: Final = 7
_MOST_DIGITS: Final = 15
"""Of an international number (ITU-T E.164)."""


def _grouped(match: re.Match[str]) -> str:
    groups = re.findall(r"\d+", match[0])
    if not _LEAST_DIGITS <= sum(map(len, groups)) <= _MOST_DIGITS:
        return match[0]
    return ("plus " if match[0].startswith("+") else "") + ", ".join(digits(group) for group in groups)


RULES: Final[tuple[Rule, ...]] = (
    (re.compile(r"(?<![\w.+])\+\d{1,3}(?:[ .-]?(?:\(0\) ?)?\(?\d{1,5}\)?){1,6}(?![\w-]|\.\d)"), _grouped),
    (re.compile(r"\+\d{8,15}\b"), _grouped),
    (re.compile(r"(?<![\w.,+-])(?:\(0\d{2,4}\) ?|0\d{2,4}[ -])\d{2,8}(?:[ -]\d{2,5}){0,3}(?![\w-]|[.,:]\d)"), _grouped),
    (re.compile(r"(?<![\w.-])1[- ]\d{3}[- ]\d{3}[- ]\d{4}(?![\w-])"), _grouped),
    (re.compile(r"(?<![\w.])(?:\((\d{3})\) ?|(\d{3})[-. ])(\d{3})[-.](\d{4})(?![\w-])"), _grouped),
    (re.compile(r"(?<![\w-])(\d{3})-(\d{4})(?![\w-])"), _grouped),
    (re.compile(r"(?<![\w.,-])1[38]00 \d{3} \d{3}(?![\w-]|[.,]\d)"), _grouped),
    (re.compile(r"(?<![\w.,-])555 \d{4}(?![\w-]|[.,]\d)"), _grouped),
    (re.compile(r"\bext\.? ?(?=\d)"), lambda m: "extension "),
)
