"""The commands of the operations page are commands of `fluxions`, with options that they have."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from cli.main import main
from tests.support.operations_page import commands

pytestmark = pytest.mark.unit

NOT_RUN = "--help"
"""With it a command parses all its options, and shows its help instead of running."""


@pytest.mark.parametrize("words", commands("fluxions"), ids=" ".join)
def test_each_command_of_the_page_is_accepted(words: Sequence[str]) -> None:
    assert main([*words[1:], NOT_RUN]) == 0


def test_an_option_that_does_not_exist_is_not_accepted() -> None:
    assert main(["join", "10.0.0.1", "--secret", "cluster.secret", NOT_RUN]) == 2
