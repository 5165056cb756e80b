"""The failure table: each crash point, under each thing that v3's documents leave open; what is paid then.

An attempt is killed at a point. The next attempt of the same group begins after a delay.
"""

from __future__ import annotations

import pytest

from tests.submission.v3.scripted import DAY, MINUTE, Killed, Store, World

BEFORE_UPLOAD = "before the upload"
BEFORE_INTENT = "upload to intent"
BEFORE_SUBMIT = "intent to submit"
SENT = "submit to its answer"
ANSWERED = "answer to job_id"
RECORDED = "job_id to defer"

POINTS = {
    BEFORE_UPLOAD: lambda events: events.index("send POST /files"),
    BEFORE_INTENT: lambda events: events.index("write"),
    BEFORE_SUBMIT: lambda events: events.index("send POST /models/hedra-avatar"),
    SENT: lambda events: events.index("arrived POST /models/hedra-avatar"),
    ANSWERED: lambda events: events.index("write", events.index("arrived POST /models/hedra-avatar")),
    RECORDED: lambda events: len(events) - 1,
}
"""Where the process is killed: before which event of an attempt that succeeds."""

SOON, IN_WINDOW, OVER, LATE = MINUTE, 20 * MINUTE, 40 * MINUTE, 4 * DAY

TABLE = [
    # The point, Hedra's switches, the delay; how the retry ends, how many are paid.
    *[
        (point, {}, delay, "job", 1)
        for point in (BEFORE_UPLOAD, BEFORE_INTENT)
        for delay in (SOON, OVER, LATE)
    ],
    *[(BEFORE_SUBMIT, {}, delay, "job", 1) for delay in (SOON, IN_WINDOW, OVER)],
    (BEFORE_SUBMIT, {}, LATE, "stop", 0),
    *[
        (point, switches, delay, "job", 1)
        for point in (SENT, ANSWERED)
        for switches in ({}, {"compares": "json"}, {"compares": "nothing"}, {"burns": True})
        for delay in (SOON, IN_WINDOW)
    ],
    *[
        (point, switches, delay, "stop", 1)
        for point in (SENT, ANSWERED)
        for switches in (
            {},
            {"reads_key_in": "nothing"},
            {"key_lives": 5 * MINUTE},
            {"list_lags": 5 * MINUTE},
        )
        for delay in (OVER, LATE)
    ],
    *[(RECORDED, {"reads_key_in": "nothing"}, delay, "job", 1) for delay in (SOON, IN_WINDOW, OVER, LATE)],
    # What no client can prevent: a resend is paid for again where Hedra ignores or forgot the key.
    *[(point, {"reads_key_in": "nothing"}, SOON, "job", 2) for point in (SENT, ANSWERED)],
    *[(point, {"key_lives": 5 * MINUTE}, IN_WINDOW, "job", 2) for point in (SENT, ANSWERED)],
    *[(point, {"key_lives": 5 * MINUTE}, SOON, "job", 1) for point in (SENT, ANSWERED)],
]


@pytest.mark.parametrize(("point", "switches", "delay", "end", "paid"), TABLE)
def test_an_attempt_that_was_killed(point, switches, delay, end, paid):
    world = World.of(**switches)
    world.attempt().finish()
    kill_at = POINTS[point](world.events)

    world = World.of(**switches)
    world.kill_at = kill_at
    with pytest.raises(Killed):
        world.attempt().finish()
    world.kill_at = None
    world.hedra.under_way.clear()
    world.clock.move(delay)
    retry = world.attempt().finish()

    assert world.hedra.paid == paid
    if end == "job":
        assert retry.error is None
        assert retry.result.job_id in world.job_ids()
    else:
        assert retry.error is not None
        assert (retry.error.outcome_unknown, retry.error.retryable) == (True, False)


@pytest.mark.parametrize("delay", [SOON, IN_WINDOW])
def test_no_moment_of_a_kill_pays_twice(delay):
    """Not only the named points: every read, write and request of an attempt."""
    whole = World.of()
    whole.attempt().finish()
    for kill_at in range(len(whole.events)):
        world = World.of()
        world.kill_at = kill_at
        with pytest.raises(Killed):
            world.attempt().finish()
        world.kill_at = None
        world.hedra.under_way.clear()
        world.clock.move(delay)
        retry = world.attempt("another prompt, rendered by the retry").finish()
        assert (retry.error, world.hedra.paid) == (None, 1), whole.events[kill_at]


LOST, CUT = "lost", "cut"


@pytest.mark.parametrize("fate", [LOST, CUT])
@pytest.mark.parametrize("place", ["header", "body", "both"])
def test_a_lost_answer_is_followed_by_the_same_bytes_with_the_same_key(fate, place):
    world = World.of(reads_key_in="header" if place == "header" else "body")
    fates = iter([fate])
    process = world.attempt(place=place).finish(lambda: next(fates, "answered"))
    assert world.hedra.paid == 1
    assert process.result.job_id == world.job_ids()[0]
    assert len(set(world.hedra.sent)) == 1
    assert any("same idempotency key, so nothing is paid twice" in line for line in world.log)


