"""Removes markup from a text: tags of SSML and HTML, Markdown, entities, invisible characters, and emoji.

The meaning of markup is kept: a break becomes a pause, a substitution is spoken instead, emphasis is *marked*, and headings
and list items are separated. All other markup is dropped; no markup is read aloud. SSML is that of the
W3C (Speech Synthesis Markup Language 1.1, 2010), Markdown that of CommonMark with GitHub's tables and lists of tasks.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Final

_INVISIBLE: Final = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_ATTRIBUTES: Final = r"""(?:\s+[\w:-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'|[^\s"'<>]+))*"""
_NAMES: Final = (
    "speak|voice|lang|phoneme|audio|mark|w|token|lexicon|metadata|amazon:[a-z-]+|google:[a-z-]+|mstts:[a-z-]+"
    "|html|body|head|title|main|article|section|header|footer|nav|span|font|small|big|sup|code|pre|kbd|samp|var|cite"
    "|mark|ins|del|strike|abbr|a|u|q|img|figure|figcaption|picture|video|input|button|form|label|center|tt|time"
)
_BLOCKS: Final = "p|div|h[1-6]|li|ul|ol|dl|dt|dd|table|tr|blockquote|hr|s"
_STRONG: Final = "emphasis|em|strong|b|i"
_SPELLED: Final = "characters|spell-out|verbatim|digits|telephone"
_COUNTED: Final = "cardinal|number|ordinal"
_RATES: Final = {"x-slow": 50, "slow": 75, "medium": 100, "default": 100, "fast": 125, "x-fast": 175}
"""Percent of the usual pace. SSML 1.1, 3.2.4."""
_BREAK_SECS: Final = {"none": 0.0, "x-weak": 0.1, "weak": 0.2, "medium": 0.4, "strong": 0.7, "x-strong": 1.0}
_LONGEST_BREAK_SECS: Final = 10.0
_EMOJI: Final = re.compile(
    "(?:[\U0001f1e6-\U0001f1ff]{2}|[\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff]|[0-9#*]\ufe0f\u20e3)"
    "[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]*(?:\u200d[\u2600-\u27bf\U0001f300-\U0001faff][\ufe0f\U0001f3fb-\U0001f3ff]*)*"
)

_PROSODY: Final = re.compile(rf"<(?P<closing>/)?prosody\b(?P<attributes>{_ATTRIBUTES})\s*(?P<empty>/)?>", re.IGNORECASE)

_FLAG_A, _FLAG_Z = "\U0001f1e6", "\U0001f1ff"
"""Letters of which flags are written."""
_EMOJI_STYLES: Final = frozenset("\u200d\ufe0e\ufe0f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff")
"""What joins emoji, or changes their style or skin tone."""

Step = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]


def plain_text(text: str, *, name_emoji: bool = False) -> str:
    """``text`` without markup. Emoji are left out, or named in English with ``name_emoji``."""
    text = _paced(_without_signs(text, name_emoji=name_emoji))
    text = _applied(_TAG_STEPS, text)
    if "&" in text:
        # Tags may be written with entities, as in feeds.
        text = _applied(_TAG_STEPS, _ENTITY.sub(lambda match: html.unescape(match[0]), text))
    text = _applied(_MARKDOWN_STEPS, _without_unknown_tags(text))
    # Entities may stand for signs.
    return _without_signs(text, name_emoji=name_emoji)


def _applied(steps: Sequence[Step], text: str) -> str:
    for pattern, replacement in steps:
        text = pattern.sub(replacement, text)
    return text


def _without_unknown_tags(text: str) -> str:
    """Tags of any name are left out if they are closed, so that ``a <b> c`` of a formula stays."""
    closed = set(_CLOSING.findall(text))
    if not closed and "/>" not in text:
        return text
    text = _OPENING.sub(lambda match: " " if match["empty"] or match["name"] in closed else match[0], text)
    return _CLOSING.sub(" ", text)


def _without_signs(text: str, *, name_emoji: bool) -> str:
    return _INVISIBLE.sub("", _EMOJI.sub(_emoji_name if name_emoji else " ", text))


def _emoji_name(match: re.Match[str]) -> str:
    """The names of all its signs; a flag by the letters of its country, a keycap by its digit."""
    first = match[0][0]
    if first in "0123456789#*":
        return f" {first} "
    if _FLAG_A <= first <= _FLAG_Z:
        return f" flag of {' '.join(chr(ord('A') + ord(letter) - ord(_FLAG_A)) for letter in match[0][:2])} "
    signs = (sign for sign in match[0] if sign not in _EMOJI_STYLES)
    return f" {' '.join(name for sign in signs if (name := unicodedata.name(sign, '').lower()))} "


def _break(match: re.Match[str]) -> str:
    """``<break time="500ms"/>`` is a pause of that length, or of the length of its strength."""
    attributes = dict(re.findall(r"""(\w+)\s*=\s*["']?([\w.+-]+)""", match["attributes"] or ""))
    found = re.fullmatch(r"\+?(\d*\.?\d+)(ms|s)", attributes.get("time", ""))
    if found:
        secs = float(found[1]) / (1000 if found[2] == "ms" else 1)
    else:
        secs = _BREAK_SECS.get(attributes.get("strength", "medium"), _BREAK_SECS["medium"])
    return f"[pause {min(secs, _LONGEST_BREAK_SECS):.2f}s]" if secs else ""


