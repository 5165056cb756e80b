"""The price of a video on v3: rates per second, the connection's own prices, and the speech."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedra_provider.api.errors import HedraConfigurationError
from hedra_provider.submission.pricing import (
    UNKNOWN_SECONDS,
    Estimate,
    Span,
    amount_text,
    measured_seconds,
    total,
)
from hedra_provider.submission.rates import (
    USD_PER_SECOND,
    estimate_avatar,
    estimate_spoken_avatar,
    quoted,
)


def dollars(low: str, high: str | None = None) -> Estimate:
    return Estimate(Decimal(low), Decimal(high or low), "USD")


@pytest.mark.parametrize("model", ["hedra-avatar", "hedra-character-3"])
@pytest.mark.parametrize(("resolution", "cost"), [("540p", "0.25"), ("720p", "0.5"), ("1080p", "0.625")])
def test_the_rates_are_those_that_were_observed(model: str, resolution: str, cost: str):
    assert estimate_avatar(model, resolution, Span.exactly(10)) == dollars(cost)


def test_ten_minutes_at_720p_cost_thirty_dollars():
    assert estimate_avatar("hedra-avatar", "720p", Span.exactly(600)) == dollars("30")


def test_the_padding_of_an_encoder_is_in_the_upper_bound():
    assert estimate_avatar("hedra-avatar", "720p", measured_seconds(8_000, 8_052)) == dollars("0.4", "0.4026")


@pytest.mark.parametrize("seconds", [None, UNKNOWN_SECONDS])
def test_an_unknown_length_has_the_models_longest_as_upper_bound(seconds: Span | None):
    assert estimate_avatar("hedra-avatar", "720p", seconds) == dollars("0", "30")
    assert estimate_avatar("hedra-avatar", "720p", seconds, longest_seconds=60) == dollars("0", "3")


@pytest.mark.parametrize("seconds", [None, Span.exactly(10)])
def test_what_is_asked_for_outweighs_the_audio(seconds: Span | None):
    assert estimate_avatar("hedra-avatar", "720p", seconds, duration_ms=4_000) == dollars("0.2")


@pytest.mark.parametrize("own", [0.08, "0.08", Decimal("0.08")])
def test_the_prices_of_the_connection_overrule_the_table(own: Any):
    prices = {"hedra-avatar": {"720p": own}, "veed-fabric-10": {"720p": 1}}
    assert estimate_avatar("hedra-avatar", "720p", Span.exactly(10), prices) == dollars("0.8")
    assert estimate_avatar("hedra-avatar", "540p", Span.exactly(10), prices) == dollars("0.25")
    assert estimate_avatar("hedra-character-3", "720p", Span.exactly(10), prices) == dollars("0.5")
    assert estimate_avatar("veed-fabric-10", "720p", Span.exactly(10), prices) == dollars("10")
    short = {"avatar": {"720p": own}}
    assert estimate_avatar("hedra-avatar", "720p", Span.exactly(10), short) == dollars("0.8")


def test_without_a_price_there_is_no_estimate():
    assert estimate_avatar("veed-fabric-10", "720p", Span.exactly(10)) is None
    assert estimate_avatar("hedra-avatar", "4K", Span.exactly(10)) is None


@pytest.mark.parametrize("wrong", ["cheap", -1, True, [], "nan"])
def test_a_wrong_price_is_no_price_of_the_table(wrong: Any):
    with pytest.raises(HedraConfigurationError, match=r"prices: .*hedra-avatar, 720p"):
        estimate_avatar("hedra-avatar", "720p", None, {"hedra-avatar": {"720p": wrong}})


def test_a_spoken_video_costs_its_speech_and_its_avatar():
    speech = quoted(0.0275, "USD")
    found = estimate_spoken_avatar(speech, "hedra-avatar", "720p", "x" * 220)
    # 220 letters are 10 to 22 seconds.
    assert found == dollars("0.5275", "1.1275")
    assert str(found) == "0.52 to 1.13 USD"
    slow = estimate_spoken_avatar(speech, "hedra-avatar", "720p", "x" * 220, 0.8)
    assert slow == dollars("0.6525", "1.4025")
    cut = estimate_spoken_avatar(speech, "hedra-avatar", "720p", "x" * 220, duration_ms=4_000)
    assert cut == dollars("0.2275")
    assert estimate_spoken_avatar(None, "hedra-avatar", "720p", "x") is None
    assert estimate_spoken_avatar(speech, "veed-fabric-10", "720p", "x") is None


def test_speech_beyond_the_longest_audio_is_not_priced():
    speech = quoted(0, "USD")
    assert estimate_spoken_avatar(speech, "hedra-avatar", "720p", "x" * 30_000) == dollars("30")


@pytest.mark.parametrize(
    ("cost", "currency"), [(0.1, "EUR"), (0.1, None), (None, "USD"), (-1, "USD"), ("x", "USD"), (True, "USD")]
)
def test_a_quote_that_is_no_price_in_dollars_is_none(cost: Any, currency: str | None):
    assert quoted(cost, currency) is None


def test_a_quote_is_exact():
    assert quoted(0.1, "USD") == dollars("0.1")


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Estimate(30, 30), "30 credits"),
        (Estimate(29, 31), "29 to 31 credits"),
        (dollars("0.42"), "0.42 USD"),
        (dollars("0.4001"), "0.41 USD"),
        (dollars("0.40", "0.45"), "0.40 to 0.45 USD"),
        # The lower bound is never overstated, the upper one never understated.
        (dollars("0.409", "0.451"), "0.40 to 0.46 USD"),
        (dollars("0", "30"), "0.00 to 30.00 USD"),
        (dollars("0.0001"), "0.01 USD"),
    ],
)
def test_the_text_of_an_estimate(found: Estimate, text: str):
    assert str(found) == text


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (30, "credits", "30 credits"),
        (Decimal("0.5"), "USD", "0.50 USD"),
        (Decimal(12), "USD", "12.00 USD"),
        (Decimal(100), "USD", "100.00 USD"),
        (Decimal("0.41250"), "USD", "0.4125 USD"),
        (0, "USD", "0.00 USD"),
    ],
)
def test_an_amount_is_shown_in_full(amount: Any, currency: str, text: str):
    assert amount_text(amount, currency) == text


def test_currencies_do_not_mix():
    with pytest.raises(ValueError, match="currencies differ"):
        Estimate(1, 1) + dollars("1")
    assert total([], "USD") == Estimate(0, 0, "USD")
    assert total([dollars("1", "2"), dollars("0.5")], "USD") == dollars("1.5", "2.5")


@given(st.fractions(0, 600), st.fractions(0, 600), st.sampled_from(list(USD_PER_SECOND["hedra-avatar"])))
def test_an_estimate_encloses_the_exact_price(one: Fraction, other: Fraction, resolution: str):
    low, high = sorted((one, other))
    rate = Fraction(USD_PER_SECOND["hedra-avatar"][resolution])
    found = estimate_avatar("hedra-avatar", resolution, Span(low, high))
    assert found
    assert Fraction(found.low) <= low * rate <= high * rate <= Fraction(found.high)
