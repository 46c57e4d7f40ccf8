"""The commands of `docs/operations.md`, as tests run them: with addresses and folders of their own."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping

from tests.support.processes import ROOT, RUN_SECS

_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SETTING = re.compile(r"[A-Z][A-Z_]*=")


def typed(begin: str, replaced: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """The words of the page's one command that begins so, and the settings in front of it.

    Raises AssertionError if there is no such command, or several.
    """
    first = shlex.split(_with(begin, replaced))
    found = [(words, settings) for words, settings in _commands(replaced) if words[: len(first)] == first]
    assert len(found) == 1, f"{len(found)} commands of docs/operations.md begin with {begin!r}"
    return found[0]


def commands(program: str) -> list[list[str]]:
    """The words of each of the page's commands of this program."""
    return [words for words, _ in _commands({}) if words[:1] == [program]]


def exported(name: str, replaced: Mapping[str, str]) -> dict[str, str]:
    """The variables that a shell exports after the page's one block that exports ``name``."""
    (block,) = (block for block in _blocks() if f"export {name}=" in block)
    command = ["bash", "-euc", f"{_with(block, replaced)}\nenv -0"]
    path = {"PATH": os.environ["PATH"]}
    said = subprocess.run(command, env=path, check=True, capture_output=True, text=True, timeout=RUN_SECS).stdout
    found = dict(line.split("=", 1) for line in said.split("\0") if line)
    return {key: value for key, value in found.items() if key not in ("PATH", "PWD", "SHLVL", "_")}


def _commands(replaced: Mapping[str, str]) -> Iterator[tuple[list[str], dict[str, str]]]:
    """The words of each command, and the settings in front of it."""
    for line in "".join(_blocks()).splitlines():
        words = shlex.split(_with(line, replaced), comments=True)
        count = next((number for number, word in enumerate(words) if not _SETTING.match(word)), len(words))
        yield words[count:], dict(word.split("=", 1) for word in words[:count])


def _blocks() -> list[str]:
    return _BLOCK.findall((ROOT / "docs" / "operations.md").read_text())


def _with(text: str, replaced: Mapping[str, str]) -> str:
    for old, new in replaced.items():
        assert new, old
        text = text.replace(old, new)
    return text
