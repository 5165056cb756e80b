"""Helpers of the tests of the poller's decisions in a simulated world."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.simulation import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from hedra_provider.polling.poll import Poll
    from hedra_provider.records import Generation


def polls_of(world: World, id_: str) -> list[float]:
    return [round(poll.sent_at, 6) for poll in world.polls if id_ in poll.ids]


def many(world: World, count: int, *, poll_interval: float = 1.0, seconds: float = 20.0) -> list[str]:
    ids = [world.make(number, seconds=seconds + number / count) for number in range(count)]
    for one in ids:
        world.wait(one, poll_interval=poll_interval, first_poll_after=poll_interval)
    return ids


def answers(world: World, change: Callable[[Poll, list[Generation]], list[Generation]]) -> None:
    """Change the answers of the simulated API."""
    plain = world._rows
    world._rows = lambda poll: change(poll, plain(poll))  # type: ignore[method-assign]
