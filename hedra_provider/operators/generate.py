"""Operators that generate: what costs credits, and the wait for it."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.providers.common.compat.sdk import conf

from hedra_provider import identity
from hedra_provider.failures import as_airflow_errors
from hedra_provider.operators.assets import fetch_to
from hedra_provider.operators.base import HedraOperator, given
from hedra_provider.results import XCOM_ID, XCOM_RESULT, generation_result
from hedra_provider.triggers import HedraGenerationTrigger, read_event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from hedra_provider.api.answers import Generation
    from hedra_provider.api.client import HedraClient
    from hedra_provider.api.submit import Plan, Submission

DEFER_GRACE_SECONDS = 300.0
"""How much later than the trigger's own deadline Airflow's cruder one strikes."""


class HedraGenerateOperator(HedraOperator):
    """
    Generate with any request body of ``POST /generations``, wait for it, and store the result.

    A task run pays for one generation, however often it is retried: the generation's id is made from the task
    run, and what is there under it is adopted. Returns, and pushes as XCom ``generation``, the dict of
    :func:`hedra_provider.results.generation_result`; ``generation_id`` is pushed before the submit.

    :param request: The body, without ids.
    :param destination: Where to store the result: a local path or a URI that ObjectStoragePath opens; ending
        in ``/`` it is a folder. None: the file stays at Hedra.
    :param idempotency_key: What the generation is for, e.g. ``"shop/{{ task.name }}"``: runs and tasks that
        share it share the generation. By default one per task run.
    :param on_clear: What a clear of the task means: ``adopt`` gives back what was paid for unless the request
        was changed, ``new`` pays for another.
    :param wait_for_completion: Whether to wait; without it the task ends right after the submit.
    :param deferrable: Whether to wait in the triggerer, without a worker.
    :param poll_interval: Seconds between two looks at the most.
    :param timeout: Seconds to wait for the generation.
    :param validate: Whether to check the request before it is sent.
    """

    template_fields: Sequence[str] = (
        "request",
        "destination",
        "idempotency_key",
        *HedraOperator.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"request": "json"}

    def __init__(
        self,
        *,
        request: Mapping[str, Any] | None = None,
        destination: str | None = None,
        idempotency_key: str | None = None,
        on_clear: Literal["adopt", "new"] = "adopt",
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 15.0,
        timeout: float = 21_600.0,
        validate: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if on_clear not in ("adopt", "new"):
            raise ValueError(f"on_clear is {on_clear!r}; it takes 'adopt' or 'new'.")
        if poll_interval <= 0 or timeout <= 0:
            raise ValueError(f"poll_interval ({poll_interval}) and timeout ({timeout}) are seconds above 0.")
        self.request = request
        self.destination = destination
        self.idempotency_key = idempotency_key
        self.on_clear = on_clear
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.validate = validate

    def build_request(self, client: HedraClient) -> dict[str, Any]:
        """
        Return the body to submit, checked and without ids.

        :raises HedraValueError: If it can't be right.
        """
        from hedra_provider.api.errors import HedraValueError
        from hedra_provider.api.submit import IDENTITY_FIELDS

        body = dict(self.request or {})
        if not isinstance(body.get("type"), str):
            raise HedraValueError(
                "request: its type is missing.", param="type", remedy="Give e.g. 'type': 'video'."
            )
        own = sorted((IDENTITY_FIELDS - {"workspace_id", "name"}) & body.keys())
        if own:
            raise HedraValueError(
                f"request: {', '.join(own)} is the operator's to set.",
                param=own[0],
                remedy="Use idempotency_key to say what the generation is for.",
            )
        if self.validate and int(body.get("batch_size") or 1) != 1:
            raise HedraValueError(
                f"request: batch_size is {body['batch_size']}; this operator waits for one generation.",
                param="batch_size",
                remedy="Map the task over its variations instead.",
            )
        workspace_id = self.paying_workspace
        return body | ({"workspace_id": workspace_id} if workspace_id else {})

    def execute(self, context: Context) -> dict[str, Any]:
        """Submit once, and wait: here, in the triggerer, or not at all."""
        with as_airflow_errors(), self.hook.get_conn() as client:
            body = self.build_request(client)
            submission = self._submit(context, client, body)
            generation = submission.generation
            if generation.is_finished:
                return self._finish(context, generation, client)
            if not self.wait_for_completion:
                return self._push(context, generation)
            end_time = time.time() + self._patience()
            if not self.deferrable:
                return self._finish(context, self._wait_here(client, generation.id, end_time), client)
        self.defer(
            trigger=HedraGenerationTrigger(
                generation_id=generation.id,
                end_time=end_time,
                hedra_conn_id=self.hedra_conn_id,
                poll_interval=self.poll_interval,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=self._patience() + DEFER_GRACE_SECONDS),
        )
        raise AssertionError("defer() raises")

    def execute_complete(self, context: Context, event: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Go on after the trigger fired: fetch what is complete, fail with what failed."""
        with as_airflow_errors():
            generation = read_event(event)
            with self.hook.get_conn() as client:
                return self._finish(context, generation, client)

    def on_kill(self) -> None:
        """Say that nothing is lost: Hedra has no cancel."""
        self.log.warning(
            "The task is being stopped; a generation that it submitted runs on at Hedra and is paid for. "
            "Clear the task: it adopts that generation without paying again."
        )

    def _submit(self, context: Context, client: HedraClient, body: dict[str, Any]) -> Submission:
        from hedra_provider.api.submit import carry_out, plan_submission

        ti = context["ti"]
        key = given(self.idempotency_key)
        retried = identity.is_automatic_retry(ti.try_number, ti.max_tries, self.retries or 0)
        task_run = identity.task_run_key(
            ti.dag_id,
            ti.run_id,
            ti.task_id,
            -1 if ti.map_index is None else ti.map_index,
            cleared=ti.max_tries if self.on_clear == "new" else None,
        )
        ids = identity.generation_ids(self.hook.settings.namespace, key or task_run)
        plan = client.run(plan_submission(body, ids, adopt_changed=retried and not key))
        self._explain(plan)
        ti.xcom_push(key=XCOM_ID, value=plan.generation_id)
        submission = client.run(carry_out(body, plan))
        if submission.id_mismatch:
            self.log.error(
                "Hedra made generation %s although %s was asked for: it did not keep to our id. A retry of "
                "this task would not find it; going on with the one that is paid for.",
                submission.generation.id,
                plan.generation_id,
            )
            ti.xcom_push(key=XCOM_ID, value=submission.generation.id)
        elif plan.must_submit:
            self.log.info("Submitted generation %s.", plan.generation_id)
        return submission

    def _explain(self, plan: Plan) -> None:
        """Say which rule chose the generation, and how to get another."""
        from hedra_provider.api.submit import Rule

        another = 'Pass on_clear="new", or another idempotency_key, to pay for a new one.'
        fields = ", ".join(plan.differing)
        status = plan.found.status if plan.found else None
        if plan.rule is Rule.SAME:
            self.log.info(
                "Adopting generation %s (%s), paid for already. %s", plan.generation_id, status, another
            )
        elif plan.rule is Rule.RETRY:
            self.log.warning(
                "Adopting generation %s (%s): this task run paid for it, although the request now reads "
                "differently in %s. Clear the task to pay for the new request.",
                plan.generation_id,
                status,
                fields,
            )
        elif plan.rule is Rule.NOT_COMPARABLE:
            self.log.warning(
                "Adopting generation %s (%s): Hedra did not tell its request, so it was not compared. %s",
                plan.generation_id,
                status,
                another,
            )
        elif plan.rule is Rule.CHANGED:
            self.log.info("The request changed in %s: another generation is submitted.", fields)
        elif plan.rule is Rule.FAILED_BEFORE:
            self.log.info("The generation before this one failed: another is submitted.")

    def _patience(self) -> float:
        """Seconds to wait: Airflow does not enforce execution_timeout after a deferral, so it counts here."""
        limit = self.execution_timeout
        return min(self.timeout, limit.total_seconds()) if limit else self.timeout

    def _wait_here(self, client: HedraClient, generation_id: str, end_time: float) -> Generation:
        from hedra_provider.api.waiting import ProgressLog, wait_until_finished

        wait = wait_until_finished(
            generation_id,
            deadline=end_time,
            poll_interval=self.poll_interval,
            log=ProgressLog(self.log.info),
            warn=self.log.warning,
        )
        return client.run(wait)

    def _finish(self, context: Context, generation: Generation, client: HedraClient) -> dict[str, Any]:
        """Read what it cost, store the file, and leave the facts in XCom whether that works or not."""
        from hedra_provider.api.error_answers import generation_error

        row = self._row(client, generation.id)
        if generation.is_failed:
            self._push(context, generation, row=row)
            raise generation_error(generation.id, generation.error, generation.error_message)
        uri, size = None, None
        try:
            destination = given(self.destination)
            if destination:
                uri, size, _ = fetch_to(
                    client, str(destination), generation_id=generation.id, asset_type=generation.type
                )
        finally:
            result = self._push(context, generation, row=row, uri=uri, size=size)
        self.log.info(
            "Generation %s is complete; it cost %s credits. %s",
            generation.id,
            "an unknown number of" if result["credit_cost"] is None else result["credit_cost"],
            f"Stored {uri} ({size} bytes)." if uri else "Its file stays at Hedra: no destination is set.",
        )
        return result

    def _row(self, client: HedraClient, generation_id: str) -> Generation | None:
        """Read cost, length and size: welcome, but not worth failing a paid task for."""
        from hedra_provider.api import calls
        from hedra_provider.api.errors import HedraError

        try:
            rows = client.run(calls.list_generations([generation_id]))
        except HedraError as error:
            self.log.warning("What generation %s cost could not be read: %s", generation_id, error)
            return None
        return rows[0] if rows else None

    def _push(self, context: Context, generation: Generation, **facts: Any) -> dict[str, Any]:
        result = generation_result(
            generation,
            hedra_conn_id=self.hedra_conn_id,
            name=self._name(),
            workspace_id=self.paying_workspace,
            **facts,
        )
        context["ti"].xcom_push(key=XCOM_RESULT, value=result)
        return result

    def _name(self) -> str | None:
        return (self.request or {}).get("name")
