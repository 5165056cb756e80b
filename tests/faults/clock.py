"""A clock that moves instead of being waited for: the provider's, the sandbox's and the tests' alike.

All of them read the time from ``time.time``, and the sandbox of a test runs in this process: one offset moves
all. The provider lets time pass by the ``sleep`` of its two clients, by the poller's ``CLOCK`` and, in
triggers, by ``asyncio.sleep``.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from hedra_provider import poller


class MovedClock:
    """The seconds that were slept, added to the real time without waiting."""

    def __init__(self) -> None:
        self._real = time.time
        self._timeouts: list[tuple[float, asyncio.Timeout]] = []
        self._timeout = asyncio.timeout
        self.offset = 0.0

    def time(self) -> float:
        return self._real() + self.offset

    def sleep(self, seconds: float) -> None:
        assert 0 <= seconds < 100_000, seconds
        self.offset += seconds
        due = [timeout for at, timeout in self._timeouts if at <= self.time()]
        self._timeouts = [(at, timeout) for at, timeout in self._timeouts if at > self.time()]
        for timeout in due:
            # A timeout that has ended belongs to a loop that may have ended too.
            with suppress(RuntimeError):
                timeout.reschedule(0.0)

    def timeout(self, seconds: float | None) -> asyncio.Timeout:
        """An ``asyncio.timeout`` that this clock ends too."""
        timeout = self._timeout(seconds)
        if seconds is not None:
            self._timeouts.append((self.time() + seconds, timeout))
        return timeout


class MovedPollerClock(poller.Clock):
    """The same clock for the poller: it moves when the poller is idle and no poll is sent."""

    def __init__(self, clock: MovedClock) -> None:
        self._clock = clock
        self._pause = asyncio.sleep

    def now(self) -> float:
        return 1000.0 + self._clock.offset

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        if seconds == float("inf"):
            await event.wait()
        # Waiting tasks may have something to do first.
        await self._pause(0)
        while not event.is_set() and any(task.get_name() == "hedra-poll" for task in asyncio.all_tasks()):
            await self._pause(0.001)
        if not event.is_set():
            self._clock.sleep(max(seconds, 0.0))


@contextmanager
def moved_clock() -> Iterator[MovedClock]:
    """Put the clock in, and take chance out of the waits: what is asked is then the same each time."""
    from hedra_provider.api import client
    from hedra_provider.polling import blocking
    from hedra_provider.submission import submit
    from hedra_provider.submission.v3.run import JobRun

    clock, real_sleep, here = MovedClock(), asyncio.sleep, threading.get_ident()

    async def sleep(seconds: float, *result: Any) -> Any:
        # The sandbox has a thread of its own, in which time is real: its slow answers are slow.
        if threading.get_ident() != here:
            return await real_sleep(seconds, *result)
        clock.sleep(seconds)
        return await real_sleep(0, *result)

    # Defaults of arguments are bound when a function is made.
    instead: dict[Any, Any] = {time.time: clock.time, random.random: lambda: 0.0}
    made = {**vars(submit), **vars(blocking)}.values()
    waits = [one for one in (*made, JobRun.__init__) if getattr(one, "__kwdefaults__", None)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(client.HedraClient.__init__.__kwdefaults__, "sleep", clock.sleep)
        patch.setitem(client.AsyncHedraClient.__init__.__kwdefaults__, "sleep", sleep)
        patch.setattr(poller, "CLOCK", MovedPollerClock(clock))
        patch.setattr(asyncio, "sleep", sleep)
        patch.setattr(asyncio, "timeout", clock.timeout)
        for wait in waits:
            for name, default in list(wait.__kwdefaults__.items()):
                if default in instead:
                    patch.setitem(wait.__kwdefaults__, name, instead[default])
        patch.setattr(time, "time", clock.time)
        yield clock
