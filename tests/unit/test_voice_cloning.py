"""What a matched voice is given beside its sound: the language it is to speak."""

from __future__ import annotations

import pytest

from serve.services.voice_cloning import spoken_language

pytestmark = pytest.mark.unit

KOKORO = ("en-us", "en-gb", "es", "fr", "it", "pt-br", "hi")


@pytest.mark.parametrize(
    ("heard", "matched", "expected"),
    [
        (None, "en-gb", "en-gb"),
        ("en", "en-gb", "en-gb"),
        ("en", "en-us", "en-us"),
        ("es", "en-us", "es"),
        ("pt", "en-us", "pt-br"),
        ("de", "en-us", "en-us"),
    ],
)
def test_a_voice_speaks_the_language_of_its_clip_where_the_engine_does(
    heard: str | None, matched: str, expected: str
) -> None:
    assert spoken_language(heard, matched, KOKORO) == expected
