"""Styles: the file is the published one, voices mix, and what cannot be a style is refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import InvalidParameter, Unavailable
from schemas.speech import VoiceProfile
from serve.engines.tts.kokoro_styles import STYLE_SHAPE, STYLES_PATH, StyleBook
from serve.engines.tts.kokoro_voices import KOKORO_VOICES

pytestmark = pytest.mark.unit

VOICE = VoiceProfile(voice_id="u-1", base="", style=(("af_heart", 0.5), ("am_michael", 0.5)))


@pytest.fixture(scope="module")
def styles() -> StyleBook:
    return StyleBook()


def test_every_voice_has_a_style_and_every_style_a_voice(styles: StyleBook) -> None:
    assert sorted(name for voice in KOKORO_VOICES for name, _ in voice.style) == sorted(styles.names)
    for voice in KOKORO_VOICES:
        assert styles.style(voice.style[0][0]).shape == STYLE_SHAPE


def test_the_row_is_that_of_the_number_of_tokens(styles: StyleBook) -> None:
    heart = replace(VOICE, style=(("af_heart", 1.0),))
    for num_tokens in (1, 17, 510):
        assert np.array_equal(styles.row(heart, num_tokens), styles.style("af_heart")[num_tokens - 1])
    assert styles.row(heart, 5).dtype == np.float32


def test_styles_mix_by_weight_and_an_offset_is_added_to_every_row(styles: StyleBook) -> None:
    mean = (styles.style("af_heart") + styles.style("am_michael")) / 2
    assert np.allclose(styles.row(VOICE, 30), mean[29], atol=1e-6)
    moved = replace(VOICE, style_offset=tuple(0.01 * i for i in range(256)))
    assert np.allclose(styles.row(moved, 30) - mean[29], 0.01 * np.arange(256), atol=1e-5)
    assert np.allclose(styles.row(VOICE, 30), mean[29], atol=1e-6), "the same id with another style is another voice"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"style": ()}, "no Kokoro style"),
        ({"style": (("af_nobody", 1.0),)}, "'af_nobody'"),
        ({"style": (("af_heart", float("nan")),)}, "weight nan"),
        ({"style": (("af_heart", 40.0),)}, "weight 40"),
        ({"style_offset": (0.1,) * 255}, "255 numbers.*256"),
        ({"style_offset": (float("inf"),) * 256}, "256 finite"),
    ],
)
def test_a_style_that_cannot_be_made_is_refused_by_name(styles: StyleBook, change: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidParameter, match=says) as refused:
        styles.row(replace(VOICE, **change), 10)  # type: ignore[arg-type]
    assert (refused.value.code, refused.value.param) == ("unusable_style", "voice")


def test_a_file_that_is_missing_or_differs_is_refused_with_both_digests(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be read"):
        StyleBook(tmp_path / "kokoro.npz")
    changed = bytearray(STYLES_PATH.read_bytes())
    changed[5000] ^= 1
    (tmp_path / "kokoro.npz").write_bytes(changed)
    with pytest.raises(Unavailable, match=r"SHA-256 [0-9a-f]{64}, expected 85634d130f7c484a") as refused:
        StyleBook(tmp_path / "kokoro.npz")
    assert refused.value.code == "model_unavailable"
