"""The poller's decisions when the API rejects, fails or rate-limits, on a simulated clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedra_provider.api.errors import (
    HedraAuthenticationError,
    HedraBadRequestError,
    HedraError,
    HedraNotFoundError,
    HedraPermissionError,
    HedraServerError,
    HedraTransportError,
)
from hedra_provider.polling.batches import BatchStrategy
from hedra_provider.polling.planner import Planner
from hedra_provider.polling.poll import Poll, PollKind
from hedra_provider.polling.tracked import Ended, Subscription, Warned
from hedra_provider.polling.wait import MAX_FAILURES
from hedra_provider.records import Generation
from testbed.simulation import World, generation_id
from tests.polling.worlds import answers, many, polls_of

if TYPE_CHECKING:
    from collections.abc import Callable


def waiting(one: str, began: float) -> Subscription:
    return Subscription(one, lambda update: None, began=began, deadline=9e9, poll_interval=15.0)


def bad_request(poll: Poll) -> HedraError:
    return HedraBadRequestError("no", status_code=422, retryable=False)


# Failures


def test_a_list_that_rejects_a_large_batch_gets_smaller_ones():
    world = World(trouble=lambda poll: bad_request(poll) if len(poll.ids) > 30 else None)
    many(world, 100)
    world.run()
    assert {type(result) for _, result in world.ended.values()} == {Generation}
    assert world.planner.strategy is BatchStrategy.BATCHES
    assert max(len(poll.ids) for poll in world.polls[2:]) == 25
    assert not [
        update for updates in world.updates.values() for _, update in updates if isinstance(update, Warned)
    ]


@pytest.mark.parametrize("rejection", [bad_request, lambda poll: HedraPermissionError("no", status_code=403)])
def test_a_list_that_rejects_everything_fails_no_wait(rejection: Callable[[Poll], HedraError]):
    world = World(trouble=lambda poll: None if poll.kind is PollKind.STATUS else rejection(poll))
    many(world, 40)
    world.run()
    assert {type(result) for _, result in world.ended.values()} == {Generation}


def test_a_generation_that_the_api_cannot_show_ends_alone():
    poison = generation_id(33)
    world = World(
        trouble=lambda poll: (
            HedraServerError("oops", status_code=500, retryable=True) if poison in poll.ids else None
        )
    )
    many(world, 100, seconds=300)
    world.run(until=250)
    failed = {one for one, (_, result) in world.ended.items() if isinstance(result, HedraError)}
    assert failed == {poison}
    sizes = [len(poll.ids) for poll in world.polls if poison in poll.ids]
    assert all(size <= max(1, 100 // 4**number) for number, size in enumerate(sizes)), sizes
    assert "8 polls in a row" in str(world.ended[poison][1])
    assert world.ended[poison][1].generation_id == poison  # type: ignore[attr-defined]


def test_a_rejected_status_request_fails_that_wait_only():
    locked = "locked"
    world = World(
        trouble=lambda poll: HedraPermissionError("no", status_code=403) if locked in poll.ids else None
    )
    many(world, 10)
    world.wait(locked, poll_interval=1)
    world.run()
    assert isinstance(world.ended[locked][1], HedraPermissionError)
    assert polls_of(world, locked) == [0]
    assert sum(isinstance(result, Generation) for _, result in world.ended.values()) == 10


@pytest.mark.parametrize(
    "error",
    [HedraTransportError("cut"), HedraServerError("down", status_code=503, retryable=True)],
    ids=["cut", "503"],
)
def test_an_outage_is_survived(error: HedraError):
    world = World(trouble=lambda poll: error if 5 < poll.sent_at < 50 else None)
    many(world, 300, seconds=100)
    world.run()
    assert {type(result) for _, result in world.ended.values()} == {Generation}
    troubles = [n for updates in world.updates.values() for _, n in updates if isinstance(n, Warned)]
    assert all("Poll" in update.message for update in troubles)
    assert len(troubles) >= 300
    # During the outage it is polled less often, not more.
    assert sum(5 < poll.sent_at < 50 for poll in world.polls) < 45 * 3


def test_a_list_that_is_down_alone_ends_no_wait():
    down = HedraServerError("down", status_code=503, retryable=True)
    world = World(trouble=lambda poll: None if poll.kind is PollKind.STATUS else down)
    many(world, 40, poll_interval=15, seconds=1800)
    world.run()
    assert {type(result) for _, result in world.ended.values()} == {Generation}
    assert world.delays()[-1] < 120
    # It is not requested in between.
    assert sum(poll.kind is not PollKind.STATUS for poll in world.polls) < 1800 / 15


def test_a_404_in_the_middle_is_not_the_end():
    world = World()
    one = world.make(0, seconds=900)
    world.wait(one, poll_interval=15)
    answers(world, lambda poll, rows: [] if 500 < world.now < 515 else rows)
    world.run()
    assert isinstance(world.ended[one][1], Generation)


def test_what_is_gone_for_good_ends_after_the_grace():
    world = World()
    one = world.make(0, seconds=900)
    world.wait(one, poll_interval=15)
    answers(world, lambda poll, rows: [] if world.now > 500 else rows)
    world.run()
    at, result = world.ended[one]
    assert isinstance(result, HedraNotFoundError)
    assert 600 < at < 640


def test_a_list_that_showed_nothing_for_a_while_is_tried_again():
    world = World()
    answers(
        world, lambda poll, rows: [] if poll.kind is not PollKind.STATUS and 100 < world.now < 140 else rows
    )
    many(world, 30, poll_interval=15, seconds=2000)
    world.run(until=150)
    assert world.planner.strategy is BatchStrategy.PAGES
    world.run(until=1000)
    assert world.planner.strategy is BatchStrategy.BATCHES


def test_one_that_comes_after_all_have_failed_is_asked_for():
    planner = Planner(lambda: 0.5)
    planner._list.ignores_ids(0.0)
    for number in range(5):
        planner.add(waiting(generation_id(number), 0.0), 0.0)
    poll = planner.next_poll(0.0)
    assert poll is not None
    assert poll.kind is PollKind.PAGE
    planner.fail_all(HedraAuthenticationError("no", status_code=401))
    planner.add(waiting(generation_id(9), 1.0), 1.0)
    assert planner.next_poll(100.0) is not None


def test_an_endless_outage_reaches_all_and_says_so():
    world = World(trouble=lambda poll: HedraServerError("down", status_code=503, retryable=True))
    ids = many(world, 50)
    world.run()
    results = [world.ended[one][1] for one in ids]
    assert all(
        "8 polls in a row of generation" in str(result) and "down" in str(result) for result in results
    )
    assert [result.generation_id for result in results] == ids  # type: ignore[attr-defined]
    assert len({id(result) for result in results}) == 50
    for one in ids:
        assert sum(isinstance(update, Warned) for _, update in world.updates[one]) == MAX_FAILURES - 1


# 429


@pytest.mark.parametrize("honours_ids", [True, False])
@pytest.mark.parametrize("retry_after", [None, 3.0])
def test_a_rate_limit_slows_all_and_fails_nobody(honours_ids: bool, retry_after: float | None):
    world = World(rate=1.0, honours_ids=honours_ids, retry_after=retry_after)
    many(world, 300, seconds=60)
    world.run()
    assert {type(result) for _, result in world.ended.values()} == {Generation}
    assert world.rate_limited < 0.3 * len(world.polls)


def test_after_a_429_nothing_is_sent_before_the_time_that_it_names():
    world = World(rate=2.0, retry_after=20.0)
    many(world, 1000, seconds=120)
    world.run()
    assert world.rate_limited
    first = next(
        poll.sent_at
        for number, poll in enumerate(world.polls)
        if number and poll.sent_at - world.polls[number - 1].sent_at >= 19
    )
    assert first < 40


# Laws

ERRORS = [
    HedraTransportError("cut"),
    HedraServerError("down", status_code=503, retryable=True),
    HedraServerError("oops", status_code=500, retryable=True),
    HedraBadRequestError("no", status_code=422, retryable=False),
]


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 250),
    st.sampled_from([0.05, 1.0, 15.0]),
    st.booleans(),
    st.sampled_from([None, 1.0, 5.0]),
    st.floats(0, 1),
    st.sampled_from(ERRORS),
    st.integers(0, 10**6),
)
def test_whatever_happens_every_wait_ends_once_and_nothing_is_asked_for_nobody(
    count: int,
    poll_interval: float,
    honours_ids: bool,
    rate: float | None,
    share: float,
    error: HedraError,
    seed: int,
):
    world = World(rate=rate, honours_ids=honours_ids, seed=seed)
    world.trouble = lambda poll: error if world.chance() < share * 0.5 else None
    world.shows = lambda one: int(one[-1], 16) % 5 != 0
    for number in range(count):
        one = generation_id(number)
        if number % 7:
            world.make(number, begins=number % 11, seconds=3 * (number % 17))
        world.wait(one, poll_interval=poll_interval, begin=number % 13, deadline=300 + number % 3)
    world.run(until=2000)
    assert len(world.ended) == count
    assert len(world.planner) == 0
    for updates in world.updates.values():
        assert [type(update) for _, update in updates].count(Ended) == 1
        assert isinstance(updates[-1][1], Ended)
    asked = len(world.polls)
    world.run()
    assert len(world.polls) == asked
