"""The states of a tracked generation: the planners make the steps of the table, all of them and no other."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hedra_provider.api.errors import HedraServerError
from hedra_provider.polling import tracked
from hedra_provider.polling.job_poll import JobPollKind
from hedra_provider.polling.planner import Planner
from hedra_provider.polling.poll import PollKind
from hedra_provider.polling.tracked import TRANSITIONS, PollState, Subscription, TrackedGeneration
from hedra_provider.records import Generation
from testbed.job_simulation import JobWorld
from testbed.simulation import World, generation_id
from tests.polling.worlds import answers, many

if TYPE_CHECKING:
    from collections.abc import Callable

Step = tuple[PollState, PollState]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> set[Step]:
    """The steps that were made."""
    made: set[Step] = set()
    move_to = TrackedGeneration.move_to

    def noted(self: TrackedGeneration, state: PollState) -> None:
        made.add((self.state, state))
        move_to(self, state)

    monkeypatch.setattr(TrackedGeneration, "move_to", noted)
    return made


def plain(world: World) -> None:
    many(world, 30)


def hidden(world: World) -> None:
    world.shows = lambda one: int(one[-1], 16) % 3 != 0
    many(world, 60)


def pages(world: World) -> None:
    world.honours_ids = False
    for number in range(1000, 1150):
        world.make(number, begins=-1000 - number, seconds=1)
    many(world, 120, seconds=30)
    # A page for the others shows it before it is due.
    world.wait(world.make(500, seconds=60), poll_interval=40, first_poll_after=40)


def without_assets(world: World) -> None:
    many(world, 10)
    answers(
        world,
        lambda poll, rows: (
            rows if poll.kind is PollKind.STATUS else [replace(row, asset_id=None) for row in rows]
        ),
    )


def outages(world: World) -> None:
    down = HedraServerError("down", status_code=503, retryable=True)
    world.trouble = lambda poll: down if world.chance() < 0.3 else None
    world.shows = lambda one: int(one[-1], 16) % 5 != 0
    many(world, 50)


def limited(world: World) -> None:
    world.rate = 2.0
    world.shows = lambda one: int(one[-1], 16) % 2 != 0
    many(world, 50)


def unknown(world: World) -> None:
    for number in range(20):
        world.wait(generation_id(number), poll_interval=10)


def leaving(world: World) -> None:
    """Subscriptions end at any moment, and some begin again while their poll is sent."""
    world.shows = lambda one: int(one[-1], 16) % 4 != 0
    for number in range(60):
        one = world.make(number, seconds=100)
        first = Subscription(one, lambda update: None, began=0.0, deadline=9e9, poll_interval=1.0)
        world.planner.add(first, 0.0)
        world.at(0.1 * number, lambda first=first: world.planner.drop(first))  # type: ignore[misc]
        if number % 2:
            world.wait(one, poll_interval=1.0, begin=0.1 * number + 0.05, deadline=50.0)


def pages_without_assets(world: World) -> None:
    pages(world)
    without_assets(world)


def leaving_while_unconfirmed(world: World) -> None:
    world.shows = lambda one: int(one[-1], 16) % 2 == 0
    for number in range(100):
        subscription = Subscription(
            world.make(number, seconds=100), lambda update: None, began=0.0, deadline=9e9, poll_interval=1.0
        )
        world.planner.add(subscription, 0.0)
        world.at(3.0, lambda one=subscription: world.planner.drop(one))  # type: ignore[misc]


def many_jobs(world: World) -> None:
    """Deadlines pass during a round of pages, a status is unknown, and results fail."""
    world.latency = 2.0
    down = HedraServerError("down", status_code=503, retryable=True)
    world.trouble = lambda poll: down if world.chance() < 0.1 else None
    world.shows = lambda one: int(one[-1], 16) % 5 != 0
    for number in range(250):
        one = world.make(number, seconds=60 + number, status="odd" if number % 7 == 0 else "complete")
        world.wait(one, poll_interval=15, first_poll_after=number % 9, deadline=100 + 3 * number)
        if number % 3 == 0:
            # Another wait for the same job leaves at once, or later.
            subscription = Subscription(one, lambda update: None, began=0.0, deadline=9e9, poll_interval=1.0)
            world.at(number / 2, lambda one=subscription: world.planner.add(one, world.now))  # type: ignore[misc]
            world.at(number + 1.0, lambda one=subscription: world.planner.drop(one))  # type: ignore[misc]


def a_list_that_recovers(world: World) -> None:
    """Jobs wait for status requests when a page shows them again, some of them at their end."""
    down = HedraServerError("down", status_code=503, retryable=True)
    world.trouble = lambda poll: down if poll.kind is JobPollKind.PAGE and world.now < 200 else None
    for number in range(60):
        world.wait(world.make(number, seconds=250 + number), poll_interval=15, deadline=900)


def leaving_jobs(world: World) -> None:
    for number in range(120):
        one = world.make(number, seconds=30)
        subscription = Subscription(one, lambda update: None, began=0.0, deadline=9e9, poll_interval=15.0)
        world.at(0.0, lambda one=subscription: world.planner.add(one, world.now))  # type: ignore[misc]
        world.at(number / 2, lambda one=subscription: world.planner.drop(one))  # type: ignore[misc]


JOB_WORLDS: list[Callable[[World], None]] = [many_jobs, a_list_that_recovers, leaving_jobs]

RESULT_STATES = {PollState.RESULT_QUEUED, PollState.RESULT_REQUESTED}

WORLDS: list[Callable[[World], None]] = [
    plain, hidden, pages, without_assets, pages_without_assets, outages, limited, unknown, leaving,
    leaving_while_unconfirmed,
]  # fmt: skip


def test_every_step_of_the_planners_is_in_the_table_and_every_step_of_the_table_is_made(steps: set[Step]):
    for begin in WORLDS:
        world = World()
        begin(world)
        world.run()
        assert len(world.planner) == 0, begin
    assert not RESULT_STATES & {state for step in steps for state in step}
    of_v2 = set(steps)
    steps.clear()
    for begin in JOB_WORLDS:
        world = JobWorld(requests_per_minute=40)
        begin(world)
        world.run()
        assert len(world.planner) == 0, begin
    assert not {PollState.UNCONFIRMED, PollState.CONFIRMING} & {state for step in steps for state in step}
    steps |= of_v2
    table = {(state, following) for state, all_of_them in TRANSITIONS.items() for following in all_of_them}
    assert steps - table == set()
    assert table - steps == set()


def test_an_answer_to_a_poll_that_nobody_waits_for_any_more_moves_nothing(steps: set[Step]):
    planner = Planner(lambda: 0.5)

    def subscribe() -> list[Subscription]:
        made = [
            Subscription(generation_id(n), lambda update: None, began=0.0, deadline=9e9, poll_interval=1.0)
            for n in range(3)
        ]
        for one in made:
            planner.add(one, 0.0)
        return made

    first = subscribe()
    older = planner.next_poll(0.0)
    for one in first:
        planner.drop(one)
    subscribe()
    newer = planner.next_poll(1.0)
    assert older is not None
    assert newer is not None
    assert len(older.ids) == len(newer.ids) == 3
    # The list shows one of three: the others get a status request each, and no second one.
    row = Generation(id=generation_id(0), status="processing")
    planner.on_answer(older, [row], 1.0)
    planner.on_answer(newer, [row], 1.1)
    planner.on_error(older, HedraServerError("down", status_code=503, retryable=True), 1.2)
    table = {(state, following) for state, all_of_them in TRANSITIONS.items() for following in all_of_them}
    assert steps <= table
    polls = [poll for now in range(2, 8) if (poll := planner.next_poll(now)) is not None]
    asked = [poll.ids for poll in polls if poll.ids != (generation_id(0),)]
    assert asked == [(generation_id(1),), (generation_id(2),)]


def test_the_docstring_shows_the_same_table():
    shown: dict[PollState, set[PollState]] = {}
    for line in (tracked.__doc__ or "").splitlines():
        name, *columns = re.split(r"\s{2,}", line)
        if name in PollState.__members__:
            names = columns[-1].replace("itself", name).replace("and ", "").replace("(none)", "")
            shown[PollState[name]] = {PollState[one] for one in names.split(", ") if one}
    assert shown == {state: set(following) for state, following in TRANSITIONS.items()}
