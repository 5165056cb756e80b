"""The poller's decisions, on a simulated clock against a simulated API."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedra_provider.api.errors import (
    HedraNotFoundError,
    HedraWaitTimeoutError,
)
from hedra_provider.polling.batches import BatchStrategy
from hedra_provider.polling.poll import Poll, PollKind
from hedra_provider.polling.tracked import Ended, Progressed, Subscription, Warned
from hedra_provider.records import Generation
from testbed.simulation import World, generation_id
from tests.polling.worlds import answers, many, polls_of

# One alone


def test_one_alone_is_polled_by_the_status_endpoint_at_its_interval():
    world = World()
    one = world.make(0, seconds=40)
    world.wait(one, poll_interval=15)
    world.run()
    assert polls_of(world, one) == [0, 15, 30, 45]
    assert {poll.kind for poll in world.polls} == {PollKind.STATUS}
    assert world.ended[one][0] == pytest.approx(45.2)


def test_an_estimate_brings_its_poll_forward():
    world = World(latency=0.0, eta=True)
    one = world.make(0, seconds=50)
    world.wait(one, poll_interval=15)
    world.run()
    assert world.delays()[0] < 1.5
    assert len(world.polls) <= 6


def test_progress_gives_an_estimate_of_the_end():
    world = World(latency=0.0)
    one = world.make(0, seconds=40)
    plain = world.row
    world.row = lambda id_: replace(plain(id_), progress=min(world.now / 40, 1.0))  # type: ignore[method-assign]
    world.wait(one, poll_interval=15, begin=1)
    world.run()
    assert polls_of(world, one) == [1, 16, 31, 40]


# Many


@pytest.mark.parametrize(("count", "per_tick"), [(300, 4), (1000, 12)])
def test_many_share_requests(count: int, per_tick: int):
    world = World()
    many(world, count, seconds=8)
    world.run(until=8)
    steady = [poll.sent_at for poll in world.polls if 3 <= poll.sent_at < 8]
    assert len(steady) <= 5 * per_tick
    # Spread over the tick: no 250 ms hold twice their share.
    if count == 1000:
        assert max(sum(at <= other < at + 0.25 for other in steady) for at in steady) < 2 * len(steady) / 20
    world.run()
    assert len(world.ended) == count
    assert world.delays()[-1] < 1.0 + 0.5


def test_many_that_end_together_are_noticed_within_the_interval():
    world = World()
    for number in range(4000):
        one = world.make(number, seconds=10)
        world.wait(one, poll_interval=2.0, begin=number / 2000, first_poll_after=2.0)
    world.run()
    assert len(world.ended) == 4000
    assert world.delays()[-1] < 2.0 + 0.5


def test_large_loads_take_larger_batches():
    world = World()
    many(world, 4000, poll_interval=2.0)
    world.run(until=10)
    sizes = [len(poll.ids) for poll in world.polls if poll.sent_at > 5]
    assert max(sizes) == 200
    assert len(sizes) <= 5 * 12


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0.5, 30),  # poll_interval
            st.floats(0, 120),  # seconds it takes
            st.floats(0, 60),  # when its wait begins
        ),
        min_size=1,
        max_size=40,
    ),
    st.booleans(),
    st.integers(0, 1000),
)
def test_poll_interval_is_the_ceiling(waits: list[tuple[float, float, float]], eta: bool, seed: int):
    world = World(latency=0.1, eta=eta, seed=seed)
    for number, (poll_interval, seconds, begin) in enumerate(waits):
        one = world.make(number, begins=begin, seconds=seconds)
        world.wait(one, poll_interval=poll_interval, begin=begin)
    world.run()
    assert len(world.ended) == len(waits)
    for number, (poll_interval, _, begin) in enumerate(waits):
        times = [begin, *polls_of(world, generation_id(number))]
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        # Polls that fall together are spread, at 25 per second over four connections.
        assert max(gaps) <= poll_interval + 2.0
        assert sum(gaps) / len(gaps) <= poll_interval + 0.1 + 2.0 / len(gaps)
    assert len(world.polls) <= sum(seconds / (0.7 * min(p, 1 if eta else p)) + 8 for p, seconds, _ in waits)


def test_a_short_interval_beside_long_ones_keeps_its_own():
    world = World()
    for number in range(50):
        world.wait(world.make(number, seconds=300), poll_interval=60)
    quick = world.make(99, seconds=300)
    world.wait(quick, poll_interval=2)
    world.run()
    times = polls_of(world, quick)
    assert 150 <= len(times) <= 190
    assert len(polls_of(world, generation_id(0))) <= 9


# Several waits for one


def test_several_waits_for_one_share_its_polls_and_get_their_own_updates():
    world = World()
    one = world.make(0, seconds=20)
    lines: list[list[object]] = [[], []]
    for number, begin in enumerate((0.0, 7.0)):

        def start(number: int = number) -> None:
            wait = Subscription(
                one.upper(), lines[number].append, began=world.now, deadline=9e9, poll_interval=5.0
            )
            world.planner.add(wait, world.now, 5.0)

        world.at(begin, start)
    world.run()
    assert polls_of(world, one) == [5, 10, 15, 20]
    for updates in lines:
        assert [type(item) for item in updates] == [Progressed, Ended]


def test_a_wait_that_was_dropped_is_not_polled_any_more():
    world = World()
    one, two = world.make(0, seconds=50), world.make(1, seconds=20)
    wait = Subscription(one, lambda update: None, began=0.0, deadline=9e9, poll_interval=5.0)
    world.planner.add(wait, 0.0)
    world.wait(two, poll_interval=5)
    world.at(8.0, lambda: world.planner.drop(wait))
    world.run()
    assert max(polls_of(world, one)) < 8
    assert list(world.ended) == [two]
    assert len(world.planner) == 0


# Deadlines


def test_the_last_poll_falls_on_the_deadline():
    world = World()
    late, done = world.make(0, seconds=1000), world.make(1, seconds=99)
    for one in (late, done):
        world.wait(one, poll_interval=30, deadline=100)
    world.run()
    assert isinstance(world.ended[late][1], HedraWaitTimeoutError)
    assert isinstance(world.ended[done][1], Generation)
    assert 100 <= polls_of(world, late)[-1] < 100.5


def test_a_deadline_that_has_passed_leaves_one_poll():
    world = World()
    done, late = world.make(0, seconds=0), world.make(1, seconds=9)
    for one in (done, late):
        world.wait(one, poll_interval=30, deadline=-5, first_poll_after=3)
    world.run()
    assert isinstance(world.ended[done][1], Generation)
    assert isinstance(world.ended[late][1], HedraWaitTimeoutError)
    # A batch, and the status of the one that it showed as running.
    assert [poll.kind for poll in world.polls] == [PollKind.BATCH, PollKind.STATUS]


def test_the_status_endpoint_decides_against_an_outdated_list():
    world = World()
    old = {"status": "processing", "asset_id": None}
    answers(
        world,
        lambda poll, rows: rows if poll.kind is PollKind.STATUS else [replace(row, **old) for row in rows],
    )
    for number in range(3):
        world.wait(world.make(number, seconds=100), poll_interval=15, deadline=3600)
    world.run()
    assert {type(result) for _, result in world.ended.values()} == {Generation}


# Generations that the list does not show


def test_a_list_that_ignores_ids_is_found_out_at_once_and_read_by_pages():
    world = World(honours_ids=False)
    for number in range(1000, 1150):
        world.make(number, begins=-1000 - number, seconds=1)
    many(world, 300)
    world.run(until=15)
    assert world.planner.strategy is BatchStrategy.PAGES
    steady = [poll for poll in world.polls if 5 <= poll.sent_at < 15]
    assert len(steady) <= 10 * 5
    assert sum(poll.kind is PollKind.BATCH for poll in world.polls) <= 4
    world.run()
    assert len(world.ended) == 300


def test_pages_begin_where_those_that_are_waited_for_do():
    world = World(honours_ids=False)
    for number in range(1000, 1300):
        world.make(number, begins=-50_000 + number, seconds=1)
    many(world, 50)
    world.run()
    pages = [poll for poll in world.polls if poll.kind is PollKind.PAGE]
    assert pages[-1].created_after is not None
    assert max(poll.offset for poll in pages[2:]) == 0


def test_what_no_page_shows_is_asked_for_one_by_one_and_no_faster_than_agreed():
    world = World(honours_ids=False)
    for number in range(1000, 1400):
        world.make(number, begins=-10, seconds=1)
    old = [world.make(number, begins=-5000 - number, seconds=5020) for number in range(60)]
    for one in old:
        world.wait(one, poll_interval=5)
    world.run()
    assert len(world.ended) == 60
    assert sum(poll.kind is not PollKind.STATUS for poll in world.polls) < 12
    status = [poll.sent_at for poll in world.polls if poll.kind is PollKind.STATUS]
    assert max(sum(at <= other < at + 10 for other in status) for at in status) <= 52
    # Round-robin: no generation is polled twice before each was polled once.
    assert max(Counter(poll.ids for poll in world.polls[:70] if poll.kind is PollKind.STATUS).values()) <= 2


def test_one_that_the_list_does_not_show_is_confirmed_and_spoils_nothing():
    hidden = generation_id(7)
    world = World(shows=lambda one: one != hidden)
    many(world, 50)
    world.run()
    assert len(world.ended) == 50
    assert world.planner.strategy is BatchStrategy.BATCHES
    assert isinstance(world.ended[hidden][1], Generation)
    assert world.requests[PollKind.STATUS] < 40
    assert world.requests[PollKind.BATCH] < 60


def test_an_empty_list_is_checked_by_the_status_endpoint():
    world = World(shows=lambda one: False)
    many(world, 20)
    world.run(until=10)
    assert world.planner.strategy is BatchStrategy.PAGES
    world.run()
    assert len(world.ended) == 20


def test_right_after_the_submit_a_list_may_show_nothing():
    world = World()
    ids = [world.make(number, begins=20, seconds=20) for number in range(20)]
    for one in ids:
        world.wait(one, poll_interval=5)
    world.run()
    assert world.planner.strategy is BatchStrategy.BATCHES
    assert len(world.ended) == 20
    assert world.requests[PollKind.STATUS] < 10


def test_an_unknown_generation_fails_alone_after_its_grace():
    world = World()
    many(world, 20, poll_interval=10, seconds=400)
    nobody = generation_id(99)
    world.wait(nobody, poll_interval=10)
    world.run()
    assert isinstance(world.ended[nobody][1], HedraNotFoundError)
    assert 120 < world.ended[nobody][0] < 140
    assert all(isinstance(result, Generation) for one, (_, result) in world.ended.items() if one != nobody)


def test_ids_that_nobody_knows_end_after_their_grace_without_another():
    world = World()
    for number in range(30):
        world.wait(generation_id(number), poll_interval=10)
    world.run()
    assert len(world.ended) == 30
    assert all(isinstance(result, HedraNotFoundError) for _, result in world.ended.values())
    assert world.planner.strategy is BatchStrategy.BATCHES


def test_each_that_the_list_does_not_show_yet_is_warned_of_at_once():
    """One list request is sent for all, one status request for one of them; each gets a warning."""
    world = World()
    ids = [world.make(number, begins=60, seconds=20) for number in range(30)]
    for one in ids:
        world.wait(one, poll_interval=10)
    world.run()
    for one in ids:
        at, first = world.updates[one][0]
        assert at < 5
        assert isinstance(first, Warned)
        assert f"Hedra does not list generation {one}" in first.message or "404" in first.message
        assert sum(isinstance(update, Warned) for _, update in world.updates[one]) <= 3
        assert isinstance(world.ended[one][1], Generation)


def test_an_id_that_is_no_uuid_is_never_put_into_a_list():
    world = World()
    many(world, 10)
    world.made["a,b"] = world.made[generation_id(0)]
    world.wait("a,b", poll_interval=1)
    world.run()
    assert {poll.kind for poll in world.polls if "a,b" in poll.ids} == {PollKind.STATUS}
    assert isinstance(world.ended["a,b"][1], Generation)


def test_a_finished_row_without_its_asset_is_confirmed_by_the_status_endpoint():
    world = World()
    ids = many(world, 3)
    plain, asked = world._rows, []

    def rows(poll: Poll) -> list[Generation]:
        if poll.kind is PollKind.STATUS:
            asked.extend(poll.ids)
            return [replace(row, asset_id="a") for row in plain(poll)]
        return [replace(row, asset_id=None) for row in plain(poll)]

    world._rows = rows  # type: ignore[method-assign]
    world.run()
    assert sorted(asked) == sorted(ids)
    assert {result.asset_id for _, result in world.ended.values()} == {"a"}  # type: ignore[attr-defined]


def test_the_asset_id_comes_from_the_row():
    world = World()
    ids = many(world, 3)
    world.run()
    assert {one: result.asset_id for one, (_, result) in world.ended.items()} == {  # type: ignore[attr-defined]
        one: f"asset-{one}" for one in ids
    }
