"""Limits and balances in both currencies, and a bill that differs from its estimate."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from hedra_provider.api.errors import HedraInsufficientCreditsError, HedraValueError
from hedra_provider.records import Balance
from hedra_provider.submission.budget import (
    Limits,
    cost_drift,
    require_available,
    require_covered,
    require_within,
)
from hedra_provider.submission.pricing import Estimate

CREDITS = Estimate(29, 31)
DOLLARS = Estimate(Decimal("0.40"), Decimal("0.45"), "USD")


@pytest.mark.parametrize(
    ("found", "limits"),
    [
        (CREDITS, Limits(max_credits=31)),
        (DOLLARS, Limits(max_cost=Decimal("0.45"))),
        # Only the limit that fits the key counts.
        (CREDITS, Limits(max_credits=31, max_cost=Decimal("0.01"))),
        (DOLLARS, Limits(max_credits=1, max_cost=Decimal("0.45"))),
        (CREDITS, Limits()),
        (DOLLARS, Limits()),
        (None, Limits()),
        (CREDITS, 31),
    ],
)
def test_within_the_limit(found: Estimate | None, limits: Any):
    require_within(found, limits, "this video")


@pytest.mark.parametrize(
    ("found", "limits", "says"),
    [
        (CREDITS, 30, "this video may cost 29 to 31 credits, max_credits is 30."),
        (CREDITS, Limits(max_credits=30), "this video may cost 29 to 31 credits, max_credits is 30."),
        (
            DOLLARS,
            Limits(max_cost=Decimal("0.44")),
            "this video may cost 0.40 to 0.45 USD, max_cost is 0.44.",
        ),
        (
            Estimate(Decimal("0.0001"), Decimal("0.0001"), "USD"),
            Limits(max_credits=99, max_cost=0),
            "this video may cost 0.01 USD, max_cost is 0.",
        ),
    ],
)
def test_above_the_limit(found: Estimate, limits: Any, says: str):
    with pytest.raises(HedraValueError) as raised:
        require_within(found, limits, "this video")
    assert raised.value.message == says
    assert raised.value.param in says
    assert "Nothing was submitted" in str(raised.value)


@pytest.mark.parametrize("found", [True, False])
@pytest.mark.parametrize(
    ("currency", "limits", "says"),
    [
        (
            "USD",
            Limits(max_credits=10**6),
            "max_credits is given, but the connection's key is for API v3, which is paid in US dollars. "
            "Give max_cost, in US dollars.",
        ),
        (
            "credits",
            Limits(max_cost=10**6),
            "max_cost is given, but the connection's key is for API v2, which is paid in credits. "
            "Give max_credits, in credits.",
        ),
    ],
)
def test_the_wrong_limit_alone_names_the_right_one(currency: str, limits: Limits, says: str, found: bool):
    estimate = {"USD": DOLLARS, "credits": CREDITS}[currency] if found else None
    with pytest.raises(HedraValueError) as raised:
        require_within(estimate, limits, "this video", currency=currency)
    assert str(raised.value).startswith(says)


@pytest.mark.parametrize(
    ("currency", "limits", "says"),
    [
        ("credits", Limits(max_credits=5), "max_credits is 5, but the cost of this video can't be estimated"),
        ("USD", Limits(max_cost=5), "max_cost is 5, .*prices of the connection's extra"),
    ],
)
def test_a_limit_needs_an_estimate(currency: str, limits: Limits, says: str):
    with pytest.raises(HedraValueError, match=says):
        require_within(None, limits, "this video", currency=currency)


def test_a_balance_in_dollars():
    require_covered(DOLLARS, Balance(available=Decimal("0.45"), currency="USD", pool="The key"))
    require_covered(DOLLARS, Balance(available=None, currency="USD", pool="The key"))
    with pytest.raises(HedraInsufficientCreditsError) as raised:
        require_covered(DOLLARS, Balance(available=Decimal("0.4499"), currency="USD", pool="The key"))
    assert str(raised.value) == (
        "The key has 0.4499 USD; up to 0.45 USD are needed. Add funds in Hedra's console. "
        "Nothing was submitted."
    )
    assert raised.value.credits_needed is None


def test_a_balance_in_credits():
    require_available(CREDITS, 31, None)
    require_available(CREDITS, None, None)
    with pytest.raises(HedraInsufficientCreditsError) as raised:
        require_available(CREDITS, 30, "team")
    assert raised.value.message == "Workspace team has 30 credits; up to 31 are needed."
    assert (raised.value.credits_needed, raised.value.credits_available) == (31, 30)


def test_a_balance_in_another_currency_is_not_compared():
    with pytest.raises(ValueError, match="USD can't be compared with credits"):
        require_covered(DOLLARS, Balance(available=99, currency="credits", pool="The key"))


@pytest.mark.parametrize(
    ("found", "cost"),
    [
        (DOLLARS, Decimal("0.42")),
        (DOLLARS, Decimal("0.495")),
        (DOLLARS, Decimal("0.36")),
        (DOLLARS, None),
        # A refund.
        (DOLLARS, Decimal(0)),
        (None, Decimal(5)),
        (CREDITS, 34),
    ],
)
def test_a_cost_near_its_estimate_is_no_drift(found: Estimate | None, cost: Any):
    assert cost_drift(found, cost) is None


@pytest.mark.parametrize(
    ("found", "cost", "says"),
    [
        (DOLLARS, Decimal("0.496"), "It cost 0.496 USD, 10 % above the estimate of 0.40 to 0.45 USD."),
        (DOLLARS, Decimal("0.9"), "It cost 0.90 USD, 100 % above the estimate of 0.40 to 0.45 USD."),
        (DOLLARS, Decimal("0.2"), "It cost 0.20 USD, 50 % below the estimate of 0.40 to 0.45 USD."),
        (CREDITS, 62, "It cost 62 credits, 100 % above the estimate of 29 to 31 credits."),
        (Estimate(0, 0), 2, "It cost 2 credits, above the estimate of 0 credits."),
    ],
)
def test_a_drift_of_more_than_a_tenth_is_worth_a_sentence(found: Estimate, cost: Any, says: str):
    sentence = cost_drift(found, cost)
    assert sentence
    assert sentence.startswith(says)
    if found is DOLLARS:
        assert "November 2026" in sentence
        assert "prices of the connection's extra" in sentence
