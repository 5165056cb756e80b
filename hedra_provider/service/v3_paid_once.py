"""How API v3 pays once: by durable records of submits (:mod:`hedra_provider.submission.v3`)."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from hedra_provider.api.errors import HedraConfigurationError, HedraStateError
from hedra_provider.api.v3 import calls
from hedra_provider.records import ERROR, Generation, version_of_id
from hedra_provider.service.differences import reject_other_generation
from hedra_provider.service.expiry import is_expired, iso
from hedra_provider.service.v3_request import AVATAR, SPEECH
from hedra_provider.submission.plan import Plan, Rule
from hedra_provider.submission.submit import Submission
from hedra_provider.submission.v3.merge import merge
from hedra_provider.submission.v3.run import RETRY_IN_PLACE_SECONDS, JobRun
from hedra_provider.submission.v3.submit import (
    JobSubmission,
    adopt_job,
    check_job,
    note_outcome,
    obtain_job,
    resume_job,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hedra_provider.api.calls import Call
    from hedra_provider.service.protocol import Account
    from hedra_provider.service.submit_records import SubmitRecords
    from hedra_provider.service.v3_request import StepRequest, StepsDraft
    from hedra_provider.submission.identity import RunIdentity


class PaidOnceV3:
    """
    Pays once for a task run, by the records of its submits. :class:`.protocol.PaidOnce` documents the
    methods.

    :param run: The task run.
    :param account: The settings of the connection.
    :param records: Where its records are kept.
    """

    def __init__(self, run: RunIdentity, account: Account, records: SubmitRecords | None) -> None:
        if records is None:
            raise HedraConfigurationError(
                "API v3 pays once only with a record of each submit, and there is no place for it.",
                param="state_path",
                remedy="Set state_path in the connection's extra. Nothing was submitted.",
            )
        self.run = run
        self.account = account
        self.records = records

    def find(self, variations: int) -> Call[list[Submission] | None]:
        """
        Continue with what the records say, also on the first try: another run may share the key.

        A complete speech is no result: its avatar needs the request.
        """
        seconds = 0.0 if self.run.is_resumed else RETRY_IN_PLACE_SECONDS
        last = self._job_run(self.records.step, seconds=seconds)
        found = yield from resume_job(last, self.records.store)
        if found is not None:
            return [(yield from self._submission(found, last))]
        if self.records.step != AVATAR:
            return None
        speech = self._job_run(SPEECH, seconds=seconds)
        spoken = yield from self._unless_erased(speech, resume_job(speech, self.records.store))
        if spoken is None or spoken.generation.is_finished:
            return None
        return [(yield from self._submission(spoken, speech))]

    def named(self, generation_id: str) -> Call[Submission]:
        """Ask for its status, and record it, so that retries keep to it."""
        reject_other_generation(generation_id, 3)
        run = self._job_run(self.records.step)
        found = yield from adopt_job(run, self.records.store, generation_id)
        return (yield from self._submission(replace(found, rule=Rule.NAMED), run))

    def plan(self, draft: StepsDraft, *, outcome_unknown: bool) -> Call[list[Plan]]:
        """Decide by the records about the step that makes the result."""
        run = self._job_run(draft.last.step)
        found = yield from check_job(run, draft.last.draft(draft.upload), self.records.store)
        if isinstance(found, JobSubmission):
            return [(yield from self._submission(replace(found, adopted=True), run)).plan]
        return [Plan("", "", None, found)]

    def submit(
        self,
        draft: StepsDraft,
        plans: Sequence[Plan],
        *,
        retry_in_place: bool,
        notify: Callable[[str], None],
    ) -> Call[list[Submission]]:
        """Obtain the speech, where there is one; once it is complete, the step that makes the result."""
        plan, seconds = plans[0], RETRY_IN_PLACE_SECONDS if retry_in_place else 0.0
        if plan.found:
            return [Submission(plan.found, plan, answered=False, paid_here=plan.paid_here)]
        last = draft.last
        if last.speech:
            speech = yield from self._spoken(last.speech, draft, seconds)
            if not speech.generation.is_complete:
                return [speech]
            last = last.with_speech(str(speech.generation.asset_id))
        run = self._job_run(last.step, seconds=seconds)
        found = yield from obtain_job(run, last.draft(draft.upload), self.records.store)
        return [(yield from self._submission(found, run))]

    def may_be_paid(self, variations: int) -> Call[list[str]]:
        """Return the jobs that records name, and that did not fail. Sends nothing."""
        yield from ()
        try:
            records = self.records.store.read()
        except HedraStateError:
            # It is about another error: that one is raised.
            return []
        submits = merge(records, self.records.step)
        return [one.job_id for one in submits if one.job_id and one.job_status != ERROR]

    def not_found_again(self, generation_ids: Sequence[str]) -> list[str]:
        """Return nothing: a retry finds each job by its record, or by the recorded bytes."""
        return []

    def is_last(self, generations: Sequence[Generation]) -> bool:
        """Return whether none of them is the speech of an avatar."""
        if self.records.step != AVATAR:
            return True
        speeches = {one.job_id for one in merge(self.records.store.read(), SPEECH)}
        # The type, too: the record may lack a job whose submit could not be recorded after it was accepted.
        return not any(one.id in speeches or one.type == "audio" for one in generations)

    def ended(self, generations: Sequence[Generation]) -> None:
        """Record the end of each job: a failed one is known as failed after Hedra erased it."""
        for generation in generations:
            # A complete speech may still become unusable, which a later note says.
            if generation.is_failed or self.is_last([generation]):
                for step in (self.records.step, SPEECH):
                    note_outcome(self._job_run(step), self.records.store, generation)

    def earlier_step(self) -> Call[Generation | None]:
        """Return the speech that was made for the avatar; None without one."""
        if self.records.step != AVATAR:
            return None
        named = [one.job_id for one in merge(self.records.store.read(), SPEECH) if one.job_id]
        job = (yield from calls.get_job(named[-1])) if named else None
        return job.record() if job else None

    def _spoken(self, step: StepRequest, draft: StepsDraft, seconds: float) -> Call[Submission]:
        """
        Return the speech: one whose output can be used, or one that runs.

        A speech that was paid for is used again, unless Hedra has erased its output: that is paid for again.
        """
        run = self._job_run(step.step, seconds=seconds)
        while True:
            call = obtain_job(run, step.draft(draft.upload), self.records.store)
            found = yield from self._unless_erased(run, call)
            if found is None:
                continue
            speech = yield from self._submission(found, run)
            generation = speech.generation
            if not generation.is_complete:
                return speech
            if generation.asset_id and not is_expired(generation, time.time()):
                return speech
            self._set_aside(run, generation.id)

    def _unless_erased(
        self, run: JobRun, call: Call[JobSubmission] | Call[JobSubmission | None]
    ) -> Call[JobSubmission | None]:
        """Run a call about the speech; None if its job is erased, which is recorded."""
        try:
            return (yield from call)
        except HedraStateError as error:
            job_id = error.generation_id or ""
            if version_of_id(job_id) != 3 or (yield from calls.get_job(job_id)) is not None:
                raise
        self._set_aside(run, job_id)
        return None

    def _set_aside(self, run: JobRun, job_id: str) -> None:
        """Record that a speech can't be used any more, so that the next submit of this step begins."""
        self.records.notify(
            f"Hedra keeps a speech for 24 hours, and does not have that of job {job_id} any more. The speech "
            "is submitted and paid for again."
        )
        note_outcome(run, self.records.store, Generation(id=job_id, status=ERROR))

    def _job_run(self, step: str, *, seconds: float = RETRY_IN_PLACE_SECONDS) -> JobRun:
        return JobRun(
            key=self.run.key,
            attempt_group=self.run.attempt_group,
            step=step,
            namespace=self.run.namespace,
            api_key=self.account.api_key,
            try_id=self.records.try_id,
            place=self.account.idempotency,
            retry_in_place_seconds=seconds,
            notify=self.records.notify,
        )

    def _submission(self, found: JobSubmission, run: JobRun) -> Call[Submission]:
        """Return a job with what the operators need: its output where it ended, else when it began."""
        generation = found.generation
        if generation.is_finished:
            job = yield from calls.get_job(generation.id)
            generation = job.record() if job else generation
        elif generation.created_at is None:
            generation = replace(generation, created_at=self._began_at(found, run))
        plan = Plan(
            generation.id,
            "",
            generation if found.adopted else None,
            found.rule,
            seen=(generation.id,),
            paid_here=found.paid_here,
        )
        return Submission(generation, plan, answered=not found.adopted, paid_here=found.paid_here)

    def _began_at(self, found: JobSubmission, run: JobRun) -> str | None:
        """Return when a job was submitted: its result can be fetched for 24 hours from then on."""
        try:
            submits = merge(self.records.store.read(), run.step)
        except HedraStateError:
            # It is paid for: nothing may stop the wait.
            submits = []
        began_at = next((one.began_at for one in submits if one.n == found.n), None)
        return iso(time.time() if began_at is None else began_at)
