"""The poller's decisions on v3: pages, status requests and results within a budget, on a simulated clock."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedra_provider.api.errors import (
    HedraBadRequestError,
    HedraError,
    HedraNotFoundError,
    HedraPermissionError,
    HedraServerError,
    HedraTransportError,
    HedraWaitTimeoutError,
)
from hedra_provider.polling.job_poll import JobPoll, JobPollKind, JobRows
from hedra_provider.polling.tracked import Ended, Progressed, Subscription, Warned
from hedra_provider.records import Generation
from testbed.job_simulation import JobWorld, job_id

STATUS, RESULT, PAGE = JobPollKind.STATUS, JobPollKind.RESULT, JobPollKind.PAGE
DOWN = HedraServerError("down", status_code=503, retryable=True)


def crowd(world: JobWorld, count: int, *, seconds: float = 300.0, poll_interval: float = 15.0) -> list[str]:
    """Jobs that are submitted within a minute and end within another."""
    ids = [
        world.make(n, begins=60.0 * n / count, seconds=seconds + (n * 7 % count) * 60.0 / count)
        for n in range(count)
    ]
    for one in ids:
        begin = world.made[one].begins
        world.wait(one, poll_interval=poll_interval, begin=begin, first_poll_after=3.0)
    return ids


def results(world: JobWorld) -> set[type]:
    return {type(result) for _, result in world.ended.values()}


def assert_all_ended_well(world: JobWorld, ids: list[str]) -> None:
    assert results(world) == {Generation}
    assert sorted(world.ended) == sorted(ids)
    assert len(world.planner) == 0


# One, few, many


def test_one_is_polled_by_its_status_and_its_result_is_read_once():
    world = JobWorld()
    one = world.make(0, seconds=40)
    world.wait(one, poll_interval=15)
    world.run()
    assert [(at, kind) for at, kind in world.sent] == [
        (0, STATUS), (15, STATUS), (30, STATUS), (45, STATUS), (47, RESULT),
    ]  # fmt: skip
    _, result = world.ended[one]
    assert isinstance(result, Generation)
    assert (result.asset_id, result.cost, result.currency) == (f"asset-{one}", 1, "USD")


def test_a_failed_job_ends_with_the_error_of_its_result():
    world = JobWorld()
    one = world.make(0, seconds=20, status="error")
    world.wait(one, poll_interval=15)
    world.run()
    result = world.ended[one][1]
    assert isinstance(result, Generation)
    assert (result.is_failed, result.error) == (True, {"code": "INTERNAL"})
    assert world.kinds()[RESULT] == 1


def test_two_are_not_worth_a_page():
    world = JobWorld()
    ids = crowd(world, 2)
    world.run()
    assert_all_ended_well(world, ids)
    assert world.kinds()[PAGE] == 0


@pytest.mark.parametrize("count", [10, 100, 250])
def test_several_share_pages_and_each_gets_one_result(count: int):
    world = JobWorld()
    ids = crowd(world, count)
    world.run()
    assert_all_ended_well(world, ids)
    assert world.kinds()[RESULT] == count
    polls_alone = sum(world.made[one].ends - world.made[one].begins for one in ids) / 15
    assert world.kinds()[PAGE] + world.kinds()[STATUS] < polls_alone / 4


def test_a_page_does_not_make_the_progress_of_the_status_endpoint_go_back():
    world = JobWorld()
    plain = world.change

    def with_progress(poll: JobPoll, answer: JobRows) -> JobRows:
        import dataclasses

        if poll.kind is not STATUS:
            return plain(poll, answer)
        return JobRows([dataclasses.replace(row, progress=0.3) for row in answer.rows])

    world.change = with_progress
    first = world.make(0, seconds=300)
    world.wait(first, poll_interval=15)
    for number in range(1, 6):
        world.wait(world.make(number, seconds=300), poll_interval=15, begin=31, first_poll_after=15)
    world.run(until=290)
    assert world.kinds()[PAGE] > 5
    seen = [
        update.generation.progress for _, update in world.updates[first] if isinstance(update, Progressed)
    ]
    assert seen == [0.3]


# The budget


def test_a_thousand_at_60_requests_a_minute_get_no_429_and_no_end_is_missed_by_a_round():
    """Every end is shown by the next page of a round that passes its row."""
    world = JobWorld(keep=False)
    jitter = random.Random(7)
    ids = []
    for number in range(1000):
        begin = jitter.uniform(0, 600)
        one = world.make(number, begins=begin, seconds=jitter.uniform(300, 900))
        world.wait(one, poll_interval=15, begin=begin, first_poll_after=3)
        ids.append(one)
    world.run()
    assert_all_ended_well(world, ids)
    assert world.rate_limited == 0
    assert max(world.windows.values()) <= 31
    assert world.kinds()[RESULT] == 1000
    assert world.kinds()[STATUS] < 50
    # A round is at most ten pages; with as many results in between, that is 20 requests.
    ends = {one: world.made[one].ends for one in ids}
    at = [sent for sent, kind in world.sent if kind is not RESULT]
    pages_until_shown = [sum(ends[one] <= sent < world.known_at[one] for sent in at) for one in ids]
    assert max(pages_until_shown) <= 11


@pytest.mark.parametrize("count", [3, 30, 300])
def test_requests_never_come_in_bursts(count: int):
    world = JobWorld()
    crowd(world, count)
    world.run()
    gaps = [later - earlier for (earlier, _), (later, _) in zip(world.sent, world.sent[1:], strict=False)]
    assert min(gaps) >= 2.0 - 1e-9


def test_a_third_of_each_window_is_left_to_workers():
    """Workers send 25 requests at the beginning of each minute: with them, 30 polls would be too many."""
    world = JobWorld()
    world.worker_requests = sorted(60.0 * minute + n * 0.3 for minute in range(60) for n in range(25))
    ids = crowd(world, 300, seconds=600)
    world.run()
    assert_all_ended_well(world, ids)
    assert world.rate_limited == 0
    assert max(world.windows.values()) <= 41


def test_429s_count_as_no_failure_and_the_rate_recovers():
    """Workers use up each window: only a 429 has the headers."""
    world = JobWorld(shows_limit=False)
    world.worker_requests = sorted(60.0 * minute + n * 0.2 for minute in range(5) for n in range(55))
    ids = crowd(world, 100, seconds=900)
    world.run()
    assert_all_ended_well(world, ids)
    assert 1 <= world.rate_limited <= 10
    warned = {type(update) for updates in world.updates.values() for _, update in updates}
    assert Warned in warned
    assert not [
        update.message
        for updates in world.updates.values()
        for _, update in updates
        if isinstance(update, Warned) and "failure" in update.message and "429" not in update.message
    ]
    last = [sent for sent, _ in world.sent][-20:]
    assert (last[-1] - last[0]) / 19 < 3.0


# Fairness


def test_hundreds_of_ends_at_once_delay_the_next_end_by_a_bounded_number_of_requests():
    world = JobWorld(keep=False)
    for number in range(500):
        world.wait(world.make(number, begins=-600, seconds=700), poll_interval=15, first_poll_after=3)
    late = world.make(999, begins=-601, seconds=900)
    world.wait(late, poll_interval=15, first_poll_after=3)
    world.run()
    assert len(world.ended) == 501
    after_end = [sent for sent, _ in world.sent if 299 <= sent < world.known_at[late]]
    # Six pages with as many results in between, and the rest of the round before.
    assert len(after_end) <= 26
    assert world.known_at[late] < 400 < max(at for at, _ in world.ended.values())


def test_pages_do_not_stop_the_results():
    world = JobWorld(keep=False)
    for number in range(900):
        world.wait(world.make(number, begins=-number, seconds=90_000), poll_interval=15, first_poll_after=3)
    one = world.make(4000, begins=-10, seconds=200)
    world.wait(one, poll_interval=15)
    world.run(until=400)
    shown = world.known_at[one]
    assert world.ended[one][0] - shown <= 7


def test_unlisted_jobs_stop_neither_pages_nor_results():
    world = JobWorld(keep=False)
    hidden = {job_id(number) for number in range(0, 600, 2)}
    world.shows = lambda one: one not in hidden
    for number in range(600):
        seconds = 60 if number % 2 == 0 else 300 + number / 2
        world.wait(world.make(number, seconds=seconds), poll_interval=15, first_poll_after=3)
    world.run()
    assert len(world.ended) == 600
    assert results(world) == {Generation}
    listed = [one for one in world.ended if one not in hidden]
    # A round of three pages, each followed by a result and a status request: 18 s, and the one before.
    assert max(world.known_at[one] - world.made[one].ends for one in listed) < 60


def test_a_job_that_no_page_shows_stops_no_other_and_gets_its_own_status_request():
    world = JobWorld()
    ids = crowd(world, 50)
    world.shows = lambda one: one != ids[10]
    world.run()
    assert_all_ended_well(world, ids)
    alone = [poll for poll in world.polls if poll.kind is STATUS and poll.ids == (ids[10],)]
    assert alone
    assert world.delays()[-1] < 240
    # No page is read for it alone: for a minute, its status is polled.
    searched = [poll for poll in world.polls if poll.kind is PAGE and ids[10] in poll.ids]
    assert len(searched) <= 420 / 60 + 1


def test_a_job_that_does_not_exist_ends_after_the_grace_and_costs_the_others_nothing():
    world = JobWorld()
    ids = crowd(world, 50)
    world.wait("job_wrong", poll_interval=15, begin=65)
    world.run()
    at, error = world.ended.pop("job_wrong")
    assert isinstance(error, HedraNotFoundError)
    assert 120 < at - 65 < 200
    assert_all_ended_well(world, ids)


def test_foreign_jobs_in_front_of_ours_are_not_read_for_few():
    world = JobWorld()
    ids = crowd(world, 5, seconds=600)
    for number in range(100, 1100):
        world.make(number, begins=70 + number / 1000, seconds=10_000)
    world.run()
    assert_all_ended_well(world, ids)
    # One useless page, and then none for a minute.
    late = [sent for sent, kind in world.sent if kind is PAGE and sent > 75]
    assert len(late) <= 600 / 60 + 2


def test_rounds_read_on_through_pages_of_other_jobs_while_many_are_missing():
    world = JobWorld()
    ids = crowd(world, 300, seconds=900)
    for number in range(1000, 1400):
        world.make(number, begins=70 + number / 1000, seconds=10_000)
    world.run()
    assert_all_ended_well(world, ids)
    assert world.kinds()[STATUS] < 40


# What goes wrong


def test_a_cursor_that_lapses_begins_the_round_again_and_then_status_requests_follow():
    world = JobWorld(cursor_seconds=1.0)
    ids = crowd(world, 150, seconds=600)
    world.run()
    assert_all_ended_well(world, ids)
    assert world.rate_limited == 0


def test_a_cursor_that_lapses_once_costs_one_round():
    world = JobWorld()
    ids = crowd(world, 350, seconds=600)
    lapsed = HedraBadRequestError("cursor expired", status_code=400, retryable=False)
    at_fault = [200.0]

    def trouble(poll: JobPoll) -> HedraError | None:
        if poll.cursor is not None and at_fault and world.now >= at_fault[0]:
            at_fault.clear()
            return lapsed
        return None

    world.trouble = trouble  # type: ignore[assignment]
    world.run()
    assert not at_fault
    assert_all_ended_well(world, ids)
    # The next page after the fault begins at the newest job.
    pages = [poll for poll in world.polls if poll.kind is PAGE]
    lapsed_at = next(n for n, poll in enumerate(pages) if poll.cursor is not None and poll.sent_at >= 200.0)
    assert pages[lapsed_at + 1].cursor is None
    assert pages[lapsed_at + 1].sent_at - pages[lapsed_at].sent_at <= 6.0
    assert world.kinds()[STATUS] < 60
    assert not [u for updates in world.updates.values() for _, u in updates if isinstance(u, Warned)]


@pytest.mark.parametrize(
    "error",
    [DOWN, HedraTransportError("cut"), HedraPermissionError("no", status_code=403)],
    ids=["503", "cut", "403"],
)
def test_a_list_that_fails_alone_ends_no_wait_and_keeps_within_the_budget(error: HedraError):
    world = JobWorld()
    world.trouble = lambda poll: error if poll.kind is PAGE else None  # type: ignore[comparison-overlap]
    ids = crowd(world, 40, seconds=1800)
    world.run()
    assert_all_ended_well(world, ids)
    assert max(world.windows.values()) <= 31
    assert world.detection_delays()[-1] < 240
    # It is tried about once a minute.
    assert world.kinds()[PAGE] <= 1900 / 60 + 15


def test_a_list_that_recovers_shows_also_the_jobs_that_wait_for_status_requests():
    world = JobWorld()
    world.trouble = lambda poll: DOWN if poll.kind is PAGE and world.now < 400 else None  # type: ignore[comparison-overlap]
    ids = crowd(world, 400, seconds=900)
    world.run()
    assert_all_ended_well(world, ids)
    assert world.detection_delays()[-1] < 60


def test_an_outage_is_survived_and_reaches_the_log():
    world = JobWorld()
    world.trouble = lambda poll: DOWN if 100 < world.now < 250 else None
    ids = crowd(world, 60, seconds=600)
    world.run()
    assert_all_ended_well(world, ids)
    assert all(any(isinstance(u, Warned) for _, u in world.updates[one]) for one in ids)


def test_an_endless_outage_ends_each_wait_with_its_own_error():
    world = JobWorld()
    world.trouble = lambda poll: DOWN
    ids = crowd(world, 12)
    world.run()
    assert results(world) == {HedraServerError}
    assert {world.ended[one][1].generation_id for one in ids} == set(ids)  # type: ignore[attr-defined]
    assert all("8 polls in a row" in str(result) for _, result in world.ended.values())


def test_a_result_that_fails_is_requested_again():
    world = JobWorld()
    failures = iter([DOWN, DOWN])
    world.trouble = lambda poll: next(failures, None) if poll.kind is RESULT else None  # type: ignore[comparison-overlap]
    ids = crowd(world, 5)
    world.run()
    assert_all_ended_well(world, ids)
    assert world.kinds()[RESULT] == 7


def test_a_job_that_is_erased_after_it_was_seen_ends_as_unknown_after_the_grace():
    world = JobWorld()
    ids = crowd(world, 6, seconds=900)
    world.at(400, lambda: world.erased.add(ids[2]))
    world.run()
    at, error = world.ended.pop(ids[2])
    assert isinstance(error, HedraNotFoundError)
    assert 500 < at < 640
    assert_all_ended_well(world, [one for one in ids if one != ids[2]])


def test_the_grace_of_an_erased_result_begins_at_the_end_of_the_job():
    """The last answer that showed it running may be older than the grace: a budget makes rounds slow."""
    world = JobWorld()
    one = world.make(0, seconds=590)
    lost = iter([JobRows([])] * 3)
    world.change = lambda poll, answer: next(lost, answer) if poll.kind is RESULT else answer
    world.wait(one, poll_interval=600)
    world.run()
    assert isinstance(world.ended[one][1], Generation)
    assert world.kinds() == Counter({STATUS: 2, RESULT: 4})


def test_a_result_that_is_erased_ends_as_unknown():
    world = JobWorld()
    one = world.make(0, seconds=20)
    world.change = lambda poll, answer: JobRows([]) if poll.kind is RESULT else answer
    world.wait(one, poll_interval=15)
    world.run()
    assert isinstance(world.ended[one][1], HedraNotFoundError)
    # The status is not polled again: it has been final.
    assert world.kinds()[STATUS] == 3


def test_duplicates_in_pages_change_nothing():
    world = JobWorld()

    def twice(poll: JobPoll, answer: JobRows) -> JobRows:
        return JobRows([*answer.rows, *answer.rows], answer.next_cursor)

    world.change = twice
    ids = crowd(world, 150)
    world.run()
    assert_all_ended_well(world, ids)
    assert world.kinds()[RESULT] == 150
    assert all([type(u) for _, u in world.updates[one]].count(Ended) == 1 for one in ids)


def test_an_unknown_status_is_checked_once_by_its_result():
    world = JobWorld()
    ids = [world.make(number, seconds=60, status="CANCELLED") for number in range(5)]
    for one in ids:
        world.wait(one, poll_interval=15, first_poll_after=3, deadline=300)
    world.run()
    assert results(world) == {HedraWaitTimeoutError}
    assert world.kinds()[RESULT] == 5
    assert all("CANCELLED" in str(result) for _, result in world.ended.values())
    # With an error in its result, it is final.
    world = JobWorld()
    plain = world.job

    def failed(id_: str, *, has_result: bool = False) -> Generation:
        import dataclasses

        row = plain(id_, has_result=has_result)
        return dataclasses.replace(row, error={"code": "X"}) if has_result else row

    world.job = failed  # type: ignore[method-assign]
    one = world.make(0, seconds=60, status="CANCELLED")
    world.wait(one, poll_interval=15)
    world.run()
    assert world.ended[one][1].is_failed  # type: ignore[attr-defined]
    assert world.ended[one][0] < 80


# Deadlines


def test_the_last_poll_falls_on_the_deadline():
    world = JobWorld()
    one = world.make(0, seconds=99)
    world.wait(one, poll_interval=60, deadline=100)
    world.run()
    assert [at for at, kind in world.sent if kind is STATUS] == [0, 60, 100]
    assert isinstance(world.ended[one][1], Generation)


def test_a_deadline_in_the_middle_of_a_round_is_met_by_a_status_request():
    world = JobWorld(latency=5.0)
    for number in range(800):
        world.wait(world.make(number, begins=-number, seconds=90_000), poll_interval=15, first_poll_after=3)
    hurried = world.make(900, begins=-5000, seconds=5100)
    world.wait(hurried, poll_interval=15, deadline=101)
    world.run(until=200)
    at, result = world.ended[hurried]
    assert isinstance(result, Generation), str(result)
    assert at < 161


def test_hundreds_of_deadlines_at_once_are_met_by_pages():
    world = JobWorld()
    for number in range(500):
        world.wait(world.make(number, seconds=600), poll_interval=15, first_poll_after=3, deadline=300)
    world.run(until=360)
    assert len(world.ended) == 500
    assert results(world) == {HedraWaitTimeoutError}


def test_a_wait_that_is_over_while_its_result_is_queued_has_not_timed_out():
    world = JobWorld()
    one = world.make(0, seconds=10)
    subscription = Subscription(one, lambda update: None, began=0.0, deadline=20.0, poll_interval=15.0)
    world.planner.add(subscription, 0.0)
    world.trouble = lambda poll: DOWN if poll.kind is RESULT else None  # type: ignore[comparison-overlap]
    world.run(until=16)
    over = subscription.on_deadline(80.0)
    assert isinstance(over.result, Generation)  # type: ignore[union-attr]
    assert over.result.is_complete  # type: ignore[union-attr]


# Laws

ERRORS = [
    DOWN,
    HedraTransportError("cut"),
    HedraBadRequestError("no", status_code=400, retryable=False),
]


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 250),
    st.sampled_from([1.0, 15.0, 60.0]),
    st.sampled_from([20, 60, 600]),
    st.sampled_from([None, 3.0]),
    st.floats(0, 1),
    st.sampled_from(ERRORS),
    st.integers(0, 10**6),
)
def test_whatever_happens_every_wait_ends_once_and_nothing_is_polled_afterwards(
    count: int,
    poll_interval: float,
    limit: int,
    cursor_seconds: float | None,
    share: float,
    error: HedraError,
    seed: int,
):
    world = JobWorld(limit=limit, cursor_seconds=cursor_seconds, seed=seed)
    world.trouble = lambda poll: error if world.chance() < share * 0.5 else None
    world.shows = lambda one: int(one[-1], 16) % 5 != 0
    for number in range(count):
        one = job_id(number)
        if number % 7:
            world.make(number, begins=number % 11, seconds=3 * (number % 17))
        world.wait(one, poll_interval=poll_interval, begin=number % 13, deadline=300 + number % 3)
    world.run(until=20_000)
    assert len(world.ended) == count
    assert len(world.planner) == 0
    for updates in world.updates.values():
        assert Counter(type(update) for _, update in updates)[Ended] == 1
        assert isinstance(updates[-1][1], Ended)
    sent = len(world.sent)
    world.run()
    assert len(world.sent) == sent
