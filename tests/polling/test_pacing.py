"""Laws of the pauses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedra_provider.polling import pacing, rate_limit

intervals = st.floats(min_value=0.01, max_value=3600)
ages = st.floats(min_value=0, max_value=1e6)
etas = st.none() | st.floats(min_value=-100, max_value=1e6)
jitters = st.floats(min_value=0, max_value=1, exclude_max=True)


@given(intervals, ages, etas, jitters)
def test_a_poll_comes_within_the_interval(poll_interval: float, age: float, eta: float | None, jitter: float):
    pause = pacing.next_poll_seconds(poll_interval=poll_interval, age=age, eta=eta, jitter=jitter)
    assert 0 < pause <= poll_interval
    assert pause >= min(poll_interval, pacing.FLOOR_SECONDS) * (1 - pacing.JITTER)


@given(intervals, ages, jitters)
def test_an_estimate_never_delays_a_poll(poll_interval: float, age: float, jitter: float):
    without = pacing.next_poll_seconds(poll_interval=poll_interval, age=age, eta=None, jitter=jitter)
    late = pacing.next_poll_seconds(poll_interval=poll_interval, age=age, eta=1e6, jitter=jitter)
    assert late <= without


def test_near_its_end_a_generation_is_polled_sooner():
    assert pacing.next_poll_seconds(poll_interval=15, age=10, eta=3, jitter=0) == 3


def test_an_estimate_that_keeps_saying_now_is_believed_less():
    assert pacing.next_poll_seconds(poll_interval=15, age=100, eta=0, jitter=0) == 10


@given(intervals, st.integers(min_value=1, max_value=10_000), st.floats(min_value=0, max_value=1e5), jitters)
def test_backing_off_never_undercuts_what_the_api_asked(
    poll_interval: float, failures: int, retry_after: float, jitter: float
):
    pause = pacing.back_off_seconds(
        poll_interval=poll_interval, failures=failures, retry_after=retry_after, jitter=jitter
    )
    assert retry_after <= pause <= max(retry_after, 300.0)


def test_an_estimate_is_believed_less_the_more_often_it_was_wrong():
    estimate = pacing.Estimate()
    now, pauses = 0.0, []
    for _ in range(40):
        pause = estimate.pause_seconds(
            poll_interval=15, now=now, began=-100, eta=0.5, progress=None, jitter=0
        )
        pauses.append(pause)
        now += pause
    assert pauses[0] == 1.0
    assert pauses == sorted(pauses)
    assert pauses[-1] == 15


def test_the_pace_of_its_progress_makes_an_estimate():
    assert pacing.remaining_seconds((10, 0.2), (20, 0.4)) == pytest.approx(30)
    assert pacing.remaining_seconds((10, 0.2), (20, 0.2)) is None
    assert pacing.remaining_seconds((10, 0.2), (10, 0.4)) is None
    assert pacing.remaining_seconds((10, 0.2), (20, 1.4)) == 0


def test_before_a_429_it_is_the_most():
    rate = rate_limit.RequestRate(25.0)
    assert rate.free_at < 0
    rate.sent(1.0)
    assert rate.free_at == pytest.approx(1.04)


def test_a_429_halves_the_rate_that_was_too_much_and_it_recovers():
    rate = rate_limit.RequestRate(25.0)
    pause = rate.limited(100.0, sent_at=99.8, recent_rate=8.0, retry_after=None, jitter=0.0)
    assert pause == 0.25
    assert rate.per_second(100.0) == 4.0
    # A 429 to a request sent before the first one arrived does not lower the rate; its Retry-After counts.
    assert rate.limited(100.1, sent_at=99.9, recent_rate=8.0, retry_after=7.0, jitter=0.0) == 7.0
    assert rate.per_second(100.1) == pytest.approx(4.0, abs=0.1)
    rate.sent(200.0)
    assert rate.free_at == pytest.approx(200.0 + 1 / rate.per_second(200.0))
    assert 4.0 < rate.per_second(200.0) < 25.0
    assert rate.per_second(500.0) == 25.0


@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.floats(0, 25), st.none() | st.floats(0, 1e5), jitters), min_size=1
    )
)
def test_the_rate_never_stops_for_good(
    rate_limits: list[tuple[float, float, float | None, float]],
):
    rate, now = rate_limit.RequestRate(25.0), 0.0
    for step, recent, retry_after, jitter in rate_limits:
        now += step
        pause = rate.limited(now, sent_at=now, recent_rate=recent, retry_after=retry_after, jitter=jitter)
        assert pause >= (retry_after or 0.0) - 1e-6
        assert rate.LEAST <= rate.per_second(now) <= 25.0
    assert rate.free_at <= now + 1.1e5 + 11
