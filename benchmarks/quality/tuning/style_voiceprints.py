"""Computes the voiceprint of each of Kokoro's voices, from which voice matching starts.

    .venv/bin/python -m benchmarks.quality.tuning.style_voiceprints

renders the trial sentences of the matcher in each of the 41 voices and writes `VOICEPRINTS`, package data of the
synthesiser: ``names``, ``heard`` (``(41, 257) float16``: mean voiceprint, L2-normalised, and binary logarithm of the median
pitch in Hz), and ``made_with``, the revision of the engine. It takes about two minutes on one core.
"""

from __future__ import annotations

import numpy as np

from schemas.settings import EngineSettings, Settings
from schemas.speech import VoiceProfile
from serve.engines.registry import choice
from serve.engines.tts.kokoro import build
from serve.engines.tts.kokoro_styles import StyleBook
from serve.engines.tts.style_space import Vector
from serve.engines.tts.voice_matching import SpeakerEncoder
from serve.engines.tts.voice_matching_kokoro import TRIAL_SENTENCES, VOICEPRINTS, features, spoken


def main() -> None:
    synthesizer = build(choice(Settings(engines=EngineSettings(tts_engine="kokoro")), "synthesizer"))
    encoder = SpeakerEncoder()
    names = sorted(StyleBook().names)
    rows: list[Vector] = []
    for name in names:
        voice = VoiceProfile(voice_id=name, base="", style=((name, 1.0),))
        each = [features(encoder, spoken(synthesizer, voice, (sentence,))) for sentence in TRIAL_SENTENCES]
        mean = np.mean(each, axis=0)
        mean[:-1] /= np.linalg.norm(mean[:-1])
        rows.append(mean)
        print(f"{name}: {2 ** mean[-1]:.0f} Hz", flush=True)
    synthesizer.close()
    made_with = np.array(synthesizer.info.revision)
    np.savez(VOICEPRINTS, names=np.array(names), heard=np.array(rows, np.float16), made_with=made_with)
    print(f"written to {VOICEPRINTS}")


if __name__ == "__main__":
    main()