def test_the_key_in_the_wrong_place_is_paid_for_by_each_send_that_arrives():
    world = World.of(reads_key_in="body")
    fates = iter([CUT])
    world.attempt(place="header").finish(lambda: next(fates, "answered"))
    assert world.hedra.paid == 2
    world = World.of(reads_key_in="body")
    fates = iter([CUT])
    world.attempt(place="both").finish(lambda: next(fates, "answered"))
    assert world.hedra.paid == 1


def test_when_every_answer_is_cut_one_job_is_paid_and_the_retries_stop_at_its_name():
    world = World.of()
    for _ in range(4):
        process = world.attempt().finish(lambda: CUT)
        assert (process.error.outcome_unknown, process.error.retryable) == (True, True)
        world.clock.move(5 * MINUTE)
    world.clock.move(30 * MINUTE)
    process = world.attempt().finish(lambda: CUT)
    assert world.hedra.paid == 1
    assert world.job_ids()[0] in str(process.error)
    assert process.error.retryable is False


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 410, 413, 422])
def test_a_rejected_submit_takes_the_next_key(status):
    for burns in (False, True):
        world = World.of(burns=burns)
        world.hedra.answers = [(status, "INVALID_ARGUMENT")]
        process = world.attempt().finish()
        assert (process.error.status_code, process.error.outcome_unknown) == (status, False)
        process = world.attempt().finish()
        assert (process.error, world.hedra.paid, process.result.n) == (None, 1, 1)
        keys = [key for key, _ in world.hedra.sent]
        assert len(set(keys)) == 2


def test_a_rejection_after_a_lost_send_leaves_the_outcome_unknown():
    """The lost send may have emptied the wallet."""
    world = World.of(reads_key_in="nothing")
    fates = iter([CUT])
    process = world.attempt()
    while not world.hedra.jobs:
        process.step(next(fates) if process.is_sending else "answered")
    world.hedra.answers = [(402, "INSUFFICIENT_BALANCE")]
    process.finish()
    assert (process.error.status_code, process.error.outcome_unknown) == (402, True)
    assert process.error.retryable is True
    world.clock.move(40 * MINUTE)
    process = world.attempt().finish()
    assert (world.hedra.paid, process.error.retryable) == (1, False)
    assert world.job_ids()[0] in str(process.error)


@pytest.mark.parametrize("status", [408, 425, 500, 502, 503])
def test_an_answer_that_proves_nothing_is_followed_by_the_same_key(status):
    world = World.of()
    world.hedra.answers = [(status, "INTERNAL")]
    process = world.attempt().finish()
    assert (process.error, world.hedra.paid, len({key for key, _ in world.hedra.sent})) == (None, 1, 1)


def test_a_rate_limit_repeats_key_and_bytes_and_is_left_to_a_retry_slot():
    world = World.of()
    world.hedra.answers = [(429, "RESOURCE_EXHAUSTED")] * 2
    assert world.attempt().finish().error is None
    assert len(set(world.hedra.sent)) == 1

    world = World.of()
    world.hedra.answers = [(429, "RESOURCE_EXHAUSTED")] * 50
    process = world.attempt().finish()
    assert (process.error.status_code, process.error.outcome_unknown) == (429, False)
    world.hedra.answers = []
    world.clock.move(40 * MINUTE)
    process = world.attempt().finish()
    assert (process.error, world.hedra.paid, process.result.n) == (None, 1, 1)
    assert world.hedra.uploads == 2, "the handles had lapsed"


def test_no_connection_is_repeated_in_place():
    world = World.of()
    fates = iter(["unsent", "unsent"])
    process = world.attempt().finish(lambda: next(fates, "answered"))
    assert (process.error, world.hedra.paid, len(set(world.hedra.sent))) == (None, 1, 1)


@pytest.mark.parametrize(("write", "what"), [(1, "the intent"), (2, "the send")])
def test_a_failed_write_submits_nothing(write, what):
    world = World.of()
    world.first_failing_write = write
    process = world.attempt().finish()
    assert "can't be written" in str(process.error), what
    assert (world.hedra.paid, world.hedra.sent) == (0, [])
    world.first_failing_write = None
    assert (world.attempt().finish().error, world.hedra.paid) == (None, 1)


def test_a_job_that_cant_be_recorded_is_returned_all_the_same():
    world = World.of()
    process = world.attempt()
    while not world.hedra.jobs:
        process.step()
    world.first_failing_write = 1
    process.finish()
    assert process.result.job_id == world.job_ids()[0]
    assert any("could not be recorded" in line for line in world.log)
    world.first_failing_write = None
    assert world.attempt().finish().result.job_id == process.result.job_id
    assert world.hedra.paid == 1


def test_a_store_that_loses_the_record_submits_nothing(monkeypatch):
    """Airflow answers "not found" to a try whose retry has begun, as if nothing had been recorded."""
    world = World.of()
    monkeypatch.setattr(Store, "write", lambda store, record: None)
    process = world.attempt().finish()
    assert "does not return the record" in str(process.error)
    assert (process.error.retryable, world.hedra.sent) == (True, [])
