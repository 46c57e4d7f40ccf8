"""Parts of `fluxions bench engines` that need no Ray: they measure what they say, with the engines that are chosen."""

from __future__ import annotations

import pytest

from benchmarks.engines import csm, sortformer, stages
from benchmarks.measure import Measure
from schemas.settings import EngineSettings, Settings
from tests.support.tiny_recognizers import CTC

pytestmark = [
    pytest.mark.integration,
    # NeMo and what it brings: deprecations of their own making.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(nemo|lhotse|lightning|pydub|numba|torch|hydra).*"),
]


def by_name(measures: list[Measure]) -> dict[str, float]:
    return {measure.name: measure.value for measure in measures}


def test_the_stages_of_a_long_recording_make_up_its_whole_time() -> None:
    settings = Settings(engines=EngineSettings(asr_engine="nemo", asr_model=str(CTC), device="cpu"))
    found = by_name(stages.measure(settings, 40.0))
    shares = [found[f"{stage}, share of the time of all"] for stage in stages.STAGES]
    assert sum(shares) == pytest.approx(1.0)
    assert all(share > 0 for share in shares)
    slowest = min(found[f"{stage}, 40 s of speech"] for stage in stages.STAGES)
    assert 0 < found["all, one after another"] < slowest


def test_sortformer_is_measured_whole_and_streamed() -> None:
    found = by_name(sortformer.measure(Settings(engines=EngineSettings(device="cpu")), "tiny"))
    assert [found[f"Sortformer, tiny shape, {secs} s of sound"] > 0 for secs in (30, 90, 300)] == [True] * 3
    assert found["memory, model and work"] > 0


def test_csm_is_measured_to_its_first_frame_and_for_each_later_one() -> None:
    found = by_name(csm.measure("tiny", "cpu"))
    first, later, made = found.values()
    assert first > 0
    assert later > 0
    assert made == pytest.approx(80 / later)
