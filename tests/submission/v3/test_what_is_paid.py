"""The v3 column of "what you do and what is paid" in docs/explanation/paid-once.md: a test for each cell."""

from __future__ import annotations

import pytest

from hedra_provider.api.errors import HedraNotFoundError, HedraStateError, HedraValueError
from hedra_provider.records import Generation
from hedra_provider.submission.plan import Rule
from hedra_provider.submission.v3.submit import adopt_job, note_outcome, note_v2_generation, resume_job
from tests.submission.v3.scripted import DAY, HOUR, MINUTE, Process, Store, World


def paid_after(world: World, *args, **run) -> int:
    process = world.attempt(*args, **run).finish()
    assert process.error is None
    return world.hedra.paid


def test_a_retry_pays_nothing_again_and_uploads_nothing():
    world = World.of()
    first = world.attempt().finish()
    retry = world.attempt("another prompt").finish()
    assert (world.hedra.paid, world.hedra.uploads) == (1, 1)
    assert (retry.result.job_id, retry.result.rule) == (first.result.job_id, Rule.PAID_BY_US)
    assert (retry.result.adopted, retry.result.paid_here) == (True, True)


def test_a_clear_pays_nothing_again_and_uploads_nothing():
    world = World.of()
    world.attempt(group="before").finish()
    clear = world.attempt(group="after").finish()
    assert (world.hedra.paid, world.hedra.uploads) == (1, 1)
    assert (clear.result.rule, clear.result.adopted, clear.result.paid_here) == (Rule.SAME, True, False)


def test_a_clear_replaces_a_failed_job():
    world = World.of()
    world.attempt(group="before").finish()
    world.hedra.jobs[0].status = "FAILED"
    clear = world.attempt(group="after").finish()
    assert (world.hedra.paid, clear.result.n, clear.result.rule) == (1, 1, Rule.FAILED_BEFORE)
    assert len({key for key, _ in world.hedra.sent}) == 2


def test_a_retry_replaces_a_failed_job():
    world = World.of()
    world.attempt().finish()
    world.hedra.jobs[0].status = "FAILED"
    assert paid_after(world) == 1
    assert paid_after(world) == 1


def test_a_clear_after_a_change_pays_for_the_new_request_once():
    world = World.of()
    world.attempt("a", group="1").finish()
    assert paid_after(world, "b", group="2") == 2
    assert paid_after(world, "b", group="2") == 2
    assert paid_after(world, "b", group="3") == 2


def test_a_clear_after_a_change_back_finds_the_first_one():
    world = World.of()
    first = world.attempt("a", group="1").finish()
    world.attempt("b", group="2").finish()
    third = world.attempt("a", group="3").finish()
    assert (world.hedra.paid, third.result.job_id) == (2, first.result.job_id)


def test_a_clear_after_a_change_names_an_earlier_submit_that_may_be_paid_for():
    world = World.of()
    world.attempt("a", group="1").finish(lambda: "cut")
    assert paid_after(world, "b", group="2") == 2
    assert any("may be accepted and paid for" in line and "besides it" in line for line in world.log)


def test_a_clear_with_the_same_request_continues_an_unknown_outcome():
    world = World.of()
    world.attempt(group="1").finish(lambda: "cut")
    assert paid_after(world, group="2") == 1
    world = World.of()
    world.attempt(group="1").finish(lambda: "cut")
    world.clock.move(HOUR)
    assert world.attempt(group="2").finish().error.outcome_unknown
    assert world.hedra.paid == 1


def test_each_clear_with_on_clear_new_pays():
    """The operator gives each attempt group a key of its own then."""
    world = World.of()
    world.attempt(key="1", group="1").finish()
    assert paid_after(world, key="2", group="2") == 2


def test_another_run_pays_one_of_its_own():
    world = World.of()
    world.attempt(key="monday", group="monday").finish()
    assert paid_after(world, key="tuesday", group="tuesday") == 2


def test_a_deleted_run_forgets_where_airflow_keeps_the_records():
    """Airflow deletes a run's task state with the run. In state_path the record stays."""
    world = World.of()
    first = world.attempt(group="before").finish()
    again = world.attempt(group="made again").finish()
    assert (world.hedra.paid, again.result.job_id) == (1, first.result.job_id)
    world.shared.clear()
    world.clock.move(DAY)
    again = world.attempt(group="made again").finish()
    # The first key meets another body: 409. No job is near, so the next key is paid for.
    assert (again.error, world.hedra.paid) == (None, 2)


def test_a_chained_step_is_paid_by_itself():
    world = World.of()
    world.attempt(step="speech", draft=world.draft("words", model="elevenlabs-v3")).finish()
    world.attempt(step="avatar").finish()
    assert world.hedra.paid == 2
    world.attempt(step="speech", draft=world.draft("words", model="elevenlabs-v3")).finish()
    world.attempt(step="avatar").finish()
    assert world.hedra.paid == 2


