"""Prices: Hedra's formula in exact arithmetic, and spans where a length is not known."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedra_provider.api.responses import Model
from hedra_provider.submission.pricing import (
    UNKNOWN_SECONDS,
    Estimate,
    Span,
    estimate,
    price,
    spoken_seconds,
    total,
    uploaded_seconds,
)

PRICING = {
    "base_cost": None,
    "credits_per_second": 3,
    "modifiers": {"resolution": {"540p": 0.5, "1080p": 2.0}},
}
AVATAR = Model(slug="a", type="video", max_duration_ms=600_000, pricing=PRICING)
SPEECH = Model(slug="s", type="text_to_speech", pricing={"credits_per_second": 1, "modifiers": {}})


def video(resolution: str = "720p", **fields: Any) -> dict[str, Any]:
    inputs = {"resolution": resolution, "aspect_ratio": "9:16"}
    return {"type": "video", "audio_id": "x", "generated_video_inputs": inputs} | fields


@pytest.mark.parametrize(
    ("pricing", "seconds", "choices", "credits"),
    [
        (PRICING, 10, {"resolution": "720p"}, 30),
        (PRICING, 10, {"resolution": "540p"}, 15),
        (PRICING, 10, {"resolution": "1080p"}, 60),
        (PRICING, Fraction("6.7"), {}, 21),
        ({"base_cost": 5, "modifiers": {"resolution": {"4K": 1.5}}}, 99, {"resolution": "4K"}, 8),
        ({"base_cost": 1, "credits_per_second": 0.1, "modifiers": {}}, 30, {}, 4),
        (
            {"credits_per_second": 10, "modifiers": {"generate_audio": {"false": 0.7}}},
            1,
            {"generate_audio": False},
            7,
        ),
        ({"credits_per_second": 10, "modifiers": {"fps": {"60": 2}}}, 1, {"fps": 60}, 20),
        ({"credits_per_second": 10, "modifiers": {"fps": {"60": 2}}}, 1, {"fps": 60.0}, 20),
        ({"credits_per_second": 10, "modifiers": {"ids": {"x": 2}}}, 1, {"ids": ["x"]}, 10),
        ({"base_cost": 0, "credits_per_second": None}, 1, {}, 0),
        ({"modifiers": None, "credits_per_second": 2}, 1, {}, 2),
        ({"modifiers": {}}, 1, {}, None),
        ({}, 1, {}, None),
    ],
)
def test_the_formula(pricing: dict[str, Any], seconds: Any, choices: dict[str, Any], credits: int | None):
    assert price(pricing, Fraction(seconds), choices) == credits


def test_a_tenth_is_a_tenth():
    # In binary floating point 0.1 * 3 is more than 0.3, and its ceiling one credit too many.
    assert (
        price(
            {"credits_per_second": 0.1, "modifiers": {"resolution": {"x": 10}}},
            Fraction(3),
            {"resolution": "x"},
        )
        == 3
    )


def test_a_known_length_is_one_price():
    assert estimate(video(), AVATAR, audio_seconds=Span.exactly(10)) == Estimate(30, 30)
    assert str(Estimate(30, 30)) == "30 credits"


def test_what_is_asked_for_outweighs_the_audio():
    inputs = {"resolution": "720p", "duration_ms": 2000}
    body = video() | {"generated_video_inputs": inputs}
    assert estimate(body, AVATAR, audio_seconds=Span.exactly(10)) == Estimate(6, 6)


@pytest.mark.parametrize(
    ("start_ms", "seconds"), [(-5000, 15), (5000, 5), (20_000, 0), ("-5000", 15), (0, 10)]
)
def test_where_the_audio_begins_counts(start_ms: Any, seconds: int):
    body = video(audio_start_ms=start_ms)
    assert estimate(body, AVATAR, audio_seconds=Span.exactly(10)) == Estimate(3 * seconds, 3 * seconds)


def test_an_audio_beyond_the_models_longest_is_cut_there():
    short = Model(type="video", max_duration_ms=8000, pricing=PRICING)
    assert estimate(video(), short, audio_seconds=Span.exactly(8)) == Estimate(24, 24)
    # Hedra takes an audio that is a little longer than the longest, and may bill it in full.
    assert estimate(video(), short, audio_seconds=Span.exactly(10)) == Estimate(24, 27)
    assert estimate(video(), short, audio_seconds=uploaded_seconds(10, short)) == Estimate(1, 27)


def test_an_unknown_length_has_the_models_maximum_as_upper_bound():
    assert estimate(video(), AVATAR) == Estimate(0, 1803)
    assert estimate(video(), AVATAR, audio_seconds=UNKNOWN_SECONDS) == Estimate(0, 1803)
    assert estimate(video(audio_start_ms=5000), AVATAR, audio_seconds=UNKNOWN_SECONDS) == Estimate(0, 1803)
    unlimited = Model(type="video", pricing=PRICING)
    assert estimate(video(), unlimited, audio_seconds=UNKNOWN_SECONDS) is None
    assert estimate(video(), Model(type="video", pricing=PRICING)) is None
    assert estimate(video(), Model(type="video")) is None


def test_inline_speech_is_a_span_and_costs_extra():
    body = video(audio_id=None, audio_generation={"text": "x" * 220, "speed": 1.0})
    # Without a price for the speech there is no estimate.
    assert estimate(body, AVATAR) is None
    assert estimate(body, AVATAR, speech=SPEECH) == Estimate(40, 88)
    assert str(Estimate(40, 88)) == "40 to 88 credits"


def test_speech_of_its_own():
    assert estimate({"type": "text_to_speech", "text": "x" * 220}, SPEECH) == Estimate(10, 22)


def test_a_batch_costs_each_variation():
    assert estimate(video(batch_size=3), AVATAR, audio_seconds=Span.exactly(10)) == Estimate(90, 90)


def test_signs_take_longer_than_letters():
    assert spoken_seconds("你好" * 21).high == 14
    assert spoken_seconds("ab" * 21).high < 5
    assert spoken_seconds("x" * 100, Fraction("0.7")).high > spoken_seconds("x" * 100).high


@pytest.mark.parametrize(
    ("said", "span"),
    [
        (6700, Span(Fraction("6.7"), Fraction("6.7"))),
        # Thirty seconds and a part of the next, rounded down.
        (30, Span(Fraction("0.03"), Fraction(31))),
        (None, None),
        (0, None),
    ],
)
def test_a_duration_that_may_mean_two_things_is_taken_as_both(said: int | None, span: Span | None):
    assert uploaded_seconds(said, AVATAR) == span


numbers = st.none() | st.integers(0, 1000) | st.floats(0, 100, allow_nan=False).map(lambda x: round(x, 3))
pricings = st.fixed_dictionaries(
    {
        "base_cost": numbers,
        "credits_per_second": numbers,
        "modifiers": st.dictionaries(
            st.sampled_from(["resolution", "generate_audio"]),
            st.dictionaries(
                st.sampled_from(["540p", "720p", "true"]), st.floats(0.1, 5).map(lambda x: round(x, 2))
            ),
        ),
    }
)


@given(pricings, st.fractions(0, 600), st.fractions(0, 600))
def test_longer_is_never_cheaper(pricing: dict[str, Any], one: Fraction, other: Fraction):
    short, long = (price(pricing, seconds, {"resolution": "540p"}) for seconds in sorted((one, other)))
    assert (short is None) == (long is None)
    assert short is None or long is None or short <= long


@given(st.text(max_size=200), st.fractions(Fraction("0.7"), Fraction("1.2")))
def test_a_span_is_one(text: str, speed: Fraction):
    span = spoken_seconds(text, speed)
    assert 0 <= span.low <= span.high


@given(
    pricings | st.dictionaries(st.text(), st.none() | st.text() | st.integers()),
    st.integers(0, 10**6) | st.none(),
)
def test_any_pricing_can_be_read(pricing: dict[str, Any], longest: int | None):
    model = Model(type="video", pricing=pricing, max_duration_ms=longest)
    found = estimate(video(audio_generation={"text": "x", "speed": "fast"}, audio_id=None), model)
    assert found is None or 0 <= found.low <= found.high


def test_the_sum():
    assert total([Estimate(1, 2), Estimate(3, 4)]) == Estimate(4, 6)
    assert total([]) == Estimate(0, 0)