def _spelled(match: re.Match[str]) -> str:
    return " ".join(c for c in match["content"] if c.isalnum())


def _counted(match: re.Match[str]) -> str:
    """A number that is not read as a year, or that is an ordinal."""
    text = match["content"].strip()
    if not text.isdecimal() or len(text) > 15:
        return text
    if match["kind"].lower() != "ordinal":
        return f"{int(text):,}"
    ending = "th" if text[-2:-1] == "1" else {"1": "st", "2": "nd", "3": "rd"}.get(text[-1], "th")
    return f"{int(text)}{ending}"


def _paced(text: str) -> str:
    """``text`` with marks instead of ``<prosody>``: from where its pace is how many percent of the usual."""
    paces = [100]

    def mark(match: re.Match[str]) -> str:
        before = paces[-1]
        if not match["closing"] and not match["empty"]:
            paces.append(_percent(match["attributes"], before))
        elif match["closing"] and len(paces) > 1:
            paces.pop()
        return " " if paces[-1] == before else f" [pace:{paces[-1]}%] "

    return _PROSODY.sub(mark, text) if "<" in text else text


def _percent(attributes: str, outer: int) -> int:
    found = re.search(r"""\brate\s*=\s*["']?([\w.+%-]+)""", attributes, re.IGNORECASE)
    rate = found[1].lower() if found else ""
    if rate in _RATES:
        return _RATES[rate]
    number = re.fullmatch(r"([+-]?)(\d{0,3}\.?\d{1,6})(%?)", rate)
    if number is None:
        return outer
    percent = float(number[2]) * (1 if number[3] else 100)
    relative = {"+": 100 + percent, "-": 100 - percent}.get(number[1], percent)
    return round(min(max(relative * (outer / 100), 50), 200))


def _emphasised(match: re.Match[str]) -> str:
    content = match["content"].strip()
    return f"*{content}*" if content else ""


def _table_row(match: re.Match[str]) -> str:
    cells = [cell.strip() for cell in match[0].strip().strip("|").split("|")]
    return ", ".join(cell for cell in cells if cell) + "."


def _step(pattern: str, replacement: Callable[[re.Match[str]], str] | str, flags: re.RegexFlag = re.NOFLAG) -> Step:
    """``replacement`` may be a text without references to groups."""
    return re.compile(pattern, flags), (lambda _: replacement) if isinstance(replacement, str) else replacement


