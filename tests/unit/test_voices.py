"""The catalogue of built-in voices: what each engine offers, by which names, and what is refused."""

from __future__ import annotations

import re

import pytest

from schemas.errors import NotFound
from serve.engines.tts.espeak_voices import ESPEAK_VOICES
from serve.engines.tts.kokoro_phonemes import ESPEAK_VOICES as LANGUAGES
from serve.engines.tts.kokoro_voices import KOKORO_VOICES
from serve.engines.tts.voices import built_in, canonical_voice, default_voice, find_voice, fits

pytestmark = pytest.mark.unit

LEADING = ["maeve.h736bab09a", "abraham.h736bab09a", "harry.h736bab09a", "isla.h52c1d7e40", "marcus.h9ae3046bd"]


def test_kokoro_has_41_voices_in_seven_languages_the_contracts_first() -> None:
    assert len(KOKORO_VOICES) == 41
    assert [voice.voice_id for voice in KOKORO_VOICES[:5]] == [voice.voice_id for voice in ESPEAK_VOICES] == LEADING
    assert {voice.language for voice in KOKORO_VOICES} == set(LANGUAGES)
    names = [voice.voice_id.partition(".")[0] for voice in KOKORO_VOICES]
    assert len(set(names)) == 41
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)?\.h[0-9a-f]{9}", voice.voice_id) for voice in KOKORO_VOICES)
    assert all(70 < voice.f0_hz < 260 and voice.preview_text for voice in KOKORO_VOICES)
    assert len({voice.preview_text for voice in KOKORO_VOICES}) == 41


def test_a_voice_is_found_by_id_by_name_and_by_its_style() -> None:
    for voice in KOKORO_VOICES:
        name = voice.voice_id.partition(".")[0]
        assert find_voice(voice.voice_id, "kokoro") is voice
        assert find_voice(name, "kokoro") is find_voice(f"{name}.anything", "kokoro") is voice
        assert find_voice(voice.style[0][0], "kokoro") is voice
    assert find_voice("maeve", "espeak") is ESPEAK_VOICES[0]
    assert find_voice("maeve", "csm") is ESPEAK_VOICES[0]
    assert default_voice("kokoro").voice_id == default_voice("espeak").voice_id == "maeve.h736bab09a"
    assert len(built_in("espeak")) == len(built_in("dia")) == 5


@pytest.mark.parametrize("name", ["", ".", "maev", "MAEVE", "u-1-abc", "../maeve", "af_", "en-us+f2"])
def test_an_unknown_voice_is_refused(name: str) -> None:
    for engine in ("kokoro", "espeak"):
        with pytest.raises(NotFound, match="GET /vui/voices") as refused:
            find_voice(name, engine)
        assert (refused.value.code, refused.value.param) == ("unknown_voice", "voice")


def test_a_voice_of_another_engine_is_refused_as_such() -> None:
    with pytest.raises(NotFound, match=r"'siwis'.*kokoro.*espeak serves here") as refused:
        find_voice("siwis", "espeak")
    assert (refused.value.status, refused.value.code) == (404, "voice_of_another_engine")


def test_records_name_a_voice_by_its_canonical_id() -> None:
    assert canonical_voice("harry.en-us") == "harry.h736bab09a"
    assert canonical_voice("ff_siwis") == canonical_voice("siwis") == "siwis.ha35f5675a"
    assert canonical_voice("u-1-abc") == "u-1-abc"


def test_a_matched_voice_fits_the_engine_it_was_matched_for() -> None:
    assert fits(KOKORO_VOICES[0], "kokoro")
    assert not fits(KOKORO_VOICES[0], "espeak")
    assert fits(ESPEAK_VOICES[0], "espeak")
    assert not fits(ESPEAK_VOICES[0], "kokoro")
