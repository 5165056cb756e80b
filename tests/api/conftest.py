from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from hedra_provider.api.client import AsyncHedraClient, HedraClient
from tests.api.accounts import Account

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox, Sandboxes

Handler = Callable[[httpx.Request], httpx.Response]


class Driver:
    """Either client, run synchronously over a fake transport; the pauses are noted, not taken."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.pauses: list[float] = []
        self.requests: list[httpx.Request] = []

    def run(self, call: Any, handler: Handler, key: str = "the-key", **settings: Any) -> Any:
        def seen(request: httpx.Request) -> httpx.Response:
            self.requests.append(request)
            return handler(request)

        transport = httpx.MockTransport(seen)
        if self.kind == "sync":
            with HedraClient(key, transport=transport, sleep=self.pauses.append, **settings) as client:
                return client.run(call)

        async def sleep(seconds: float) -> None:
            self.pauses.append(seconds)

        async def go() -> Any:
            async with AsyncHedraClient(key, transport=transport, sleep=sleep, **settings) as client:
                return await client.run(call)

        return asyncio.run(go())


@pytest.fixture(params=["sync", "async"])
def driver(request: pytest.FixtureRequest) -> Driver:
    return Driver(request.param)


@pytest.fixture(params=["sync", "async"])
def account(hedra_sandbox: Sandbox, request: pytest.FixtureRequest) -> Account:
    return Account(hedra_sandbox, request.param)


@pytest.fixture
def forgetful(hedra_sandboxes: Sandboxes) -> Account:
    """An account of an API that gives every generation an id of its own."""
    return Account(hedra_sandboxes.get(duplicate_id="ignore"), "sync")