_TAGS: Final = re.IGNORECASE
_LINES: Final = re.MULTILINE
_LINK_TITLE: Final = r"""(?:[ \t]+(?:"[^"\n]*"|'[^'\n]*'|\([^()\n]*\)))?"""
_LINK_TARGET: Final = rf"[^()\s]*(?:\([^()\s]*\)[^()\s]*)*{_LINK_TITLE}"
_ENTITY: Final = re.compile(r"&(?:#\d{1,7}|#x[\da-f]{1,6}|[a-z][a-z\d]{1,31});", re.IGNORECASE)
_CLOSING: Final = re.compile(r"</([A-Za-z][\w:.-]*)\s*>")
_OPENING: Final = re.compile(rf"<(?P<name>[A-Za-z][\w:.-]*){_ATTRIBUTES}\s*(?P<empty>/)?>")
_TAG_STEPS: Final[tuple[Step, ...]] = (
    # First, Markdown with angle brackets, or that other rules would misread.
    _step(r"^[ \t]*(?:```|~~~)[^\n]*$", "", _LINES),
    _step(r"<(https?://[^\s<>]+|[\w.+-]+@[\w.-]+\.\w+)>", lambda m: m[1]),
    _step(r"<!--.*?-->|<\?.*?\?>|<!DOCTYPE[^>]*>|<(script|style)\b.*?</\1\s*>", " ", re.DOTALL | _TAGS),
    _step(r"<!\[CDATA\[(.*?)\]\]>", lambda m: m[1], re.DOTALL),
    _step(rf"<break(?P<attributes>{_ATTRIBUTES})\s*/?>(?:\s*</break>)?", _break, _TAGS),
    _step(r"""<sub\s[^>]*?alias\s*=\s*(?:"([^"]*)"|'([^']*)')[^>]*>.*?</sub\s*>""", lambda m: m[1] or m[2] or "", _TAGS),
    _step(
        rf"""<say-as\s[^>]*?interpret-as\s*=\s*["']?(?:{_SPELLED})["']?[^>]*>(?P<content>.*?)</say-as\s*>""",
        _spelled,
        _TAGS,
    ),
    _step(
        rf"""<say-as\s[^>]*?interpret-as\s*=\s*["']?(?P<kind>{_COUNTED})["']?[^>]*>(?P<content>.*?)</say-as\s*>""",
        _counted,
        _TAGS,
    ),
    _step(rf"<(?P<tag>{_STRONG}){_ATTRIBUTES}\s*>(?P<content>[^<*]*)</(?P=tag)\s*>", _emphasised, _TAGS),
    _step(rf"</?br{_ATTRIBUTES}\s*/?>", "\n", _TAGS),
    _step(rf"</?(?:{_BLOCKS}){_ATTRIBUTES}\s*/?>", "\n\n", _TAGS),
    _step(rf"</?(?:{_NAMES}|{_STRONG}|sub|say-as|td|th|thead|tbody){_ATTRIBUTES}\s*/?>", " ", _TAGS),
)
"""SSML and HTML."""
_MARKDOWN_STEPS: Final[tuple[Step, ...]] = (
    _step(r"^[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)+\|?[ \t]*$", "", _LINES),
    _step(r"^[ \t]*([-*_])(?:[ \t]*\1){2,}[ \t]*$", "", _LINES),
    _step(r"(?<=\S)\n[ \t]*={2,}[ \t]*$", "\n\n", _LINES),
    _step(r"^[ \t]*\|.+\|[ \t]*$", _table_row, _LINES),
    _step(r"^[ \t]{0,3}#{1,6}[ \t]+(.*?)[ \t]*#*[ \t]*$", lambda m: m[1] + "\n\n", _LINES),
    _step(r"^(?:[ \t]{0,3}>[ \t]?)+", "", _LINES),
    _step(r"^([ \t]*(?:[-*+]|\d{1,3}[.)])[ \t]+)\[[ xX]\][ \t]+", lambda m: m[1], _LINES),
    _step(r"^([ \t]*)[*+](?=[ \t]+\S)", lambda m: m[1] + "-", _LINES),
    _step(r"^[ \t]*\[\^[^\]\n]+\]:.*$", "", _LINES),
    _step(rf"^[ \t]*\[[^\]\n]+\]:[ \t]*(?:<[^>\n]*>|#\S+|[^\s/]*/\S*|mailto:\S+){_LINK_TITLE}[ \t]*$", "", _LINES),
    _step(r"\[\^[^\]\n]+\]", ""),
    _step(rf"!\[([^\[\]\n]*)\]\({_LINK_TARGET}\)", lambda m: m[1]),
    _step(rf"\[([^\[\]\n]*)\]\({_LINK_TARGET}\)", lambda m: m[1]),
    _step(r"!?\[([^\[\]\n]+)\]\[[^\[\]\n]*\]", lambda m: m[1]),
    _step(r"(~~|==)(?=[^\s=])(.{1,300}?)(?<=[^\s=])\1", lambda m: m[2]),
    _step(r"(?<![\w~])~(?=[^\s\d~])([^~\n]+?)(?<=\S)~(?![\w~])|(?<=\w)~(\w{1,4})~", lambda m: m[1] or m[2]),
    _step(r"(?<![\w$])(\${1,2})(?=[^\s\d$])([^$\n]+?)(?<=\S)\1(?![\w$])", lambda m: m[2]),
    _step(r"\*{3}(?=\S)([^*\n]+?)(?<=\S)\*{3}", lambda m: f"*{m[1]}*"),
    _step(r"(?<!\w)__?(?=[^\s_])([^_\n]+?)(?<=[^\s_])__?(?!\w)", lambda m: f"*{m[1]}*"),
    _step(r"\\([\\`*_{}\[\]()#+.!|~>-])", lambda m: m[1]),
)
