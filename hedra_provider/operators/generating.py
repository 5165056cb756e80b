"""What generating operators share: submit once, wait, store the result."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from airflow.providers.common.compat.sdk import conf

from hedra_provider.failures import as_airflow_errors
from hedra_provider.operators.base import HedraOperator, given
from hedra_provider.operators.submitting import ids_of, submit
from hedra_provider.results import XCOM_ID, XCOM_RESULT, generation_result, outputs, read_row
from hedra_provider.storage import check_destination
from hedra_provider.transfers import store_result
from hedra_provider.triggers import HedraGenerationTrigger, deferral, patience_seconds, read_event

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from hedra_provider.api.answers import Generation
    from hedra_provider.api.client import HedraClient
    from hedra_provider.operators.submitting import Chosen, Draft

POLL_INTERVAL_SECONDS = 15.0
TIMEOUT_SECONDS = 21_600.0


class GeneratingOperator(HedraOperator):
    """
    The base of the operators that cost credits.

    A task run pays for one generation, however often it is retried: the generation's id is made from the
    task run, and what is there under it is adopted. Returns, and pushes as XCom ``generation``, the dict of
    :func:`hedra_provider.results.generation_result`; ``generation_id`` is pushed before the submit, and
    ``credit_estimate`` where it could be told.

    :param destination: Where to store the result: a local path or a URI that ObjectStoragePath opens; ending
        in ``/`` it is a folder. None: the file stays at Hedra.
    :param idempotency_key: What the generation is for, e.g. ``"shop/{{ task.name }}"``: runs and tasks that
        share it share the generation, unless their requests differ. By default one per task run.
    :param on_clear: What a clear of the task means: ``adopt`` gives back what was paid for unless the request
        was changed, ``new`` pays for another (not with an ``idempotency_key``: change that instead).
    :param max_credits: The most that one submit may cost, by an estimate from Hedra's published prices that
        is judged by its top; what may cost more fails before it is submitted. None: no limit.
    :param wait_for_completion: Whether to wait; without it the task ends right after the submit.
    :param deferrable: Whether to wait in the triggerer, without a worker.
    :param poll_interval: Seconds between two looks at the most.
    :param timeout: Seconds to wait for the generation.
    :param validate: Whether to check the request against the limits that its model publishes.
    """

    template_fields: Sequence[str] = (
        "destination",
        "idempotency_key",
        "max_credits",
        *HedraOperator.template_fields,
    )

    def __init__(
        self,
        *,
        destination: str | None = None,
        idempotency_key: str | None = None,
        on_clear: Literal["adopt", "new"] | None = "adopt",
        max_credits: int | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = POLL_INTERVAL_SECONDS,
        timeout: float = TIMEOUT_SECONDS,
        validate: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if on_clear not in ("adopt", "new", None):
            raise ValueError(f"on_clear is {on_clear!r}; it takes 'adopt' or 'new'.")
        if on_clear == "new" and idempotency_key is not None:
            raise ValueError(
                "on_clear='new' can't go with idempotency_key: to pay for a new one, change the key."
            )
        if destination is not None and not wait_for_completion:
            raise ValueError("destination needs wait_for_completion; else fetch with HedraDownloadOperator.")
        self.destination = destination
        self.idempotency_key = idempotency_key
        # partial() may pass an explicit None, which means "not said".
        self.on_clear = on_clear or "adopt"
        self.max_credits = max_credits
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = _seconds("poll_interval", poll_interval, POLL_INTERVAL_SECONDS)
        self.timeout = _seconds("timeout", timeout, TIMEOUT_SECONDS)
        self.validate = validate
        self._chosen: Chosen | None = None

    def draft_request(self, client: HedraClient) -> Draft:
        """
        Return what to submit, checked and without ids.

        :raises HedraValueError: If it can't be right.
        """
        raise NotImplementedError

    def execute(self, context: Context) -> dict[str, Any]:
        """Submit once, and wait: here, in the triggerer, or not at all."""
        destination = given(self.destination)
        with as_airflow_errors(), self.hook.get_conn() as client:
            if destination:
                # Before anything is spent; a folder that can't be written to is found later all the same.
                check_destination(str(destination))
            draft = self.draft_request(client)
            generation = submit(self, context, client, draft, tell=self._remember).generation
            with self._paid_for(context, generation.id):
                if not self.wait_for_completion and not generation.is_finished:
                    return self._push(context, generation)
                end_time = time.time() + patience_seconds(self)
                if not generation.is_finished and not self.deferrable:
                    generation = self._wait_here(client, generation.id, end_time)
                if generation.is_finished:
                    return self._finish(context, generation, client)
        return self._defer_for(generation.id, end_time)

    def execute_complete(self, context: Context, event: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Go on after the trigger fired: fetch what is complete, fail with what failed."""
        told = event.get("generation_id") if isinstance(event, dict) else None
        mine = self._submitted_id(context)
        if told and mine and told.lower() != mine.lower():
            # SQLite gives a new trigger the id of a deleted one, whose event then comes here (seen on 3.3.2).
            self.log.warning(
                "An event tells of generation %s; this task waits for %s, and goes on.", told, mine
            )
            self._defer_for(mine, time.time() + patience_seconds(self))
        with as_airflow_errors(), self._paid_for(context, told):
            generation = read_event(event)
            with self.hook.get_conn() as client:
                return self._finish(context, generation, client)

    def _defer_for(self, generation_id: str, end_time: float) -> NoReturn:
        trigger = HedraGenerationTrigger(
            generation_id=generation_id,
            end_time=end_time,
            hedra_conn_id=self.hedra_conn_id,
            poll_interval=self.poll_interval,
        )
        self.defer(**deferral(trigger))
        raise AssertionError("defer() raises")

    def _submitted_id(self, context: Context) -> str | None:
        """Return the generation that this try submitted or adopted, as it said itself."""
        ti = context["ti"]
        found = ti.xcom_pull(task_ids=ti.task_id, key=XCOM_ID, map_indexes=ti.map_index)
        return found if isinstance(found, str) else None

    def on_kill(self) -> None:
        """Say what runs on, and that nothing is lost: Hedra has no cancel."""
        if self._chosen is None:
            self.log.warning("The task is being stopped; nothing was submitted by this try.")
            return
        self.log.warning(
            "The task is being stopped. Generation %s, if it was submitted, runs on at Hedra and costs %s. "
            "Clear the task: it adopts that generation without paying again.",
            self._chosen.generation_id,
            self._chosen.cost or "what Hedra charges",
        )

    def _remember(self, chosen: Chosen) -> None:
        self._chosen = chosen

    @contextmanager
    def _paid_for(self, context: Context, generation_id: str | None) -> Iterator[None]:
        """Let no retry follow where it could not find again what is paid for."""
        from hedra_provider.api.errors import HedraError, HedraGenerationError
        from hedra_provider.api.submit import MAX_GENERATIONS_PER_KEY

        try:
            yield
        except HedraGenerationError:
            # It ended: there is nothing to lose, and a retry makes another.
            raise
        except HedraError as error:
            if not (error.retryable and generation_id):
                raise
            nth = ids_of(self, context)
            if generation_id.lower() not in {nth(n)[0] for n in range(MAX_GENERATIONS_PER_KEY)}:
                error.retryable = False
                error.message += (
                    f" Not retried: a retry would not find generation {generation_id} and might pay again: "
                    "Hedra gave it an id of its own, or the API key was rotated."
                )
                error.remedy = "Wait for it by HedraGenerationSensor, fetch it by HedraDownloadOperator."
            raise

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

        row = read_row(client, generation.id, self.log)
        if generation.is_failed:
            self._push(context, generation, row=row)
            raise generation_error(generation.id, generation.error, generation.error_message)
        uri, size = None, None
        try:
            destination = given(self.destination)
            if destination:
                stored = store_result(client, str(destination), generation_id=generation.id)
                uri, size = stored.uri, stored.size
        finally:
            result = self._push(context, generation, row=row, uri=uri, size=size)
        cost = result["credit_cost"]
        self.log.info(
            "Generation %s is complete; it cost %s credits. %s",
            generation.id,
            "an unknown number of" if cost is None else cost,
            f"Stored {uri} ({size} bytes)." if uri else "Its file stays at Hedra: no destination is set.",
        )
        return result

    def _push(self, context: Context, generation: Generation, **facts: Any) -> dict[str, Any]:
        result = generation_result(
            generation,
            hedra_conn_id=self.hedra_conn_id,
            name=self._name(),
            workspace_id=self.paying_workspace,
            **facts,
        )
        context["ti"].xcom_push(key=XCOM_RESULT, value=result)
        return outputs(context, result)

    def _name(self) -> str | None:
        """Return the name that the request gives the result."""
        return None


def _seconds(name: str, value: Any, default: float) -> float:
    """Read a number of seconds; None, which partial() may pass, means "not said"."""
    try:
        seconds = default if value is None else float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"{name} is {value!r}; it takes seconds above 0.")
    return seconds
