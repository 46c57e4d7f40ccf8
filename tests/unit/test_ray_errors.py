"""Errors of engines' replicas, as Ray raises them in the gateway."""

from __future__ import annotations

import pytest
from ray.exceptions import ActorDiedError, RayTaskError

from schemas.errors import FluxionsError, InvalidAudio, Unavailable
from serve.ray_engines import unwrapped_errors
from serve.services.request_fields import at_field

pytestmark = pytest.mark.unit


def test_an_error_of_a_replica_is_our_own_and_can_name_its_field() -> None:
    refused = InvalidAudio("two voices were heard", code="two_voices")
    raised = RayTaskError("match", "traceback", refused).as_instanceof_cause()
    assert isinstance(raised, InvalidAudio)  # and a RayTaskError
    with pytest.raises(InvalidAudio) as caught, at_field("audio"), unwrapped_errors():
        raise raised
    assert type(caught.value) is InvalidAudio
    assert (caught.value.message, caught.value.code) == ("audio: two voices were heard", "two_voices")
    assert caught.value.param == "audio"


def test_other_errors_of_a_replica_stay_as_they_are_and_a_dead_one_can_be_asked_again() -> None:
    with pytest.raises(RayTaskError) as caught, unwrapped_errors():
        raise RayTaskError("match", "traceback", ValueError("unexpected")).as_instanceof_cause()
    assert not isinstance(caught.value, FluxionsError)
    with pytest.raises(Unavailable), unwrapped_errors():
        raise ActorDiedError
