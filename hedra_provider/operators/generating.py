"""What generating operators share: submit once, wait, store the result."""

from __future__ import annotations

import json
import math
import random
import time
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from airflow.providers.common.compat.sdk import conf

from hedra_provider.events import read_event, read_turn_event, told_ids
from hedra_provider.failures import as_airflow_errors
from hedra_provider.lineage import report_input, report_output
from hedra_provider.operators.base import HedraOperator, given
from hedra_provider.operators.submitting import (
    Draft,
    business_key,
    ids_of,
    left_behind,
    paid_for,
    submit,
    whole_credits,
)
from hedra_provider.results import (
    XCOM_ID,
    XCOM_IDS,
    XCOM_RESULT,
    XCOM_RESULTS,
    generation_result,
    outputs,
    read_rows,
)
from hedra_provider.storage import check_destination, worker_of
from hedra_provider.transfers import store_result
from hedra_provider.triggers import HedraGenerationTrigger, HedraTurnTrigger, deferral, patience_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from hedra_provider.api.answers import Generation
    from hedra_provider.api.client import HedraClient
    from hedra_provider.api.errors import HedraError
    from hedra_provider.operators.submitting import Chosen

POLL_INTERVAL_SECONDS = 15.0
TIMEOUT_SECONDS = 21_600.0


