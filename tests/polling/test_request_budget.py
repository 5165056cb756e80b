"""The budget of requests a minute that the polls of a v3 connection take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedra_provider.polling.request_budget import RequestBudget


def shown(budget: RequestBudget, now: float, remaining: float, limit: float = 60, **facts: float) -> None:
    facts = {"reset_seconds": 40.0, "jitter": 0.0} | facts
    budget.shown(limit=limit, remaining=remaining, now=now, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("configured", "limit", "per_minute"),
    [
        (None, None, 30),
        (None, 60, 30),
        (None, 600, 300),
        (12, None, 12),
        (12, 60, 12),
        # A third of the limit is left to workers, whatever the connection says.
        (60, 60, 40),
        (1000, 600, 400),
    ],
)
def test_the_requests_a_minute(configured: float | None, limit: float | None, per_minute: float):
    budget = RequestBudget(configured)
    if limit is not None:
        shown(budget, 0.0, limit, limit)
    budget.sent(100.0)
    assert budget.free_at == pytest.approx(100.0 + 60.0 / per_minute)


def test_it_pauses_until_the_reset_when_less_than_a_third_is_left_to_workers():
    budget = RequestBudget()
    shown(budget, 0.0, 20)
    assert budget.free_at <= 0.0
    shown(budget, 0.0, 19)
    assert budget.free_at == 40.0
    # It recovers by itself, at the same rate.
    budget.sent(40.0)
    shown(budget, 40.0, 59)
    assert budget.free_at == 42.0


def test_several_triggerers_do_not_begin_a_window_together():
    budget = RequestBudget()
    shown(budget, 0.0, 5, jitter=0.5)
    assert budget.free_at == 41.0


@pytest.mark.parametrize("reset_seconds", [None, -500.0, 1e9])
def test_a_clock_that_is_wrong_costs_a_window_at_most(reset_seconds: float | None):
    budget = RequestBudget()
    shown(budget, 0.0, 5, reset_seconds=reset_seconds)  # type: ignore[arg-type]
    assert budget.free_at <= 60.0


@pytest.mark.parametrize("limit", [None, 0, -1])
def test_headers_that_say_nothing_change_nothing(limit: float | None):
    budget = RequestBudget()
    shown(budget, 0.0, 0, limit)  # type: ignore[arg-type]
    assert budget.free_at <= 0.0
    budget.sent(0.0)
    assert budget.free_at == 2.0


def test_a_429_pauses_as_long_as_hedra_asks_then_halves_the_rate_which_recovers():
    budget = RequestBudget()
    budget.sent(0.0)
    pause = budget.limited(0.5, sent_at=0.0, retry_after=30.0, jitter=0.0)
    assert (pause, budget.free_at) == (30.0, 30.5)
    budget.sent(30.5)
    assert 33.0 < budget.free_at < 34.5
    budget.sent(1000.0)
    assert budget.free_at == 1002.0


def test_a_429_waits_for_the_reset_that_its_headers_name():
    budget = RequestBudget()
    shown(budget, 0.0, 0, reset_seconds=25.0)
    assert budget.limited(0.0, sent_at=0.0, retry_after=None, jitter=0.0) == 25.0


@given(st.lists(st.tuples(st.integers(1, 1000), st.floats(0, 1), st.floats(0, 90), st.floats(0, 0.99))))
def test_it_never_stops_for_good(windows: list[tuple[int, float, float, float]]):
    budget, now = RequestBudget(), 0.0
    for limit, share, reset_seconds, jitter in windows:
        shown(budget, now, limit * share, limit, reset_seconds=reset_seconds, jitter=jitter)
        # A limit of one request is two minutes between polls.
        assert budget.free_at - now <= 60.0 + 2 * 120.0
        now = max(now, budget.free_at)
        budget.sent(now)
