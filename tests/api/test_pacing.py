"""Laws of the pauses."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hedra_provider.api import pacing

intervals = st.floats(min_value=0.01, max_value=3600)
ages = st.floats(min_value=0, max_value=1e6)
etas = st.none() | st.floats(min_value=-100, max_value=1e6)
chances = st.floats(min_value=0, max_value=1, exclude_max=True)


@given(intervals, ages, etas, chances)
def test_a_look_comes_within_the_interval(poll_interval: float, age: float, eta: float | None, chance: float):
    pause = pacing.next_look_seconds(poll_interval=poll_interval, age=age, eta=eta, chance=chance)
    assert 0 < pause <= poll_interval
    assert pause >= min(poll_interval, pacing.FLOOR_SECONDS) * (1 - pacing.JITTER)


@given(intervals, ages, chances)
def test_an_estimate_never_delays_a_look(poll_interval: float, age: float, chance: float):
    without = pacing.next_look_seconds(poll_interval=poll_interval, age=age, eta=None, chance=chance)
    late = pacing.next_look_seconds(poll_interval=poll_interval, age=age, eta=1e6, chance=chance)
    assert late <= without


def test_near_its_end_a_generation_is_looked_at_sooner():
    assert pacing.next_look_seconds(poll_interval=15, age=10, eta=3, chance=0) == 3


def test_an_estimate_that_keeps_saying_now_is_believed_less():
    assert pacing.next_look_seconds(poll_interval=15, age=100, eta=0, chance=0) == 10


@given(intervals, st.integers(min_value=1, max_value=10_000), st.floats(min_value=0, max_value=1e5), chances)
def test_backing_off_never_undercuts_what_the_api_asked(
    poll_interval: float, failures: int, retry_after: float, chance: float
):
    pause = pacing.back_off_seconds(
        poll_interval=poll_interval, failures=failures, retry_after=retry_after, chance=chance
    )
    assert retry_after <= pause <= max(retry_after, 300.0)
