"""The step of a task that costs credits: adopt what exists, else submit once.

This module is loaded when a task works, not when a DAG file is parsed.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hedra_provider.api.errors import (
    HedraError,
    HedraRateLimitError,
    join_sentences,
)
from hedra_provider.exceptions import leave_to_other_workers
from hedra_provider.operators.payment import adopted_sentence, estimate_cost, log_plan, log_submission
from hedra_provider.records import CREDITS, json_amount
from hedra_provider.service.protocol import Rule
from hedra_provider.xcom import (
    XCOM_ADOPTED,
    XCOM_CREDIT_ESTIMATE,
    XCOM_ESTIMATE,
    XCOM_ID,
    XCOM_IDS,
    XCOM_SPEECH_ID,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hedra_provider.api.client import HedraClient
    from hedra_provider.operators.task_run import TaskRun
    from hedra_provider.service.protocol import Draft, Hedra, Limits, PaidOnce, Plan, Submission


@dataclass
class PaidStep:
    """
    One try of the step, and what it leaves in XCom.

    :param client: Of the operator's connection.
    :param hedra: The service of that connection.
    :param run: The task run that pays.
    :param ti: Its task instance.
    :param log: The task's log.
    :param on_clear: Of the operator, for messages.
    :param generation_ids: What is about to be submitted, or was adopted: one, or all variations of a batch.
    :param cost: What it costs by the estimate, None where no estimate is possible.
    :param may_have_submitted: Whether a generation may be paid for: for the log when Airflow stops this try.
    :param adopted: The generations that were found, not submitted; and whether this task run paid for them.
    """

    client: HedraClient
    hedra: Hedra
    run: TaskRun
    ti: Any
    log: Any
    on_clear: str
    generation_ids: tuple[str, ...] = ()
    cost: str | None = None
    adopted: dict[str, bool] = field(default_factory=dict)
    may_have_submitted: bool = False

    @cached_property
    def paid_once(self) -> PaidOnce:
        """What pays once for this task run."""
        return self.hedra.paid_once(self.run, records=self.run.records)

    def find(self, variations: int) -> list[Submission] | None:
        """
        Find what earlier tries of this attempt group paid for, without the request.

        :param variations: How many generations the request makes.
        :return: None where one of them is missing.
        """
        return self.client.run(self.paid_once.find(variations))

    def named(self, generation_id: str) -> list[Submission]:
        """
        Return the generation that the user names, to be adopted.

        :raises HedraError: If there is none. Nothing is submitted then.
        """
        return [self.client.run(self.paid_once.named(generation_id))]

    def adopt(self, found: Sequence[Submission]) -> None:
        """Adopt what :meth:`find` or :meth:`named` found."""
        for submission in found:
            if submission.answered:
                # The recorded bytes were sent again, and Hedra accepted them now.
                log_submission(submission, self.log)
            else:
                log_plan(submission.plan, is_shared=self.run.is_shared, log=self.log)
        self._remember_submitted(found)
        self._remember_adopted(found)

    def submit(
        self, draft: Draft, *, limits: Limits, retry_in_place: bool, outcome_unknown: bool
    ) -> list[Submission]:
        """
        Submit once, or adopt what exists.

        :param limits: The most that this submit may cost, in each currency.
        :param retry_in_place: Whether a rate-limited submit is repeated in place for a while.
        :param outcome_unknown: Whether a submit of this try may have been taken before.
        :return: The generation to wait for, or those of a batch.
        :raises HedraError: If it may not or could not be submitted.
        """
        plans = self.client.run(self.paid_once.plan(draft, outcome_unknown=outcome_unknown))
        for plan in plans:
            log_plan(plan, is_shared=self.run.is_shared, log=self.log)
        self.cost = draft.cost or self._estimate(draft, plans, limits)
        self._remember([plan.generation_id for plan in plans])
        self.may_have_submitted = True
        call = self.paid_once.submit(draft, plans, retry_in_place=retry_in_place, notify=self.log.warning)
        submissions = self.client.run(call)
        for submission in submissions:
            log_submission(submission, self.log)
        is_new = not all(plan.generation_id for plan in plans)
        if is_new or any(submission.id_mismatch for submission in submissions):
            self._remember_submitted(submissions)
        self._remember_adopted(submissions)
        return submissions

    def log_stopped(self) -> None:
        """Log what runs on when Airflow stops this try."""
        # Hedra gives the id on v3, so it may not be known yet.
        named = f"Generation {', '.join(self.generation_ids)}" if self.generation_ids else "The generation"
        self.log.warning(
            "Airflow stops this try. %s, if it was submitted, runs on at Hedra and costs %s. %s",
            named,
            self.cost or "what Hedra charges",
            'A retry adopts it without paying again. A clear pays for another, as on_clear is "new".'
            if self.on_clear == "new"
            else "A retry or a clear of the task adopts it without paying again.",
        )

    @contextmanager
    def left_to_other_workers(self, variations: int) -> Iterator[None]:
        """
        Name this worker in an error about a file that it can't read or write.

        Where another worker may have begun, the error is left to the retries, as that worker had the file;
        and it names what may be paid for.

        :param variations: How many generations the request makes, as far as that is known.
        """
        try:
            yield
        except HedraRateLimitError:
            # It waits for a retry slot.
            raise
        except HedraError as error:
            if self.run.began_elsewhere:
                if error.depends_on_worker:
                    leave_to_other_workers(error)
                error.remedy = join_sentences(error.remedy, self._may_be_paid(variations))
            raise

    def _may_be_paid(self, variations: int) -> str | None:
        """Say which generations earlier tries may have paid for; None where Hedra knows none."""
        adopted = adopted_sentence(clear_adopts=self.on_clear == "adopt")
        try:
            found = self.client.run(self.paid_once.may_be_paid(variations))
        except HedraError:
            return f"Generation {self.run.first_id} may be paid for. {adopted}"
        return f"Generation {', '.join(found)} exists and may be paid for. {adopted}" if found else None

    def _estimate(self, draft: Draft, plans: Sequence[Plan], limits: Limits) -> str | None:
        """Return in words what a submit costs, None where no estimate is possible."""
        found = estimate_cost(
            self.client,
            self.hedra,
            draft,
            sum(plan.must_submit for plan in plans),
            limits=limits,
            task_id=self.ti.task_id,
            log=self.log,
        )
        if found is None:
            return None
        bounds = {"low": json_amount(found.low), "high": json_amount(found.high)}
        self.ti.xcom_push(key=XCOM_ESTIMATE, value={**bounds, "currency": found.currency})
        if found.currency == CREDITS:
            self.ti.xcom_push(key=XCOM_CREDIT_ESTIMATE, value=bounds)
        return str(found)

    def _remember(self, generation_ids: Sequence[str]) -> None:
        """
        Leave the ids in XCom: what is paid for can be found whatever happens next.

        :param generation_ids: Of all generations. Before the submit, one is empty where Hedra will choose it.
        """
        if not all(generation_ids):
            return
        self.generation_ids = tuple(generation_ids)
        self.may_have_submitted = True
        self.ti.xcom_push(key=XCOM_ID, value=generation_ids[0])
        if len(generation_ids) > 1:
            self.ti.xcom_push(key=XCOM_IDS, value=list(generation_ids))

    def _remember_submitted(self, submissions: Sequence[Submission]) -> None:
        """Leave the ids in XCom. A step before the last has a key of its own: it is no result."""
        generations = [submission.generation for submission in submissions]
        if self.paid_once.is_last(generations):
            self._remember([generation.id for generation in generations])
            return
        self.generation_ids = tuple(generation.id for generation in generations)
        self.may_have_submitted = True
        self.ti.xcom_push(key=XCOM_SPEECH_ID, value=generations[0].id)

    def _remember_adopted(self, submissions: Sequence[Submission]) -> None:
        """Leave in XCom what was adopted, and whether this task run paid: a deferral keeps XComs only."""
        shared = self.run.is_shared
        self.adopted = {
            one.generation.id: one.paid_here or not (shared or one.plan.rule is Rule.NAMED)
            for one in submissions
            if not one.plan.must_submit or (shared and not one.paid_here)
        }
        if self.adopted:
            self.ti.xcom_push(key=XCOM_ADOPTED, value=self.adopted)
