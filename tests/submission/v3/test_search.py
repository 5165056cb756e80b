"""The search of Hedra's list: what counts as none, what is a candidate, what the stop says."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from hedra_provider.submission.v3.record import TryRecord
from tests.submission.v3.scripted import DAY, MINUTE, MODEL, Job, World


def lost(world: World, *, arrived: bool = False, **run) -> None:
    """One attempt whose sends all get no answer."""
    process = world.attempt(**run).finish(lambda: "cut" if arrived else "lost")
    assert process.error.outcome_unknown


def foreign(
    world: World, *, before_intent: float = 0.0, model: str = MODEL, status: str = "IN_PROGRESS"
) -> Job:
    job = Job("job_foreign", model, b"", world.clock.now - before_intent, "key_one", status)
    world.hedra.jobs.append(job)
    return job


def test_none_counts_twice_and_ten_minutes_after_the_last_send():
    world = World.of()
    lost(world)
    last_send = max(send.began_at for one in world.records() for i in one.intents for send in i.sends)
    world.clock.move(20 * MINUTE)
    # Close to the end of the window: one more send is lost, and the window is over when a retry begins.
    world.attempt().finish(lambda: "lost")
    sends = [send.began_at for one in world.records() for i in one.intents for send in i.sends]
    assert max(sends) > last_send + 10 * MINUTE
    world.clock.now = world.records()[0].intents[0].began_at + 30 * MINUTE
    process = world.attempt().finish()
    assert (process.error, process.result.n) == (None, 1)
    job = world.hedra.jobs[0]
    assert job.created_at >= max(sends) + 10 * MINUTE
    assert any("until then nothing is submitted" in line for line in world.log)
    lists = [ask for ask in world.hedra.asked if ask == f"GET /models/{MODEL}/jobs"]
    assert len(lists) >= 2


def test_a_job_that_appears_between_the_searches_is_found():
    world = World.of(list_lags=DAY)
    lost(world, arrived=True)
    world.clock.move(40 * MINUTE)
    process = world.attempt()
    while not any("found none of its jobs" in line for line in world.log):
        process.step()
    world.hedra.list_lags = 0.0
    process.finish()
    assert (world.hedra.paid, process.error.retryable) == (1, False)
    assert world.job_ids()[0] in str(process.error)


def test_a_late_search_reads_the_list_twice():
    world = World.of()
    lost(world)
    world.clock.move(40 * MINUTE)
    assert world.attempt().finish().error is None
    assert world.hedra.asked.count(f"GET /models/{MODEL}/jobs") == 2


def test_the_stop_names_the_candidate_and_the_ways_on():
    world = World.of()
    lost(world, arrived=True)
    world.clock.move(40 * MINUTE)
    process = world.attempt().finish()
    text = str(process.error)
    for part in (
        world.job_ids()[0],
        "processing",
        "0.42 USD",
        "2026-",
        'generation_id="job_..."',
        'on_clear="new"',
        "idempotency_key",
    ):
        assert part in text
    assert "handle-1" not in text
    assert world.hedra.paid == 1


def test_a_failed_job_is_no_candidate():
    world = World.of()
    lost(world)
    foreign(world, status="FAILED")
    world.clock.move(40 * MINUTE)
    assert world.attempt().finish().error is None


def test_a_job_of_another_record_is_no_candidate():
    world = World.of()
    lost(world)
    other = world.attempt(key="another run").finish()
    world.clock.move(40 * MINUTE)
    process = world.attempt().finish()
    assert process.error is None
    assert process.result.job_id != other.result.job_id
    assert world.hedra.paid == 2


@pytest.mark.parametrize(
    ("before_intent", "model", "stops"),
    [(4 * MINUTE, MODEL, True), (6 * MINUTE, MODEL, False), (0.0, "hedra-character-3", False)],
)
def test_only_jobs_of_the_model_since_five_minutes_before_the_intent_count(before_intent, model, stops):
    world = World.of()
    foreign(world, before_intent=before_intent, model=model)
    lost(world)
    world.clock.move(40 * MINUTE)
    assert (world.attempt().finish().error is not None) is stops


def test_a_job_on_a_later_page_is_found():
    world = World.of()
    lost(world, arrived=True)
    world.clock.move(MINUTE)
    for number in range(250):
        job = Job(f"job_{number}", MODEL, b"", world.clock.now, "key_one", "FAILED")
        world.hedra.jobs.append(job)
    world.clock.move(40 * MINUTE)
    process = world.attempt().finish()
    assert world.job_ids()[0] in str(process.error)


def test_none_of_another_owner_proves_nothing():
    world = World.of()
    lost(world, arrived=True)
    world.hedra.owner = "key_two"
    process = world.attempt(api_key="key_two:secret").finish()
    assert (process.error.outcome_unknown, process.error.retryable, world.hedra.paid) == (True, False, 1)
    assert "another owner" in str(process.error)


def test_none_proves_nothing_after_three_days():
    world = World.of()
    lost(world)
    world.clock.move(3 * DAY + MINUTE)
    process = world.attempt().finish()
    assert (process.error.outcome_unknown, process.error.retryable, world.hedra.paid) == (True, False, 0)
    assert "three days" in str(process.error)


def test_a_rotated_secret_cant_send_the_bytes_again_and_searches():
    world = World.of()
    lost(world, arrived=True)
    sent = len(world.hedra.sent)
    process = world.attempt(api_key="key_one:rotated").finish()
    assert len(world.hedra.sent) == sent
    assert world.job_ids()[0] in str(process.error)


def test_a_rotated_key_continues_with_the_recorded_key():
    world = World.of()
    first = world.attempt().finish()
    process = world.attempt(api_key="key_one:rotated").finish()
    assert process.result.job_id == first.result.job_id


def test_a_resend_has_the_recorded_key_although_the_namespace_changed():
    """``id_namespace`` was set in the connection between two attempts."""
    world = World.of()
    lost(world, arrived=True)
    process = world.attempt(namespace=uuid.UUID(int=7)).finish()
    assert (process.error, world.hedra.paid, len({key for key, _ in world.hedra.sent})) == (None, 1, 1)


def test_hedras_clock_decides_and_not_the_workers():
    """A worker whose clock is an hour ahead sends within the window all the same."""
    world = World.of()
    lost(world, arrived=True)
    world.clock.move(20 * MINUTE)
    process = world.attempt(now=lambda: world.clock.now + 3600.0).finish()
    assert (process.error, world.hedra.paid) == (None, 1)
    began_at = {intent.began_at for one in world.records() for intent in one.intents}
    assert max(began_at) < world.clock.now

    world = World.of()
    lost(world, arrived=True)
    world.clock.move(40 * MINUTE)
    process = world.attempt(now=lambda: world.clock.now - 3600.0).finish()
    assert (process.error is None, world.hedra.paid) == (False, 1)


def test_without_a_date_the_workers_clock_is_used():
    world = World.of()
    world.hedra.has_date = False
    lost(world)
    assert (world.attempt().finish().error, world.hedra.paid) == (None, 1)


def test_a_search_that_another_attempt_makes_needless_ends():
    world = World.of()
    lost(world, arrived=True)
    record = world.records()[0]
    world.clock.move(40 * MINUTE)
    process = world.attempt()
    while not any("may be its job" in line for line in world.log):
        process.step()
    # The lost answer arrives at last, at a worker that was frozen.
    intent = replace(record.intents[0], job_id=world.job_ids()[0])
    world.shared["run", record.try_id] = TryRecord(
        key="run", try_id=record.try_id, attempt_group="group", intents=(intent,)
    ).to_json()
    process.finish()
    assert (process.error, process.result.job_id) == (None, world.job_ids()[0])
