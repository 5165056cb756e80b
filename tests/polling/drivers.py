"""Drivers of the one wait on v2 and v3, on a clock that pauses move: a worker's loop, a poller's planner."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import httpx

from hedra_provider.api.client import HedraClient
from hedra_provider.api.errors import HedraError
from hedra_provider.polling.blocking import poll_job, wait_until_finished
from hedra_provider.polling.job_planner import JobPlanner
from hedra_provider.polling.planner import Planner
from hedra_provider.polling.progress import progress_line
from hedra_provider.polling.rate_limit import REQUESTS_PER_SECOND
from hedra_provider.polling.tracked import Ended, Progressed, Subscription, Update

if TYPE_CHECKING:
    from collections.abc import Callable

    from hedra_provider.polling.base_planner import BasePlanner

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
    """
    An API that answers by a script: seconds after the start -> answer, in the words of v2.

    :param is_v3: Whether it answers in the words of v3. Requests for a result then count as no poll.
    """

    def __init__(self, script: Callable[[float], httpx.Response], *, is_v3: bool = False) -> None:
        self.now = START
        self.outcome = Outcome()
        self._script = script
        self._is_v3 = is_v3

    def client(self, *, repeat: bool = True) -> HedraClient:
        def handler(request: httpx.Request) -> httpx.Response:
            is_status = request.url.path.endswith("/status")
            if is_status:
                self.outcome.polls.append(round(self.now - START, 3))
            answer = self._script(self.now - START)
            return self._in_v3(answer, is_status=is_status) if self._is_v3 else answer

        return HedraClient(
            "id:secret" if self._is_v3 else "k",
            transport=httpx.MockTransport(handler),
            sleep=self._sleep,
            repeat=repeat,
            **({"api_version": 3} if self._is_v3 else {}),
        )

    def _in_v3(self, answer: httpx.Response, *, is_status: bool) -> httpx.Response:
        if not answer.headers.get("Content-Type", "").startswith("application/json") or not answer.is_success:
            return answer
        old = answer.json()
        new = {"job_id": old["id"], "status": WORDS.get(old["status"], old["status"])}
        if is_status:
            ends = self.now + old["eta_sec"] if "eta_sec" in old else None
            new["progress"] = old.get("progress")
            new["estimated_completion_at"] = ends and datetime.fromtimestamp(ends, UTC).isoformat()
        else:
            new["error"] = old.get("error") or old.get("error_message")
        return httpx.Response(200, headers={"Date": formatdate(self.now, usegmt=True)}, json=new)

    def log(self, line: str) -> None:
        self.outcome.lines.append(in_v2(line))
        self.outcome.logged.append(self.now - START)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds


def in_v2(text: str) -> str:
    """Return a text with v2's paths in place of v3's."""
    return text.replace("/v3/jobs/", "/web-app/public/generations/").replace("/jobs/", "/generations/")


WORDS = {"queued": "IN_QUEUE", "processing": "IN_PROGRESS", "complete": "COMPLETED", "error": "FAILED"}
"""The statuses of v2, and those of v3."""


def worker(script: Callable[[float], httpx.Response], *, timeout: float, poll_interval: float) -> Outcome:
    """Wait as a task on its worker does."""
    return _worker(Api(script), timeout, poll_interval)


def worker_v3(script: Callable[[float], httpx.Response], *, timeout: float, poll_interval: float) -> Outcome:
    """Wait as a task on its worker does with a v3 key."""
    return _worker(Api(script, is_v3=True), timeout, poll_interval, poll=poll_job)


def _worker(api: Api, timeout: float, poll_interval: float, **options: Any) -> Outcome:
    wait = wait_until_finished(
        ID,
        deadline=START + timeout,
        poll_interval=poll_interval,
        log=api.log,
        warn=api.log,
        clock=lambda: api.now,
        jitter=lambda: 0.0,
        **options,
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
    return _triggerer(Api(script), Planner(lambda: 0.0), timeout, poll_interval)


def triggerer_v3(
    script: Callable[[float], httpx.Response], *, timeout: float, poll_interval: float
) -> Outcome:
    """Wait as a trigger does with a v3 key, at the request rate of v2."""
    planner = JobPlanner(lambda: 0.0, 60 * REQUESTS_PER_SECOND)
    return _triggerer(Api(script, is_v3=True), planner, timeout, poll_interval)


def _triggerer(api: Api, planner: BasePlanner, timeout: float, poll_interval: float) -> Outcome:
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


DRIVERS = {
    "worker": worker,
    "triggerer": triggerer,
    "worker on v3": worker_v3,
    "triggerer on v3": triggerer_v3,
}
