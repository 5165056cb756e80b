"""A clock that moves instead of being waited for: the provider's, the sandbox's and the tests' alike.

All of them tell the time by ``time.time``, and the sandbox of a test runs in this process: one offset moves
all. The provider lets time pass by the ``sleep`` of its two clients and, in triggers, by ``asyncio.sleep``.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


class MovedClock:
    """What was slept since it was made, without a moment of it passing."""

    def __init__(self) -> None:
        self._real = time.time
        self.offset = 0.0

    def time(self) -> float:
        return self._real() + self.offset

    def sleep(self, seconds: float) -> None:
        assert 0 <= seconds < 100_000, seconds
        self.offset += seconds


@contextmanager
def moved_clock() -> Iterator[MovedClock]:
    """Put the clock in, and take chance out of the waits: what is asked is then the same each time."""
    from hedra_provider.api import client, submit, waiting

    clock, real_sleep, here = MovedClock(), asyncio.sleep, threading.get_ident()

    async def sleep(seconds: float, *result: Any) -> Any:
        # The sandbox has a thread of its own, in which time is real: its slow answers are slow.
        if threading.get_ident() != here:
            return await real_sleep(seconds, *result)
        clock.sleep(seconds)
        return await real_sleep(0, *result)

    # Defaults of arguments are bound when a function is made.
    instead: dict[Any, Any] = {time.time: clock.time, random.random: lambda: 0.0}
    made = {**vars(submit), **vars(waiting)}.values()
    waits = [one for one in made if getattr(one, "__kwdefaults__", None)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(client.HedraClient.__init__.__kwdefaults__, "sleep", clock.sleep)
        patch.setitem(client.AsyncHedraClient.__init__.__kwdefaults__, "sleep", sleep)
        patch.setattr(asyncio, "sleep", sleep)
        for wait in waits:
            for name, default in list(wait.__kwdefaults__.items()):
                if default in instead:
                    patch.setitem(wait.__kwdefaults__, name, instead[default])
        patch.setattr(time, "time", clock.time)
        yield clock
