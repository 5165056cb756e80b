"""Rules that hold for all values: prices, patches, templates of paths, speech."""

from __future__ import annotations

import math
import wave
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedra_provider.sandbox import catalogue
from hedra_provider.sandbox.faults import Fault, Faults, merge, template
from hedra_provider.sandbox.speech import speech_duration_ms, synthesise_speech

if TYPE_CHECKING:
    from pathlib import Path

milliseconds = st.integers(0, 600_000)
avatar = catalogue.find_model(slug="together/hedra-avatar", model_id=None)
assert avatar is not None


@given(milliseconds, st.sampled_from([("540p", "0.5"), ("720p", "1"), ("1080p", "2")]))
def test_price_is_the_formula_rounded_up_once(duration_ms: int, choice: tuple[str, str]) -> None:
    resolution, modifier = choice
    exact = Decimal(3) * duration_ms / 1000 * Decimal(modifier)
    assert catalogue.price(avatar, duration_ms, resolution) == math.ceil(exact)


@given(st.integers(1, 500), st.integers(1, 600))
def test_price_of_a_modifier_that_no_float_can_hold(base: int, tenths: int) -> None:
    modifier = tenths / 10
    model = {
        "pricing": {
            "base_cost": base,
            "credits_per_second": None,
            "modifiers": {"resolution": {"8K": modifier}},
        }
    }
    assert catalogue.price(model, 0, "8K") == math.ceil(Fraction(base * tenths, 10))


@given(milliseconds, milliseconds)
def test_longer_is_never_cheaper(one: int, other: int) -> None:
    short, long = sorted((one, other))
    assert catalogue.price(avatar, short) <= catalogue.price(avatar, long)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)
json_objects = st.dictionaries(st.text(max_size=2), json_values, max_size=4)


@given(json_objects, json_objects)
def test_a_patch_applied_twice_is_applied_once(answer: dict, patch: dict) -> None:
    once = merge(answer, patch)
    assert merge(once, patch) == once
    assert merge(answer, {}) == answer


def test_a_null_in_a_patch_removes() -> None:
    assert merge({"a": 1, "b": {"c": 2, "d": 3}}, {"a": None, "b": {"c": None}}) == {"b": {"d": 3}}


@pytest.mark.parametrize(
    ("path", "templated"),
    [
        (f"/generations/{UUID(int=7)}/status", "/generations/{id}/status"),
        (f"/assets/{UUID(int=7)}/upload", "/assets/{id}/upload"),
        (f"/files/{UUID(int=7)}", "/files/{id}"),
        (f"/uploads/{UUID(int=7)}", "/uploads/{id}"),
        ("/generations", "/generations"),
        ("/generations/x/other", "/generations/x/other"),
    ],
)
def test_templates(path: str, templated: str) -> None:
    assert template(path) == templated


@pytest.mark.parametrize(
    ("on", "matches"),
    [("GET /models", True), ("POST /models", False), ("* /models", True), ("GET *", True), ("*", True)],
)
def test_wildcards(on: str, matches: bool) -> None:
    assert Fault(on).matches("GET", "/models") is matches


def test_the_first_matching_fault_applies() -> None:
    faults = Faults()
    faults.faults = [Fault("*", skip=1, times=1), Fault("*", times=1, status=500)]
    picked = [faults.pick("GET", "/x") for _ in range(3)]
    assert picked == [faults.faults[1], faults.faults[0], None]


@given(st.text(min_size=1, max_size=500), st.floats(0.7, 1.2))
def test_faster_speech_is_never_longer(text: str, speed: float) -> None:
    assert speech_duration_ms(text, 1.2) <= speech_duration_ms(text, speed) <= speech_duration_ms(text, 0.7)


@pytest.mark.parametrize("duration_ms", [500, 1234, 10_000])
def test_speech_has_the_requested_length(tmp_path: Path, duration_ms: int) -> None:
    file = tmp_path / "speech.wav"
    synthesise_speech(file, "Hello world", duration_ms)
    with wave.open(str(file)) as sound:
        assert sound.getnframes() / sound.getframerate() == pytest.approx(duration_ms / 1000, abs=0.001)
        assert any(sound.readframes(5000))


def test_voices_keep_their_ids() -> None:
    ids = [voice["id"] for voice in catalogue.VOICES]
    assert len(set(ids)) == len(ids) >= 6
    assert ids[0] == "9d4bef6e-2c68-58d1-bf3e-e39aeec09115"
