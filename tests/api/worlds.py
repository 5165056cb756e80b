"""What the tests of the poller's decisions do in a simulated world."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.simulation import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from hedra_provider.api.answers import Generation
    from hedra_provider.api.looks import Look


def looks_at(world: World, id_: str) -> list[float]:
    return [round(look.sent_at, 6) for look in world.looks if id_ in look.ids]


def many(world: World, count: int, *, poll_interval: float = 1.0, seconds: float = 20.0) -> list[str]:
    ids = [world.make(number, seconds=seconds + number / count) for number in range(count)]
    for one in ids:
        world.wait(one, poll_interval=poll_interval, first_look_after=poll_interval)
    return ids


def answers(world: World, change: Callable[[Look, list[Generation]], list[Generation]]) -> None:
    """Let the API answer something else than it would."""
    plain = world._rows
    world._rows = lambda look: change(look, plain(look))  # type: ignore[method-assign]
