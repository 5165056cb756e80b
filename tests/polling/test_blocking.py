"""The wait for a generation, by a clock that the pauses move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from hedra_provider.api.client import HedraClient
from hedra_provider.api.errors import (
    HedraAuthenticationError,
    HedraNotFoundError,
    HedraServerError,
    HedraWaitTimeoutError,
)
from hedra_provider.polling.blocking import wait_until_finished
from hedra_provider.polling.wait import MAX_FAILURES

if TYPE_CHECKING:
    from collections.abc import Callable


class World:
    """A clock, an API whose answer depends on it, and what was logged meanwhile."""

    def __init__(self, answer: Callable[[float], httpx.Response]) -> None:
        self.now = 1_000_000.0
        self.began = self.now
        self.polls: list[float] = []
        self.lines: list[str] = []
        self.warned: list[str] = []
        self._answer = answer

    def wait(
        self, *, timeout: float = 3600.0, poll_interval: float = 15.0, first_poll_after: float = 0.0
    ) -> Any:
        def handler(request: httpx.Request) -> httpx.Response:
            self.polls.append(self.now - self.began)
            return self._answer(self.now - self.began)

        def sleep(seconds: float) -> None:
            self.now += seconds

        with HedraClient("k", transport=httpx.MockTransport(handler), sleep=sleep) as client:
            return client.run(
                wait_until_finished(
                    "gen",
                    deadline=self.began + timeout,
                    poll_interval=poll_interval,
                    log=self.lines.append,
                    warn=self.warned.append,
                    first_poll_after=first_poll_after,
                    clock=lambda: self.now,
                    jitter=lambda: 0.0,
                )
            )


def status(name: str, **fields: Any) -> httpx.Response:
    return httpx.Response(200, json={"id": "gen", "status": name} | fields)


def test_it_polls_at_the_interval_until_complete():
    world = World(lambda now: status("complete" if now >= 40 else "processing"))
    assert world.wait().is_complete
    assert world.polls == [0, 15, 30, 45]


def test_the_first_poll_may_come_later():
    world = World(lambda now: status("complete"))
    world.wait(first_poll_after=3.0)
    assert world.polls == [3]
    world = World(lambda now: status("complete"))
    world.wait(first_poll_after=3.0, timeout=1)
    assert world.polls == [1]


def test_an_estimate_brings_the_poll_forward():
    world = World(lambda now: status("complete" if now >= 40 else "processing", eta_sec=max(40 - now, 0)))
    world.wait()
    assert world.polls == [0, 15, 30, 40]


def test_without_an_estimate_its_progress_makes_one():
    world = World(lambda now: status("complete" if now >= 40 else "processing", progress=min(now / 40, 1)))
    world.wait()
    assert world.polls == [0, 15, 30, 40]


@pytest.mark.parametrize("name", ["pending", "queued", "processing", "finalizing", "something-new"])
def test_every_other_status_still_runs(name: str):
    world = World(lambda now: status("complete" if now >= 20 else name))
    assert world.wait().is_complete


def test_progress_may_go_back_and_types_may_be_wrong():
    seen = iter(
        [{"progress": 0.9}, {"progress": 0.1}, {"progress": "much"}, {"eta_sec": "soon"}, {"progress": None}]
    )

    def answer(now: float) -> httpx.Response:
        fields = next(seen, None)
        return status("complete") if fields is None else status("processing", **fields)

    assert World(answer).wait().is_complete


def test_a_failed_generation_is_returned_to_the_caller():
    world = World(lambda now: status("error", error={"type": "INTERNAL", "message": "x"}))
    assert world.wait().is_failed


def test_the_log_shows_changes_only():
    world = World(lambda now: status("complete" if now >= 300 else "queued", progress=0))
    world.wait()
    assert len(world.polls) == 21
    assert len(world.lines) == 2
    assert world.lines[0] == "Generation gen: queued, 0%, after 0 s, next poll in 15 s."
    assert world.lines[1] == "Generation gen: complete, after 300 s."


def test_the_deadline_says_what_runs_on_and_what_to_do():
    world = World(lambda now: status("processing"))
    with pytest.raises(HedraWaitTimeoutError, match=r"gen was still running.*100 s.*adopts it") as raised:
        world.wait(timeout=100)
    assert world.polls[-1] == 100
    assert raised.value.retryable
    assert raised.value.generation_id == "gen"


def test_a_404_right_after_the_submit_is_survived():
    world = World(lambda now: status("complete") if now > 30 else httpx.Response(404))
    assert world.wait().is_complete


def test_a_404_in_the_middle_is_survived():
    world = World(
        lambda now: (
            status("complete" if now > 900 else "processing") if not 500 < now < 560 else httpx.Response(404)
        )
    )
    assert world.wait().is_complete


def test_what_is_gone_for_good_ends_two_minutes_later():
    world = World(lambda now: status("processing") if now < 500 else httpx.Response(404))
    with pytest.raises(HedraNotFoundError):
        world.wait()
    assert 600 < world.polls[-1] < 640


def test_a_404_for_good_is_not():
    world = World(lambda now: httpx.Response(404))
    with pytest.raises(HedraNotFoundError, match="does not know generation gen"):
        world.wait()
    assert 120 < world.now - world.began < 140


def test_an_outage_is_survived():
    world = World(
        lambda now: httpx.Response(503) if 20 < now < 200 else status("complete" if now > 300 else "queued")
    )
    assert world.wait().is_complete
    assert world.warned


def test_an_endless_outage_ends_the_wait_and_says_so():
    world = World(lambda now: httpx.Response(503))
    with pytest.raises(HedraServerError):
        world.wait(timeout=86_400)
    assert len(world.warned) == MAX_FAILURES - 1


def test_a_rejected_key_ends_the_wait_at_once():
    world = World(lambda now: httpx.Response(401))
    with pytest.raises(HedraAuthenticationError):
        world.wait()
    assert len(world.polls) == 1
