"""No generation delays the polls of another, on a simulated clock."""

from __future__ import annotations

import pytest

from hedra_provider.polling.batches import BatchStrategy
from hedra_provider.records import Generation
from testbed.simulation import World, generation_id
from tests.polling.worlds import answers, polls_of


def test_one_with_a_long_interval_holds_nobody_up():
    world = World()
    world.wait(world.make(0, seconds=90_000), poll_interval=3600)
    # It is added just after a poll of the other.
    quick = world.make(1, begins=3600, seconds=20)
    world.wait(quick, poll_interval=15, begin=3600.05, first_poll_after=3, deadline=3700)
    world.run(until=4000)
    assert polls_of(world, quick)[0] < 3606
    assert isinstance(world.ended[quick][1], Generation)


@pytest.mark.parametrize(("rate", "latency"), [(1.0, 0.2), (2.0, 0.2), (None, 2.0)])
def test_the_status_queue_does_not_starve_the_batches(rate: float | None, latency: float):
    world = World(rate=rate, latency=latency)
    hidden = {generation_id(number) for number in range(0, 1000, 3)}
    world.shows = lambda one: one not in hidden
    for number in range(1000):
        world.wait(world.make(number, seconds=60), poll_interval=15, first_poll_after=3, deadline=1800)
    world.run(until=1790)
    assert max(world.ended[one][0] - 60 for one in world.made if one not in hidden) < 40


def test_a_generation_at_its_deadline_goes_first_in_the_queue():
    world = World()
    world.shows = lambda one: False
    hurried = []
    for number in range(1000):
        one = world.make(number, seconds=290)
        deadline = 3000 if number % 10 else 300
        world.wait(one, poll_interval=15, first_poll_after=3, deadline=deadline)
        hurried += [one] if deadline == 300 else []
    world.run(until=2000)
    assert len(world.ended) == 1000
    assert max(world.ended[one][0] for one in hurried) < 310
    assert {type(result) for _, result in world.ended.values()} == {Generation}


def test_the_deadlines_of_all_subscriptions_count():
    world = World()
    world.shows = lambda one: False
    hurried = []
    for number in range(1000):
        one = world.make(number, seconds=290)
        world.wait(one, poll_interval=15, first_poll_after=3, deadline=3000)
        if number % 10 == 0:
            # Added while most are in the status queue.
            world.wait(one, poll_interval=15, begin=250, first_poll_after=3, deadline=300)
            hurried.append(one)
    world.run(until=2000)
    assert max(world.ended[one][0] for one in hurried) < 310
    assert {type(result) for _, result in world.ended.values()} == {Generation}


def test_there_are_never_more_than_25_requests_a_second():
    world = World(latency=0.01)
    # Half of them are not in the list, and all deadlines come at once.
    world.shows = lambda one: int(one[-1], 16) % 2 == 0
    for number in range(3000):
        world.wait(world.make(number, seconds=1000), poll_interval=1, first_poll_after=1, deadline=30)
    world.run()
    at = [poll.sent_at for poll in world.polls]
    assert max(sum(one <= other < one + 1.0 - 1e-9 for other in at) for one in at) <= 25


def test_pages_of_hundreds_do_not_fill_the_memory():
    world = World(honours_ids=False, keep=False)
    # Each page shows all, also those that are due in an hour.
    for number, interval in enumerate([3600] * 90 + [1] * 6 + [60]):
        world.wait(world.make(number, seconds=90_000), poll_interval=interval)
    world.run(until=200)
    assert world.planner.strategy is BatchStrategy.PAGES
    assert len(world.planner._queue._due._entries) < 1000


def test_a_list_that_shows_a_page_at_most_is_asked_for_a_page():
    world = World()
    answers(world, lambda poll, rows: rows[:100])
    for number in range(3200):
        world.wait(world.make(number, seconds=15), poll_interval=2, begin=number / 1600, first_poll_after=2)
    world.run()
    assert len(world.ended) == 3200
    assert world.delays()[-1] < 3
    # One poll showed that.
    assert sum(len(poll.ids) > 100 for poll in world.polls) <= 4
