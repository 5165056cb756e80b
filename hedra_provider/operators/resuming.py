"""How a task that generates defers, and continues after that."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from hedra_provider.api.error_bodies import failures_error
from hedra_provider.api.errors import HedraStateError, join_sentences
from hedra_provider.deferral import defer_until, time_limit, wait_seconds
from hedra_provider.events import generation_ids_of, read_event, read_retry_slot_event
from hedra_provider.exceptions import as_airflow_errors
from hedra_provider.operators.base import HedraOperator
from hedra_provider.operators.draft import resume_state
from hedra_provider.operators.task_run import TaskRun, open_records
from hedra_provider.storage.lineage import report_input
from hedra_provider.triggers import HedraGenerationTrigger, HedraTurnTrigger
from hedra_provider.xcom import XCOM_ADOPTED, XCOM_ID, XCOM_IDS, XCOM_SPEECH_ID

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from airflow.providers.common.compat.sdk import Context

    from hedra_provider.api.client import HedraClient
    from hedra_provider.api.errors import HedraError
    from hedra_provider.operators.paid_step import PaidStep
    from hedra_provider.operators.result_step import ResultStep
    from hedra_provider.records import Generation
    from hedra_provider.service.protocol import Draft


class ResumingOperator(HedraOperator):
    """
    The half of the operators that generate which waits and continues, in the triggerer or on the worker.

    :class:`hedra_provider.operators.generation.GeneratingOperator` is the other half.
    """

    generation_id: Any
    idempotency_key: str | None
    on_clear: str
    deferrable: bool
    poll_interval: float
    timeout: float
    _paid: PaidStep | None

    paid_step: ClassVar[str] = "job"
    """The paid step that makes the result, as the records of submits name it (v3)."""

    def sources(self) -> Sequence[str]:
        """Return the files that the request is made from, as paths and URIs; assets are none."""
        return ()

    def _generate(
        self,
        context: Context,
        client: HedraClient,
        run: TaskRun,
        *,
        draft: Draft | None = None,
        refused_since: float | None = None,
        outcome_unknown: bool = False,
    ) -> dict[str, Any]:
        raise NotImplementedError

    def _result_step(
        self, context: Context, client: HedraClient, adopted: Mapping[str, bool], run: TaskRun
    ) -> ResultStep:
        raise NotImplementedError

    def execute_turn(
        self, context: Context, event: Mapping[str, Any] | None = None, end_time: float | None = None
    ) -> dict[str, Any]:
        """Continue at the submit, after the trigger gave this task a retry slot."""
        with as_airflow_errors(context):
            self.read_arguments()
            with self.hook.get_conn() as client:
                run = self._task_run(context)
                left = read_retry_slot_event(event, run.first_id)
                kept = left.get("request")
                draft = self.hook.service.restored(kept, left["cost"]) if kept else None
                since, unknown = left.get("refused_since"), left.get("in_doubt", True)
                if since is None and end_time:
                    # An event that is not this task's gives it no new time.
                    since = end_time - wait_seconds(self)
                if draft:
                    self._report_sources()
                run = replace(run, is_resumed=True)
                return self._generate(
                    context, client, run, draft=draft, refused_since=since, outcome_unknown=unknown
                )

    def execute_complete(
        self, context: Context, event: Mapping[str, Any] | None = None, end_time: float | None = None
    ) -> dict[str, Any]:
        """Continue after the trigger fired: store what is complete, or fail with the generation's error."""
        from hedra_provider.operators.payment import with_id_of

        event_ids, mine = generation_ids_of(event), self._submitted_ids(context, event)
        with as_airflow_errors(context), with_id_of(mine or event_ids):
            self.read_arguments()
        if mine and event_ids != [one.lower() for one in mine]:
            # SQLite gives a new trigger the id of a deleted one, whose event then comes here (seen on 3.3.2).
            self.log.warning("Ignored an event about generation %s; still waiting for %s.", event_ids, mine)
            self._defer_for(mine, end_time or time.time() + wait_seconds(self))
        self._report_sources()
        with as_airflow_errors(context), with_id_of(event_ids):
            run = self._task_run(context)
        with as_airflow_errors(context), self._naming_paid(run, event_ids):
            generations = read_event(event)
            adopted = self._pulled(context, XCOM_ADOPTED) or {}
            with self.hook.get_conn() as client:
                if _some_failed(generations) or self._is_last(run, generations):
                    return self._end(run, generations, self._result_step(context, client, adopted, run))
        with as_airflow_errors(context), self.hook.get_conn() as client:
            return self._generate(context, client, replace(run, is_resumed=True))

    def _task_run(self, context: Context) -> TaskRun:
        run = TaskRun.of(
            context,
            self.hook.settings.namespace,
            idempotency_key=self.idempotency_key,
            on_clear=self.on_clear,
            generation_id=self.generation_id,
        )
        records = open_records(context, self.hook, run, step=self.paid_step, log=self.log)
        return replace(run, records=records)

    def _naming_paid(self, run: TaskRun, generation_ids: Sequence[str]) -> AbstractContextManager[None]:
        from hedra_provider.operators.payment import naming_paid

        paid_once = self.hook.service.paid_once(run, records=run.records)
        return naming_paid(
            paid_once,
            generation_ids,
            clear_adopts=self.on_clear == "adopt" or run.named is not None,
            is_named=run.named is not None,
        )

    def _is_last(self, run: TaskRun, generations: Sequence[Generation]) -> bool:
        """
        Return whether these are the result; else, once they are complete, the task continues with another
        paid step.
        """
        return self.hook.service.paid_once(run, records=run.records).is_last(generations)

    def _end(self, run: TaskRun, generations: Sequence[Generation], results: ResultStep) -> dict[str, Any]:
        """
        End with finished generations.

        :raises HedraError: If one failed, or a file could not be fetched or stored.
        """
        paid_once = self.hook.service.paid_once(run, records=run.records)
        try:
            paid_once.ended(generations)
        except HedraStateError as error:
            self.log.warning("The end of the generation could not be recorded: %s", error)
        if not paid_once.is_last(generations):
            # A failed speech is no result: later tasks must not take it for the video.
            raise failures_error(generations)
        return results.finish(generations)

    def _defer_for_retry_slot(
        self,
        context: Context,
        run: TaskRun,
        error: HedraError,
        draft: Draft | None,
        refused_since: float,
    ) -> None:
        """Wait in the triggerer for a retry slot, unless the time for that is over."""
        from hedra_provider.polling.rate_limit import retry_slot_delay_seconds

        now = time.time()
        jitter = random.random()  # noqa: S311
        delay = retry_slot_delay_seconds(
            waited=now - refused_since, retry_after=error.retry_after, jitter=jitter
        )
        end_time = refused_since + wait_seconds(self)
        if not (self.deferrable and error.retryable) or now + delay > end_time:
            return
        waiting = f"Waiting in the triggerer for a retry slot, for at least {delay:.0f} s"
        self.log.info("%s", join_sentences(error.message, waiting))
        trigger = HedraTurnTrigger(
            resume_at=now + delay,
            end_time=end_time,
            refused_since=refused_since,
            first_id=run.first_id,
            in_doubt=error.outcome_unknown,
            hedra_conn_id=self.hedra_conn_id,
            **resume_state(draft, self._paid.cost if self._paid else None),
        )
        defer_until(self, trigger, end_time=end_time, method_name="execute_turn")

    def _defer_for(self, generation_ids: Sequence[str], end_time: float) -> NoReturn:
        trigger = HedraGenerationTrigger(
            generation_ids=generation_ids,
            end_time=end_time,
            hedra_conn_id=self.hedra_conn_id,
            poll_interval=self.poll_interval,
            cost=self._paid.cost if self._paid else None,
            time_limit=time_limit(self),
        )
        defer_until(self, trigger, end_time=end_time)

    def _submitted_ids(self, context: Context, event: Mapping[str, Any] | None) -> list[str]:
        """Return the generations that this try submitted or adopted, from its own XCom."""
        first = self._pulled(context, XCOM_ID) or self._pulled(context, XCOM_SPEECH_ID)
        if not isinstance(first, str):
            return []
        if generation_ids_of(event) == [first.lower()]:
            return [first]
        return list(self._pulled(context, XCOM_IDS) or [first])

    @staticmethod
    def _pulled(context: Context, key: str) -> Any:
        """Return an XCom of this try."""
        ti = context["ti"]
        return ti.xcom_pull(task_ids=ti.task_id, key=key, map_indexes=ti.map_index)

    def _wait_here(self, client: HedraClient, generation_id: str, end_time: float) -> Generation:
        from hedra_provider.polling.blocking import wait_until_finished

        wait = wait_until_finished(
            generation_id,
            poll=self.hook.service.poll,
            deadline=end_time,
            poll_interval=self.poll_interval,
            log=self.log.info,
            warn=self.log.warning,
            time_limit=time_limit(self),
        )
        return client.run(wait)

    def _report_sources(self) -> None:
        """Report the uploads of an earlier process of this try to lineage: its own report ended with it."""
        for source in self.sources():
            report_input(self.hook, source)


def _some_failed(generations: Sequence[Generation]) -> bool:
    return any(generation.is_failed for generation in generations)
