"""Two attempts at once: a worker that lost its heartbeat goes on while the retry runs."""

from __future__ import annotations

import pytest

from hedra_provider.submission.v3.record import Send
from tests.submission.v3.scripted import MINUTE, Store, World


def until(process, condition):
    while not condition():
        process.step()


@pytest.mark.parametrize("at_once", ["conflict", "another job"])
@pytest.mark.parametrize("compares", ["bytes", "json", "nothing"])
def test_both_send_the_same_bytes_and_one_job_is_paid(compares, at_once):
    world = World.of(compares=compares, at_once=at_once)
    first, second = world.attempt(), world.attempt()
    until(first, lambda: world.hedra.uploads == 1)
    until(second, lambda: world.hedra.uploads == 2)
    # Both have uploaded, and neither knows of the other yet.
    until(first, lambda: world.hedra.jobs)
    for _ in range(3):
        second.step()
    first.finish()
    second.finish()
    assert (first.error, second.error, world.hedra.paid) == (None, None, 1)
    assert first.result.job_id == second.result.job_id
    assert len({key for key, _ in world.hedra.sent}) == 1


def test_a_sibling_without_an_outcome_is_awaited_after_a_409():
    world = World.of()
    first, second = world.attempt(), world.attempt()
    until(first, lambda: world.hedra.jobs)
    world.clock.move(MINUTE)
    # The first one's answer is under way for longer than a sibling is awaited before a send.
    while not any("conflict" in line for line in world.log):
        second.step()
    first.finish()
    second.finish()
    assert (second.error, second.result.job_id, world.hedra.paid) == (None, first.result.job_id, 1)
    assert second.result.adopted
    assert not any(
        "/jobs" in ask and ask.endswith("/jobs") and "models" in ask for ask in world.hedra.asked[9:]
    )


def test_a_409_never_leads_to_the_next_key_while_the_sibling_has_no_outcome():
    world = World.of()
    first, second = world.attempt(), world.attempt()
    until(first, lambda: world.hedra.jobs)
    sent_at = world.clock.now
    second.finish()
    # The first one got no answer and is dead: its job is named, and nothing is paid.
    assert world.clock.now >= sent_at + 3 * MINUTE
    assert world.hedra.paid == 1
    assert second.error.outcome_unknown
    assert world.job_ids()[0] in str(second.error)
    assert len({key for key, _ in world.hedra.sent}) == 1


def test_a_search_waits_for_a_sibling_that_may_still_be_answered():
    world = World.of()
    first, second = world.attempt(), world.attempt()
    until(first, lambda: world.hedra.jobs)
    while not any("may be its job" in line for line in world.log):
        second.step()
    second.step()
    second.step()
    first.finish()
    second.finish()
    assert (second.error, second.result.job_id, world.hedra.paid) == (None, first.result.job_id, 1)


def test_a_send_that_was_recorded_is_not_sent_after_another_attempt_closed_the_submit():
    """A process that was frozen between its record and its request wakes up when the retry has paid."""
    world = World.of()
    frozen = world.attempt()
    while not frozen.is_sending:
        frozen.step()
    # Its intent and its send are recorded; it sends when it wakes up. Now it is frozen before its last check.
    world = World.of()
    frozen = world.attempt()
    closing = world.attempt()
    original = Store.write

    def freeze(store, record):
        original(store, record)
        sends = [send for intent in record.intents for send in intent.sends]
        if sends == [Send(began_at=world.clock.now)] and record.try_id == "try-0001":
            Store.write = original
            world.clock.move(31 * MINUTE)
            closing.finish()

    Store.write = freeze
    try:
        frozen.finish()
    finally:
        Store.write = original
    assert closing.error is None
    assert world.hedra.paid == 1
    assert frozen.error is None
    assert frozen.result.job_id == closing.result.job_id
    assert len(world.hedra.sent) == 1


def test_a_recorded_send_is_not_sent_after_another_attempt_got_the_job(monkeypatch):
    """Within the replay window too: an API that ignores the key would take payment for it."""
    world = World.of(reads_key_in="nothing")
    frozen, other = world.attempt(), world.attempt()
    original = Store.write

    def freeze(store, record):
        original(store, record)
        if record.try_id == "try-0001" and any(intent.sends for intent in record.intents):
            monkeypatch.setattr(Store, "write", original)
            world.clock.move(MINUTE)
            other.finish()

    monkeypatch.setattr(Store, "write", freeze)
    frozen.finish()
    assert (frozen.error, frozen.result.job_id) == (None, other.result.job_id)
    assert (world.hedra.paid, len(world.hedra.sent)) == (1, 1)


def test_two_jobs_for_one_key_are_named():
    """What an API does that does not lock: the log says so, and both attempts continue with one of them."""
    world = World.of(at_once="another job")
    first, second = world.attempt(), world.attempt()
    until(first, lambda: world.hedra.jobs)
    world.clock.move(MINUTE)
    until(second, lambda: len(world.hedra.jobs) == 2)
    first.finish()
    second.finish()
    assert first.result.job_id == second.result.job_id == world.job_ids()[0]
    assert any("two jobs for one idempotency key" in line for line in world.log)


def test_two_tasks_that_share_a_key_and_a_request_pay_once():
    world = World.of()
    first = world.attempt(key="shared", group="one")
    second = world.attempt(key="shared", group="two")
    first.finish()
    second.finish()
    assert (first.result.paid_here, second.result.paid_here, world.hedra.paid) == (True, False, 1)


def test_two_tasks_that_share_a_key_and_not_the_request_pay_one_each():
    world = World.of()
    first = world.attempt("a", key="shared", group="one")
    second = world.attempt("b", key="shared", group="two")
    until(first, lambda: world.hedra.uploads == 1)
    until(second, lambda: world.hedra.uploads == 2)
    until(first, lambda: world.hedra.jobs)
    first.finish()
    second.finish()
    assert (first.error, second.error, world.hedra.paid) == (None, None, 2)
    assert first.result.job_id != second.result.job_id
