"""What a generation may cost, who paid for it, and what the log and errors say about it.

This module is loaded when a task works, not when a DAG file is parsed.
"""

from __future__ import annotations

from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from hedra_provider.api.errors import (
    HedraError,
    HedraExpiredError,
    HedraGenerationError,
    HedraNotFoundError,
    HedraWaitTimeoutError,
    join_sentences,
)
from hedra_provider.records import CREDITS
from hedra_provider.service.protocol import Estimate, Rule, amount_text, cost_drift

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hedra_provider.api.client import HedraClient
    from hedra_provider.service.protocol import Draft, Hedra, Limits, PaidOnce, Plan, Submission


def estimate_cost(
    client: HedraClient,
    hedra: Hedra,
    draft: Draft,
    generations: int,
    *,
    limits: Limits,
    task_id: str,
    log: Any,
) -> Estimate | None:
    """
    Estimate what a submit costs, and reject it where that is more than it may.

    Without a limit the estimate is a line in the log: it is worth one request, for the length that Hedra
    states of an audio, and no failure.

    :param generations: How many are to be submitted.
    :param limits: The most that they may cost, in each currency.
    :return: None where no estimate is possible.
    :raises HedraValueError: With the estimate, the limit and what to do.
    """
    if not generations:
        return None
    is_limited = limits.of(hedra.currency) is not None
    call = hedra.estimate(draft, generations, required=is_limited)
    if not is_limited:
        try:
            found = client.run(call)
        except HedraError as error:
            log.warning("The cost could not be estimated, which fails nothing: %s", error)
            return None
        _log_estimate(found, log)
        return found
    found = client.run(call)
    _log_estimate(found, log)
    hedra.require_within(found, limits, f"Task {task_id}")
    _warn_of_low_balance(client, hedra, found, draft.workspace_id, log)
    return found


def _log_estimate(found: Estimate | None, log: Any) -> None:
    if found:
        # Hedra publishes no price of v3's avatars: their rates were observed.
        whose = "Hedra's published prices" if found.currency == CREDITS else "the rates seen at Hedra"
        log.info("By %s this costs %s.", whose, found)


def _warn_of_low_balance(
    client: HedraClient, hedra: Hedra, found: Estimate | None, workspace_id: str | None, log: Any
) -> None:
    try:
        balance = client.run(hedra.balance(workspace_id))
    except HedraError as error:
        # It is worth a warning, no more: Hedra itself rejects a submit that the balance does not cover.
        log.warning("The balance could not be read: %s", error)
        return
    available = balance.available
    if found and available is not None and available < found.high:
        log.warning("%s has %s %s; this may cost %s.", balance.pool, available, balance.currency, found)


@contextmanager
def with_id_of(generation_ids: Sequence[str]) -> Iterator[None]:
    """
    Add the id of a paid generation to a HedraError of the block that has none.

    :param generation_ids: What is paid for; it may be empty.
    """
    try:
        yield
    except HedraError as error:
        error.generation_id = error.generation_id or next(iter(generation_ids), None)
        raise


@contextmanager
def naming_paid(
    paid_once: PaidOnce, generation_ids: Sequence[str], *, clear_adopts: bool, is_named: bool = False
) -> Iterator[None]:
    """
    Add the ids of paid generations to a HedraError of the block.

    The error becomes not retryable if a retry would not find them and would pay again.

    :param paid_once: What paid for them.
    :param generation_ids: What is paid for: one, or one for each variation.
    :param clear_adopts: Whether a clear adopts them, too: ``on_clear`` is ``adopt``.
    :param is_named: Whether the operator's ``generation_id`` names them, so that a retry finds them again.
        Default: False.
    """
    try:
        yield
    except HedraGenerationError as error:
        # It ended: there is nothing to lose, and a retry makes another.
        if is_named:
            error.retryable = False
            error.remedy = "generation_id names it: clear the task without generation_id to pay for another."
        raise
    except HedraError as error:
        concerned = (error.generation_id or "").lower()
        if isinstance(error, HedraNotFoundError) and concerned in [one.lower() for one in generation_ids]:
            # Hedra does not know the generation itself: it is unknown whether it is paid for.
            again = "asks for it again"
            if not is_named and paid_once.chooses_ids:
                again += ", and submits the same id only if Hedra still does not know it"
            error.remedy = join_sentences(
                error.remedy, f"{'A retry or a clear' if clear_adopts else 'A retry'} of this task {again}"
            )
        elif generation_ids and not isinstance(error, (HedraWaitTimeoutError, HedraExpiredError)):
            error.remedy = join_sentences(
                error.remedy, paid_sentence(generation_ids), adopted_sentence(clear_adopts=clear_adopts)
            )
        lost = paid_once.not_found_again(generation_ids) if error.retryable and not is_named else []
        if lost:
            error.retryable = False
            error.message = join_sentences(
                error.message,
                f"Not retried: a retry would not find generation {', '.join(lost)} and might pay again: "
                "Hedra gave it an id of its own, or the API key was rotated",
            )
            error.remedy = "Wait for it by HedraGenerationSensor, fetch it by HedraDownloadOperator."
        raise


