"""What `make demo-live` prints before it asks: price and balance, in the currency of the key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hedra_provider.api.client import HedraClient
from scripts.demo_report import price_and_balance

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox


@pytest.mark.hedra_sandbox(media=False, credits=500)
def test_a_v2_key_pays_in_credits(hedra_sandbox: Sandbox):
    with HedraClient(hedra_sandbox.api_key, base_url=hedra_sandbox.base_url) as client:
        price, balance = price_and_balance(client, 10.0, "720p")
    assert "credits" in price
    assert balance == "Credits remaining: 500"


@pytest.mark.hedra_sandbox(api="3", media=False, usd=12.5)
def test_a_v3_key_pays_in_dollars(hedra_sandbox: Sandbox):
    with HedraClient(hedra_sandbox.api_key, base_url=hedra_sandbox.base_url) as client:
        price, balance = price_and_balance(client, 10.0, "720p")
    assert "about 0.50 USD" in price
    assert balance == "Balance: 12.50 USD"
