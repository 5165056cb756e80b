"""Two drivers of the one wait, on a clock that pauses move: the worker's loop and the poller's planner."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from hedra_provider.api.client import HedraClient
from hedra_provider.api.errors import HedraError
from hedra_provider.polling.blocking import wait_until_finished
from hedra_provider.polling.planner import Planner
from hedra_provider.polling.progress import progress_line
from hedra_provider.polling.tracked import Ended, Progressed, Subscription, Update

if TYPE_CHECKING:
    from collections.abc import Callable

ID = "0f3a7d52-5c1b-4c3e-9d55-0123456789ab"
START = 1_000_000.0


@dataclass
class Outcome:
    """
    What a wait did.

    :param polls: When the API was asked, in seconds after the start.
    :param result: The generation that ended the wait, or the error.
    :param ended: When the wait ended, in seconds after the start.
    :param lines: Everything that the wait logged, in order.
    :param logged: When it logged that, in seconds after the start.
    """

    polls: list[float] = field(default_factory=list)
    result: Any = None
    ended: float = 0.0
    lines: list[str] = field(default_factory=list)
    logged: list[float] = field(default_factory=list)


class Api:
    """An API that answers by a script: seconds after the start -> answer."""

    def __init__(self, script: Callable[[float], httpx.Response]) -> None:
        self.now = START
        self.outcome = Outcome()
        self._script = script

    def client(self, *, repeat: bool = True) -> HedraClient:
        def handler(request: httpx.Request) -> httpx.Response:
            self.outcome.polls.append(round(self.now - START, 3))
            return self._script(self.now - START)

        return HedraClient("k", transport=httpx.MockTransport(handler), sleep=self._sleep, repeat=repeat)

    def log(self, line: str) -> None:
        self.outcome.lines.append(line)
        self.outcome.logged.append(self.now - START)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds


def worker(script: Callable[[float], httpx.Response], *, timeout: float, poll_interval: float) -> Outcome:
    """Wait as a task on its worker does."""
    api = Api(script)
    wait = wait_until_finished(
        ID,
        deadline=START + timeout,
        poll_interval=poll_interval,
        log=api.log,
        warn=api.log,
        clock=lambda: api.now,
        jitter=lambda: 0.0,
    )
    with api.client() as client:
        try:
            api.outcome.result = client.run(wait)
        except HedraError as error:
            api.outcome.result = error
    api.outcome.ended = api.now - START
    return api.outcome


def triggerer(script: Callable[[float], httpx.Response], *, timeout: float, poll_interval: float) -> Outcome:
    """Wait as a trigger does, by the planner, driven as :mod:`hedra_provider.poller` does it."""
    api, planner = Api(script), Planner(lambda: 0.0)

    def notify(update: Update) -> None:
        if isinstance(update, Ended):
            api.outcome.result = update.result
            if not isinstance(update.result, BaseException):
                api.log(progress_line(update.result, api.now - START))
        elif isinstance(update, Progressed):
            api.log(progress_line(update.generation, api.now - START, update.next_poll_seconds))
        else:
            api.log(update.message)

    wait = Subscription(ID, notify, began=START, deadline=START + timeout, poll_interval=poll_interval)
    planner.add(wait, START)
    with api.client(repeat=False) as client:
        while api.outcome.result is None:
            poll = planner.next_poll(api.now)
            if poll is not None:
                try:
                    planner.on_answer(poll, client.run(poll.call()), api.now)
                except HedraError as error:
                    planner.on_error(poll, error, api.now)
            elif planner.next_time(api.now) <= wait.gives_up_at:
                api.now = planner.next_time(api.now)
            else:
                api.now = wait.gives_up_at
                api.outcome.result = wait.timed_out(api.now)
    api.outcome.ended = api.now - START
    return api.outcome