class GeneratingOperator(HedraOperator):
    """
    The base of the operators that cost credits.

    A task run pays for one generation, however often it is retried: the generation's id is made from the
    task run, and what is there under it is adopted. Returns, and pushes as XCom ``generation``, the dict of
    :func:`hedra_provider.results.generation_result`; ``generation_id`` is pushed before the submit, and
    ``credit_estimate`` where it could be told.

    A request with a ``batch_size`` makes several variations, each of them paid for once; one that failed is
    replaced by a retry, alone. Their ids are pushed as ``generation_ids`` before the submit, their dicts as
    ``generations``; ``generation`` is that of the first which is complete.

    A submit that Hedra refuses for its rate limit is repeated in place for 30 s. Then, with ``deferrable``,
    the task waits in the triggerer for its turn and goes on at the submit, without using up a retry.

    :param destination: Where to store the result: a local path or a URI that ObjectStoragePath opens; ending
        in ``/`` it is a folder, as it must be for a batch. None: the file stays at Hedra.
    :param idempotency_key: What the generation is for, e.g. ``"shop/{{ task.name }}"``: runs and tasks that
        share it share the generation, unless their requests differ. By default one per task run.
    :param on_clear: What a clear of the task means: ``adopt`` gives back what was paid for unless the request
        was changed, ``new`` pays for another (not with an ``idempotency_key``: change that instead).
    :param max_credits: The most that one submit may cost, by an estimate from Hedra's published prices that
        is judged by its top; what may cost more fails before it is submitted. None: no limit.
    :param wait_for_completion: Whether to wait; without it the task ends right after the submit.
    :param deferrable: Whether to wait in the triggerer, without a worker.
    :param poll_interval: Seconds between two looks at the most.
    :param timeout: Seconds to wait for the generation; and, before, for a turn to submit it.
    :param validate: Whether to check that the account has the model, and the request against the limits that
        the model publishes. ``HedraGenerateOperator`` checks that of a video whose body names a model only.
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

    def draft_request(self, client: HedraClient, context: Context) -> Draft:
        """
        Return what to submit, checked and without ids.

        :raises HedraValueError: If it can't be right.
        """
        raise NotImplementedError

    def sources(self) -> Sequence[str]:
        """Return the files that the request is made from, as paths and URIs; not what is at Hedra already."""
        return ()

    def execute(self, context: Context) -> dict[str, Any]:
        """Submit once, and wait: here, in the triggerer, or not at all."""
        with as_airflow_errors(), self.hook.get_conn() as client:
            return self._generate(context, client)

    def execute_turn(
        self, context: Context, event: Mapping[str, Any] | None = None, end_time: float | None = None
    ) -> dict[str, Any]:
        """Go on at the submit, after the trigger told that it is this task's turn."""
        with as_airflow_errors(), self.hook.get_conn() as client:
            left = read_turn_event(event, ids_of(self, context)(0)[0])
            draft = Draft(json.loads(left["request"]), cost=left["cost"]) if left.get("request") else None
            since, in_doubt = left.get("refused_since"), left.get("in_doubt", True)
            if since is None and end_time:
                # An event that is not this task's gives it no new time.
                since = end_time - patience_seconds(self)
            if draft:
                self._report_sources()
            return self._generate(context, client, draft=draft, refused_since=since, in_doubt=in_doubt)

    def execute_complete(
        self, context: Context, event: Mapping[str, Any] | None = None, end_time: float | None = None
    ) -> dict[str, Any]:
        """Go on after the trigger fired: fetch what is complete, fail with what failed."""
        told, mine = told_ids(event), self._submitted_ids(context, event)
        if mine and told != [one.lower() for one in mine]:
            # SQLite gives a new trigger the id of a deleted one, whose event then comes here (seen on 3.3.2).
            self.log.warning("An event tells of %s; this task waits for %s, and goes on.", told, mine)
            self._defer_for(mine, end_time or time.time() + patience_seconds(self))
        self._report_sources()
        with as_airflow_errors(), paid_for(self, context, told):
            generations = read_event(event)
            with self.hook.get_conn() as client:
                return self._finish(context, generations, client)

    def _generate(
        self,
        context: Context,
        client: HedraClient,
        *,
        draft: Draft | None = None,
        refused_since: float | None = None,
        in_doubt: bool = False,
    ) -> dict[str, Any]:
        """
        Draft, submit, wait.

        :param draft: What to submit, where an earlier turn made it.
        :param refused_since: Epoch seconds of the first refusal for the rate limit.
        :param in_doubt: Whether a submit of this try may have been taken before.
        """
        from hedra_provider.api.errors import HedraRateLimitError
        from hedra_provider.api.submit import REFUSED_WAIT_SECONDS

        try:
            draft = draft or self._checked_draft(context, client)
            submissions = submit(
                self,
                context,
                client,
                draft,
                tell=self._remember,
                refused_wait_seconds=0.0 if refused_since else REFUSED_WAIT_SECONDS,
                in_doubt=in_doubt,
            )
        except HedraRateLimitError as error:
            error.in_doubt |= in_doubt
            self._defer_for_turn(context, error, draft, refused_since or time.time())
            raise
        generations = [submission.generation for submission in submissions]
        ids = [generation.id for generation in generations]
        with paid_for(self, context, ids):
            end_time = time.time() + patience_seconds(self)
            running = [generation.id for generation in generations if not generation.is_finished]
            if running and not self.wait_for_completion:
                return self._push(context, self._results(generations))
            if running and self.deferrable:
                self._defer_for(ids, end_time)
            waited = {one: self._wait_here(client, one, end_time) for one in running}
            generations = [waited.get(generation.id, generation) for generation in generations]
            return self._finish(context, generations, client)

    def _checked_draft(self, context: Context, client: HedraClient) -> Draft:
        from hedra_provider.api.cleaning import shown
        from hedra_provider.api.errors import HedraValueError
        from hedra_provider.api.requests import batch_size

        destination = given(self.destination)
        if destination:
            # Before anything is spent; a folder that can't be written to is found later all the same.
            check_destination(str(destination))
        business_key(self.idempotency_key)
        whole_credits(self.max_credits)
        draft = self.draft_request(client, context)
        if destination and batch_size(draft.body) > 1 and not str(destination).endswith("/"):
            raise HedraValueError(
                f"destination: {shown(destination)} names one file, but a batch makes several.",
                param="destination",
                remedy="End it with / to name each file after its generation. Nothing was submitted.",
            )
        return draft

    def _defer_for_turn(
        self, context: Context, error: HedraError, draft: Draft | None, refused_since: float
    ) -> None:
        """Wait in the triggerer for another turn to submit, unless it was waited for long enough."""
        from hedra_provider.api.pacing import turn_delay_seconds

        now = time.time()
        chance = random.random()  # noqa: S311
        delay = turn_delay_seconds(waited=now - refused_since, retry_after=error.retry_after, chance=chance)
        end_time = refused_since + patience_seconds(self)
        if not (self.deferrable and error.retryable) or now + delay > end_time:
            return
        self.log.info("%s Waiting for a turn to submit in the triggerer, %.0f s at least.", error, delay)
        trigger = HedraTurnTrigger(
            resume_at=now + delay,
            end_time=end_time,
            refused_since=refused_since,
            first_id=ids_of(self, context)(0)[0],
            in_doubt=error.in_doubt,
            hedra_conn_id=self.hedra_conn_id,
            **left_behind(draft, self._chosen),
        )
        self.defer(**deferral(trigger, end_time=end_time, method_name="execute_turn"))

    def _defer_for(self, generation_ids: Sequence[str], end_time: float) -> NoReturn:
        trigger = HedraGenerationTrigger(
            generation_ids=generation_ids,
            end_time=end_time,
            hedra_conn_id=self.hedra_conn_id,
            poll_interval=self.poll_interval,
            cost=self._chosen.cost if self._chosen else None,
        )
        self.defer(**deferral(trigger, end_time=end_time))
        raise AssertionError("defer() raises")

    def _submitted_ids(self, context: Context, event: Mapping[str, Any] | None) -> list[str]:
        """Return the generations that this try submitted or adopted, as it said itself."""
        ti = context["ti"]

        def pushed(key: str) -> Any:
            return ti.xcom_pull(task_ids=ti.task_id, key=key, map_indexes=ti.map_index)

        first = pushed(XCOM_ID)
        if not isinstance(first, str):
            return []
        if told_ids(event) == [first.lower()]:
            return [first]
        return list(pushed(XCOM_IDS) or [first])

    def on_kill(self) -> None:
        """Say what runs on, and that nothing is lost: Hedra has no cancel."""
        if self._chosen is None:
            self.log.warning("The task is being stopped; nothing was submitted by this try.")
            return
        self.log.warning(
            "The task is being stopped. Generation %s, if it was submitted, runs on at Hedra and costs %s. "
            "%s",
            self._chosen,
            self._chosen.cost or "what Hedra charges",
            'A retry adopts it without paying again; a clear pays for another, as on_clear is "new".'
            if self.on_clear == "new"
            else "Clear the task: it adopts that generation without paying again.",
        )

    def _report_sources(self) -> None:
        """Tell lineage what an earlier process of this try uploaded: what that one told ended with it."""
        for source in self.sources():
            report_input(self.hook, source)

    def _remember(self, chosen: Chosen) -> None:
        self._chosen = chosen

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

    def _finish(
        self, context: Context, generations: Sequence[Generation], client: HedraClient
    ) -> dict[str, Any]:
        """Read what it cost, store what is complete, and leave the facts in XCom whatever happens."""
        from hedra_provider.api.error_answers import failures_error

        rows = read_rows(client, [generation.id for generation in generations], self.log)
        results = self._results(generations, rows)
        destination = given(self.destination)
        try:
            for generation, result in zip(generations, results, strict=True):
                if destination and generation.is_complete:
                    stored = store_result(
                        client,
                        str(destination),
                        generation_id=generation.id,
                        known=rows.get(generation.id),
                        seen_complete=True,
                    )
                    result |= {"uri": stored.uri, "bytes": stored.size, "worker": worker_of(stored.uri)}
                    report_output(self.hook, stored.uri)
        finally:
            said = self._push(context, results)
        if any(generation.is_failed for generation in generations):
            raise failures_error(generations)
        for result in results:
            cost, uri = result["credit_cost"], result["uri"]
            self.log.info(
                "Generation %s is complete; it cost %s credits. %s",
                result["generation_id"],
                "an unknown number of" if cost is None else cost,
                f"Stored {uri} ({result['bytes']} bytes)."
                if uri
                else "Its file stays at Hedra: no destination is set.",
            )
        return said

    def _results(
        self, generations: Sequence[Generation], rows: Mapping[str, Generation] | None = None
    ) -> list[dict[str, Any]]:
        return [
            generation_result(
                generation,
                row=(rows or {}).get(generation.id),
                hedra_conn_id=self.hedra_conn_id,
                name=self._name(),
                workspace_id=self.paying_workspace,
            )
            for generation in generations
        ]

    def _push(self, context: Context, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Leave the facts in XCom; return those of the first generation that is complete."""
        from hedra_provider.api.answers import COMPLETE

        result = next((one for one in results if one["status"] == COMPLETE), results[0])
        context["ti"].xcom_push(key=XCOM_RESULT, value=result)
        if len(results) > 1:
            context["ti"].xcom_push(key=XCOM_RESULTS, value=list(results))
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
