"""v3's rate limit: what a client reads of it, and how it waits for the next window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from hedra_provider.api.client import AsyncHedraClient, HedraClient
from hedra_provider.api.errors import HedraRateLimitError
from hedra_provider.api.rate_limit import RateLimit, read_rate_limit
from hedra_provider.api.v3 import calls

if TYPE_CHECKING:
    from tests.api.conftest import Driver

KEY = "the-key-id:the-secret"
NOON = 1795867200
BALANCE = {"balance": 1, "currency": "USD"}


def limited(reset_in: float = 40, **headers: str) -> httpx.Response:
    stated = {"Date": "Sat, 28 Nov 2026 12:00:00 GMT", "X-RateLimit-Limit": "60",
              "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(NOON + reset_in)}  # fmt: skip
    return httpx.Response(429, headers=stated | headers)


def run(driver: Driver, call: object, *answers: httpx.Response, **settings: object) -> object:
    left = list(answers)
    take = lambda request: left.pop(0) if len(left) > 1 else left[0]  # noqa: E731
    return driver.run(call, take, key=KEY, **settings)


def test_a_client_knows_the_last_rate_limit():
    headers = [{"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "59", "X-RateLimit-Reset": f"{NOON}"}, {}]
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=BALANCE, headers=headers.pop(0)))
    with HedraClient(KEY, transport=transport) as client:
        assert client.rate_limit is None
        client.run(calls.get_balance())
        assert client.rate_limit == RateLimit(60, 59, float(NOON))
        client.run(calls.get_balance())
        assert client.rate_limit == RateLimit(60, 59, float(NOON))


@pytest.mark.asyncio
async def test_the_client_of_a_triggerer_knows_it_too():
    headers = {"X-RateLimit-Remaining": "7"}
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=BALANCE, headers=headers))
    async with AsyncHedraClient(KEY, transport=transport) as client:
        await client.run(calls.get_balance())
        assert client.rate_limit == RateLimit(None, 7, None)


@pytest.mark.parametrize("value", ["", "x", "-1", "nan", "inf", "1e400", "9" * 5000, "1795867200000"])
def test_a_header_that_is_no_number_is_left_out(value: str):
    response = httpx.Response(200, headers={"X-RateLimit-Reset": value, "X-RateLimit-Limit": "60"})
    assert read_rate_limit(response) == RateLimit(60, None, None)


def test_after_a_429_a_client_waits_for_the_next_window(driver: Driver):
    run(driver, calls.get_balance(), limited(40), httpx.Response(200, json=BALANCE))
    (pause,) = driver.pauses
    assert 40 < pause <= 70


def test_retry_after_decides_before_the_window(driver: Driver):
    run(driver, calls.get_balance(), limited(40, **{"Retry-After": "5"}), httpx.Response(200, json=BALANCE))
    (pause,) = driver.pauses
    assert 5 < pause <= 35


def test_clients_that_were_rejected_together_do_not_come_back_together():
    from tests.api.conftest import Driver

    pauses = []
    for _ in range(100):
        driver = Driver("sync")
        run(driver, calls.get_balance(), limited(60), httpx.Response(200, json=BALANCE))
        pauses += driver.pauses
    assert 60 < min(pauses) < 70
    assert 80 < max(pauses) <= 90


def test_a_client_waits_for_90_seconds_at_most(driver: Driver):
    with pytest.raises(HedraRateLimitError) as caught:
        run(driver, calls.get_balance(), limited(50))
    assert sum(driver.pauses) <= 90
    assert len(driver.requests) == 2
    assert caught.value.retry_after == 50


def test_a_window_that_resets_too_late_is_not_waited_for(driver: Driver):
    with pytest.raises(HedraRateLimitError):
        run(driver, calls.get_balance(), limited(120))
    assert driver.pauses == []


def test_a_submit_is_not_repeated_after_a_429(driver: Driver):
    with pytest.raises(HedraRateLimitError):
        run(driver, calls.submit_job("m", b"{}", idempotency_key="k"), limited(1))
    assert (len(driver.requests), driver.pauses) == (1, [])


def test_a_window_that_has_reset_does_not_end_the_pauses(driver: Driver):
    with pytest.raises(HedraRateLimitError):
        run(driver, calls.get_balance(), limited(-5))
    assert all(pause > 0 for pause in driver.pauses)
    assert sum(driver.pauses) <= 90