def paid_sentence(generation_ids: Sequence[str]) -> str:
    """Say what is paid for."""
    if len(generation_ids) > 1:
        return f"Generations {', '.join(generation_ids)} are paid for"
    return f"Generation {generation_ids[0]} is paid for"


def adopted_sentence(*, clear_adopts: bool) -> str:
    """Say how it is had without paying again."""
    return (
        f"{'A retry or a clear' if clear_adopts else 'A retry'} of this task adopts it without paying again"
    )


def log_plan(plan: Plan, *, is_shared: bool, log: Any) -> None:
    """
    Log which rule chose a generation, and how to get another.

    :param is_shared: Whether the key is the user's ``idempotency_key``.
    """
    another = "Another idempotency_key" if is_shared else 'A clear with on_clear="new"'
    fields = ", ".join(plan.differing)
    adopting = f"Adopting generation {plan.generation_id} ({plan.found.status if plan.found else None})"
    if plan.rule is Rule.NAMED:
        log.info("%s: generation_id names it. Nothing is submitted.", adopting)
    elif plan.rule is Rule.SAME:
        log.info("%s: it has this request and is paid for. %s pays for a new one.", adopting, another)
    elif plan.rule is Rule.PAID_BY_US and not fields:
        log.info(
            "%s: an earlier try of this task paid for it. A retry does not make the request again; clear the "
            "task to pay for a request that has changed.",
            adopting,
        )
    elif plan.rule is Rule.PAID_BY_US:
        log.warning(
            "%s: this task run paid for it, although the request now reads differently in %s. "
            "Clear the task to pay for the new request.",
            adopting,
            fields,
        )
    elif plan.rule is Rule.NOT_COMPARABLE:
        log.warning(
            "%s: Hedra did not return its request, so it was not compared. %s pays for a new one.",
            adopting,
            another,
        )
    elif plan.rule is Rule.CHANGED:
        # v3 stores no requests, so there it is not known in which fields.
        where = f" in {fields}" if fields else ""
        log.info("The request changed%s: another generation is submitted.", where)
    elif plan.rule is Rule.FAILED_BEFORE:
        log.info("The generation before this one failed: another is submitted.")


def log_submission(submission: Submission, log: Any) -> None:
    """Log what became of a submit."""
    generation, plan = submission.generation, submission.plan
    if submission.id_mismatch:
        log.error(
            "Hedra made generation %s although %s was asked for: it does not use our ids. Continuing with "
            "the one that is paid for. If this task fails now, it is not retried: a retry would pay again.",
            generation.id,
            plan.generation_id,
        )
    elif submission.answered:
        log.info("Submitted generation %s.", generation.id)
    elif plan.must_submit:
        log.info("Generation %s exists: the submit whose answer was lost had succeeded.", generation.id)


def log_result(result: Mapping[str, Any], *, waited: bool, log: Any) -> None:
    """
    Log where a generation's file is, what the generation cost, and who paid.

    :param result: Of :func:`hedra_provider.xcom.generation_result`.
    :param waited: Whether it is complete; else it has only been submitted.
    """
    cost, paid, currency = result["cost"], result["cost_paid"], result["currency"]
    cost_words = _amount_words(cost, currency)
    if not waited:
        log.info(
            "Generation %s costs %s. This task does not wait for it.", result["generation_id"], cost_words
        )
        return
    if paid == 0 and cost:
        cost_words += f", paid by another task: 0 {currency} here"
    elif result["adopted"]:
        cost_words += ", paid once, by an earlier try"
    where = f"Stored {result['uri']} ({result['bytes']} bytes)."
    if not result["uri"]:
        where = "Complete; its file stays at Hedra, as no destination is set."
    log.info("%s Generation %s, cost %s.", where, result["generation_id"], cost_words)


def log_drift(results: Sequence[Mapping[str, Any]], estimate: Mapping[str, Any] | None, log: Any) -> None:
    """
    Warn if generations cost much more or less than this try estimated.

    :param results: Of :func:`hedra_provider.xcom.generation_result`: all that the try submitted.
    :param estimate: The XCom ``estimate`` of this try; None if it submitted nothing or had no estimate.
    """
    costs = [result["cost"] for result in results]
    costs += [result["speech"]["cost"] for result in results if result["speech"]]
    if not estimate or None in costs or any(result["adopted"] for result in results):
        return
    low, high = (Decimal(str(estimate[bound])) for bound in ("low", "high"))
    warning = cost_drift(Estimate(low, high, estimate["currency"]), sum(Decimal(str(one)) for one in costs))
    if warning:
        log.warning("%s", warning)


def _amount_words(amount: float | int | None, currency: str | None) -> str:
    """Return an amount of an XCom in words."""
    if amount is None or currency is None:
        return "an unknown amount"
    return amount_text(Decimal(str(amount)), currency)
