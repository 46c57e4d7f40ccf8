"""`fluxions bench decode` decodes in confined and free children, and reports both for each container."""

from __future__ import annotations

import sys

import pytest

from benchmarks.engines.decode import CODECS, measure
from schemas.settings import LimitSettings

pytestmark = pytest.mark.integration


@pytest.mark.skipif(sys.platform != "linux", reason="confinement needs Linux")
def test_each_container_is_decoded_with_and_without_confinement() -> None:
    found = measure(LimitSettings(), 1.0, 1)
    assert {one.name.partition(",")[0] for one in found} == set(CODECS)
    times = [one for one in found if "decoding" in one.name]
    assert len(times) == 2 * len(CODECS)
    assert all(0 < one.value < 60_000 for one in times)
    assert all(one.value >= 0 for one in found)
