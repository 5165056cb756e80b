"""The base of the operators that generate: draft, submit once, wait, store the result."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.providers.common.compat.sdk import conf

from hedra_provider.api.errors import HedraRateLimitError, HedraValueError
from hedra_provider.api.redaction import shown
from hedra_provider.arguments import (
    Argument,
    Reader,
    file,
    flag,
    generation_to_adopt,
    is_given,
    key,
    read_argument,
    seconds,
    us_dollars,
    whole_credits,
)
from hedra_provider.deferral import wait_seconds
from hedra_provider.exceptions import as_airflow_errors
from hedra_provider.operators.base import HedraOperator
from hedra_provider.operators.resuming import ResumingOperator
from hedra_provider.storage import check_destination

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta
    from decimal import Decimal

    from airflow.providers.common.compat.sdk import Context

    from hedra_provider.api.client import HedraClient
    from hedra_provider.operators.paid_step import PaidStep
    from hedra_provider.operators.result_step import ResultStep
    from hedra_provider.operators.task_run import TaskRun
    from hedra_provider.service.protocol import Draft, Submission

POLL_INTERVAL_SECONDS = 15.0
TIMEOUT_SECONDS = 21_600.0
DEFAULT_DEFERRABLE = conf.getboolean("operators", "default_deferrable", fallback=False)


class GeneratingOperator(ResumingOperator):
    """
    The base of the operators that cost credits.

    A task run pays for one generation, however often it is retried: the generation's id is made from the
    task run, and a generation that exists under that id is adopted. A retry adopts what its earlier tries
    paid for before it reads any source, so it may run on another worker. Returns, and pushes as XCom
    ``generation``, the dict of :func:`hedra_provider.xcom.generation_result`; ``generation_id`` is pushed
    before the submit (with a v3 key, after it), and ``estimate`` where an estimate is possible.

    A request with a ``batch_size`` makes several variations, each of them paid for once; one that failed is
    replaced by a retry, alone. Their ids are pushed as ``generation_ids`` before the submit, their dicts as
    ``generations``; ``generation`` is that of the first which is complete.

    A rate-limited submit is repeated in place for 30 s. Then, with ``deferrable``, the task waits in the
    triggerer for a retry slot and continues at the submit, without using up a retry.

    Parameters: :class:`hedra_provider.operators.generate.HedraGenerateOperator` documents each.
    """

    template_fields: Sequence[str] = (
        "destination",
        "generation_id",
        "idempotency_key",
        "max_credits",
        "max_cost",
        *HedraOperator.template_fields,
    )
    arguments: ClassVar[Mapping[str, Argument]] = {
        "destination": Argument(file),
        "generation_id": Argument(generation_to_adopt),
        # "None" is no key: all runs whose template found nothing would share one video.
        "idempotency_key": Argument(key),
        "max_credits": Argument(whole_credits),
        "max_cost": Argument(us_dollars),
        **HedraOperator.arguments,
    }

    def __init__(
        self,
        *,
        destination: str | None = None,
        generation_id: str | Mapping[Any, Any] | None = None,
        idempotency_key: str | None = None,
        on_clear: Literal["adopt", "new"] | None = "adopt",
        max_credits: int | None = None,
        max_cost: Decimal | float | str | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = DEFAULT_DEFERRABLE,
        poll_interval: timedelta | float = POLL_INTERVAL_SECONDS,
        timeout: timedelta | float = TIMEOUT_SECONDS,
        validate: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if on_clear not in ("adopt", "new", None):
            raise ValueError(f"on_clear is {on_clear!r}; it takes 'adopt' or 'new'.")
        if on_clear == "new" and is_given(idempotency_key):
            raise ValueError(
                "on_clear='new' can't go with idempotency_key: to pay for a new one, change the key."
            )
        # These take no template, and are read with the DAG. partial() may pass an explicit None: "not given".
        wait_for_completion = _with_default(flag, True, wait_for_completion, "wait_for_completion")
        if is_given(destination) and not wait_for_completion:
            raise ValueError("destination needs wait_for_completion; else fetch with HedraDownloadOperator.")
        self.destination = destination
        # Any, until read_arguments() makes it what it means.
        self.generation_id: Any = generation_id
        self.idempotency_key = idempotency_key
        # partial() may pass an explicit None, which means "not given".
        self.on_clear = on_clear or "adopt"
        self.max_credits = max_credits
        # Any, until read_arguments() makes it an amount.
        self.max_cost: Any = max_cost
        self.wait_for_completion = wait_for_completion
        self.deferrable = _with_default(flag, DEFAULT_DEFERRABLE, deferrable, "deferrable")
        self.poll_interval = _with_default(seconds, POLL_INTERVAL_SECONDS, poll_interval, "poll_interval")
        self.timeout = _with_default(seconds, TIMEOUT_SECONDS, timeout, "timeout")
        self.validate = _with_default(flag, True, validate, "validate")
        self._paid: PaidStep | None = None

    def draft_request(self, client: HedraClient, run: TaskRun, files: ExitStack) -> Draft:
        """
        Return what to submit, checked and without ids. ``self.hook.service`` drafts it.

        :param files: Closes the sources after the submit.
        :raises HedraValueError: If the request is wrong.
        """
        raise NotImplementedError

    def variations(self) -> int | None:
        """Return how many generations the request makes, None where only a draft has the number."""
        return 1

    def _name(self) -> str | None:
        """Return the name that the request gives the result."""
        return None

    def execute(self, context: Context) -> dict[str, Any]:
        """Submit once, and wait: here, in the triggerer, or not at all."""
        with as_airflow_errors(context):
            self.read_arguments()
            with self.hook.get_conn() as client:
                return self._generate(context, client, self._task_run(context))

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
        """
        Adopt what a retry finds, else draft and submit; then wait.

        :param draft: What to submit, where it was made before a retry slot.
        :param refused_since: Epoch seconds of the first answer that was rate-limited.
        :param outcome_unknown: Whether a submit of this try may have been taken before.
        """
        from hedra_provider.operators.paid_step import PaidStep
        from hedra_provider.service.expiry import cap_deadline, expires_at
        from hedra_provider.service.protocol import Limits

        hedra = self.hook.service
        self._paid = paid = PaidStep(client, hedra, run, context["ti"], self.log, on_clear=self.on_clear)
        # Open until the submit: an upload may belong to it.
        with ExitStack() as files:
            try:
                submissions = self._adopt(paid) if draft is None else None
                if submissions is None:
                    draft = draft or self._checked_draft(paid, files)
                    if self.deferrable and self.wait_for_completion:
                        self.hook.check_async_reading()
                    submissions = paid.submit(
                        draft,
                        limits=Limits(max_credits=self.max_credits, max_cost=self.max_cost),
                        retry_in_place=not refused_since,
                        outcome_unknown=outcome_unknown,
                    )
            except HedraRateLimitError as error:
                error.outcome_unknown |= outcome_unknown
                self._defer_for_retry_slot(context, run, error, draft, refused_since or time.time())
                raise
        generations = [submission.generation for submission in submissions]
        ids = [generation.id for generation in generations]
        with self._naming_paid(run, ids):
            results = self._result_step(context, client, paid.adopted, run)
            end_time = time.time() + wait_seconds(self)
            running = [generation.id for generation in generations if not generation.is_finished]
            is_last = self._is_last(run, generations)
            if running and is_last and not self.wait_for_completion:
                return results.end_without_waiting(generations)
            # A result lasts for a time (v3): a wait that ends later has nothing to fetch.
            for generation in generations:
                end_time = cap_deadline(end_time, expires_at(generation)) or end_time
            if running and self.deferrable:
                self._defer_for(ids, end_time)
            waited = {one: self._wait_here(client, one, end_time) for one in running}
            generations = [waited.get(generation.id, generation) for generation in generations]
            if is_last or any(generation.is_failed for generation in generations):
                return self._end(run, generations, results)
        return self._generate(context, client, replace(run, is_resumed=True))

    def _adopt(self, paid: PaidStep) -> list[Submission] | None:
        """
        Adopt what the user names, or what earlier tries of this attempt group paid for.

        It needs nothing that this worker may lack.

        :return: None where something is missing: the request must be drafted.
        """
        found: list[Submission] | None = None
        if paid.run.named:
            found = paid.named(paid.run.named)
        elif count := self.variations():
            found = paid.find(count)
        if found is None:
            return None
        with paid.left_to_other_workers(len(found)):
            _check_destination(self.destination, len(found))
        if paid.run.began_elsewhere and not paid.run.named:
            self._report_sources()
        paid.adopt(found)
        return found

    def _checked_draft(self, paid: PaidStep, files: ExitStack) -> Draft:
        from hedra_provider.service.protocol import Limits

        # A limit in the other currency limits nothing: an error, before anything is uploaded.
        Limits(max_credits=self.max_credits, max_cost=self.max_cost).of(paid.hedra.currency)
        with paid.left_to_other_workers(self.variations() or 1):
            # Before anything is spent; a folder that can't be written to is found later all the same.
            _check_destination(self.destination)
            draft = self.draft_request(paid.client, paid.run, files)
            _require_folder(self.destination, draft.variations)
            return draft

    def _result_step(
        self, context: Context, client: HedraClient, adopted: Mapping[str, bool], run: TaskRun
    ) -> ResultStep:
        from hedra_provider.operators.result_step import ResultStep

        return ResultStep(
            client=client,
            hook=self.hook,
            context=context,
            log=self.log,
            destination=self.destination,
            name=self._name(),
            workspace_id=self.paying_workspace,
            adopted=adopted,
            paid_once=self.hook.service.paid_once(run, records=run.records),
        )

    def on_kill(self) -> None:
        """Log what runs on, and that nothing is lost: Hedra has no cancel, and Airflow gives no reason."""
        if self._paid and self._paid.may_have_submitted:
            self._paid.log_stopped()
        else:
            self.log.warning("Airflow stops this try. It has submitted nothing.")


def _with_default(read: Reader, default: Any, value: Any, name: str) -> Any:
    return read_argument(Argument(read, default), value, name)


def _check_destination(destination: str | None, variations: int = 1) -> None:
    """
    Reject a destination that can't be written to, or that is one file for several variations.

    :raises HedraError: With what to do.
    """
    if destination:
        check_destination(destination)
        _require_folder(destination, variations)


def _require_folder(destination: str | None, variations: int) -> None:
    if destination and variations > 1 and not destination.endswith("/"):
        raise HedraValueError(
            f"destination: {shown(destination)} names one file, but a batch makes several.",
            param="destination",
            remedy="End it with / to name each file after its generation. Nothing was submitted.",
        )
