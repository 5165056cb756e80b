"""Wait by the poller on a clock that moves when it waits, and takes the sandbox's along."""

from __future__ import annotations

import asyncio
import contextvars
import time
from typing import TYPE_CHECKING, Any

from hedra_provider import poller
from hedra_provider.api import calls
from hedra_provider.hooks import HedraHook
from hedra_provider.poller import wait_for_generation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import pytest

    from hedra_provider.records import Generation
    from hedra_provider.testing import Sandbox

STATUS = "/generations/{id}/status"
CONNECTION = "AIRFLOW_CONN_HEDRA_DEFAULT"
TASK: contextvars.ContextVar[str] = contextvars.ContextVar("TASK", default="nobody's")


class MovedClock(poller.Clock):
    """
    Time that passes only while the poller has nothing to do, and then at once.

    It stands still until all whom :func:`all_of` announced have come: reading a connection takes real time.
    """

    def __init__(self, sandbox: Sandbox, patch: pytest.MonkeyPatch) -> None:
        self._now = 1000.0
        self._epoch = time.time() - self._now
        self._sandbox = sandbox
        self.announced = self.come = 0
        self.moves_when: Callable[[], bool] = lambda: self.come >= self.announced
        take = poller.Poller.add

        def counted(*arguments: Any) -> None:
            self.come += 1
            take(*arguments)

        patch.setattr(poller.Poller, "add", counted)
        patch.setattr(poller, "CLOCK", self)

    def now(self) -> float:
        return self._now

    def epoch(self) -> float:
        return self._epoch + self._now

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        if seconds == float("inf"):
            await event.wait()
        # Other tasks of the loop may set the event first.
        await asyncio.sleep(0)
        while not self.moves_when() or "hedra-poll" in tasks():
            if event.is_set():
                return
            await asyncio.sleep(0.001)
        if event.is_set():
            return
        self._now += seconds
        self._sandbox.advance(seconds)


def submit(count: int, sandbox: Sandbox | None = None) -> list[str]:
    body = {"type": "text_to_speech", "text": "Good morning"}
    with HedraHook().get_conn() as client:
        body["voice_id"] = client.run(calls.list_voices())[0].id
        ids = []
        for _ in range(count):
            if sandbox is not None:
                sandbox.advance(1)
            ids.append(client.run(calls.submit(body)).id)
    return ids


def wait(generation_id: str, **changes: Any) -> Awaitable[Generation]:
    lines: list[str] = changes.pop("lines", [])
    arguments = {
        "hedra_conn_id": "hedra_default",
        "deadline": time.time() + 3600,
        "poll_interval": 1.0,
        "first_poll_after": 1.0,
        "log": lines.append,
        "warn": lines.append,
    }
    return wait_for_generation(generation_id=generation_id, **(arguments | changes))


async def all_of(ids: list[str], **changes: Any) -> list[Any]:
    if isinstance(poller.CLOCK, MovedClock):
        poller.CLOCK.announced += len(ids)
    return await asyncio.gather(*(wait(one, **changes) for one in ids), return_exceptions=True)


def polls(sandbox: Sandbox, since: int) -> list[dict[str, Any]]:
    return sandbox.ledger()["requests"][since:]


def tasks() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("hedra")]


async def until(happened: Callable[[], bool]) -> None:
    for _ in range(2000):
        if happened():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never happened")