def test_one_attempt_keeps_both_steps_in_its_record():
    world = World.of()
    run = world.run(step="speech")
    for step in ("speech", "avatar"):
        world.attempt(step=step, try_id=run.try_id).finish()
    (record,) = world.records()
    assert [one.step for one in record.intents] == ["speech", "avatar"]


def test_a_generation_of_v2_stops_a_v3_submit():
    world = World.of()
    store = Store(world, "run")
    note_v2_generation(store, key="run", try_id="v2", attempt_group="group", generation_ids=["v2-id"])
    note_v2_generation(store, key="run", try_id="v2", attempt_group="group", generation_ids=["v2-next"])
    assert world.records()[0].v2_generation_ids == ("v2-id", "v2-next")
    process = world.attempt().finish()
    assert isinstance(process.error, HedraStateError)
    assert (process.error.generation_id, process.error.retryable) == ("v2-next", False)
    assert "v2 key" in str(process.error)
    assert (world.hedra.sent, world.hedra.uploads) == ([], 0)


def test_a_job_that_hedra_erased_is_not_paid_for_again():
    world = World.of()
    first = world.attempt(group="before").finish()
    world.hedra.jobs.clear()
    process = world.attempt().finish()
    # Just after its submit it may only be missing in the list: it is waited for.
    assert process.result.job_id == first.result.job_id
    world.clock.move(5 * DAY)
    process = world.attempt(group="after").finish()
    assert (process.error.generation_id, process.error.retryable) == (first.result.job_id, False)
    assert world.hedra.paid == 0


def test_a_recorded_end_needs_no_status_request():
    world = World.of()
    first = world.attempt().finish()
    run = world.run()
    failed = Generation(id=first.result.job_id, status="error")
    note_outcome(run, Store(world, "run"), Generation(id=failed.id, status="processing"))
    note_outcome(run, Store(world, "run"), failed)
    world.hedra.jobs.clear()
    process = world.attempt().finish()
    assert (process.error, process.result.n, process.result.rule) == (None, 1, Rule.FAILED_BEFORE)


class TestANamedJob:
    """``generation_id="job_..."`` of an operator."""

    def named(self, world: World, job_id: str, **run) -> Process:
        known = world.run(**run)
        return Process(world, adopt_job(known, Store(world, known.key), job_id)).finish()

    def test_it_is_adopted_and_retries_keep_to_it(self):
        world = World.of()
        world.attempt().finish(lambda: "cut")
        world.clock.move(HOUR)
        assert world.attempt().finish().error.outcome_unknown
        (job_id,) = world.job_ids()
        adopted = self.named(world, job_id)
        assert (adopted.result.job_id, adopted.result.paid_here) == (job_id, True)
        retry = world.attempt().finish()
        assert (retry.result.job_id, world.hedra.paid) == (job_id, 1)
        clear = world.attempt(group="after").finish()
        assert (clear.result.job_id, world.hedra.paid) == (job_id, 1)

    def test_one_that_no_record_knows_was_paid_by_somebody_else(self):
        world = World.of()
        other = world.attempt(key="other").finish()
        adopted = self.named(world, other.result.job_id)
        assert (adopted.result.paid_here, adopted.result.adopted) == (False, True)
        assert world.attempt("whatever").finish().result.job_id == other.result.job_id
        assert world.hedra.paid == 1

    def test_it_wins_over_an_earlier_job_of_the_task(self):
        world = World.of()
        world.attempt().finish()
        other = world.attempt(key="other").finish()
        self.named(world, other.result.job_id)
        assert world.attempt().finish().result.job_id == other.result.job_id

    @pytest.mark.parametrize("job_id", ["0f9d9d3c-7d0e-4b0c-9b51-6d1f1c4f2a90", "job", ""])
    def test_another_id_is_invalid(self, job_id):
        assert isinstance(self.named(World.of(), job_id).error, HedraValueError)

    def test_an_unknown_job_is_an_error(self):
        process = self.named(World.of(), "job_0f9d9d3c")
        assert isinstance(process.error, HedraNotFoundError)
        assert process.error.retryable is False


def test_what_is_stored_shows_no_handle():
    world = World.of()
    world.attempt().finish()
    assert "handle-1" not in "".join(world.shared.values())
    assert "secret" not in "".join(world.shared.values())


def test_a_resume_needs_no_request_and_sends_nothing_without_a_record():
    world = World.of()
    process = Process(world, resume_job(world.run(), Store(world, "run"))).finish()
    assert (process.result, world.hedra.asked) == (None, [])


def test_a_step_of_another_model_is_searched_in_its_own_list():
    world = World.of()
    draft = world.draft(model="hedra-character-3")
    world.attempt(draft=draft).finish(lambda: "lost")
    world.clock.move(40 * MINUTE)
    assert world.attempt(draft=draft).finish().error is None
    assert "GET /models/hedra-character-3/jobs" in world.hedra.asked
