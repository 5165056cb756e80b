"""What happens around the one call that costs: which generations they are, what they may cost, who pays."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from hedra_provider import identity
from hedra_provider.operators.base import given, task_run
from hedra_provider.results import XCOM_ESTIMATE, XCOM_ID, XCOM_IDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from hedra_provider.api.answers import Model
    from hedra_provider.api.client import HedraClient
    from hedra_provider.api.pricing import Span
    from hedra_provider.api.submit import Plan, Submission
    from hedra_provider.hooks import HedraHook


MAX_LEFT_CHARACTERS = 20_000
"""Of a body that a trigger keeps: encrypted, MySQL's column holds 64 KB."""


class Payer(Protocol):
    """The operator that submits; its fields are those of ``GeneratingOperator``."""

    task_id: str
    idempotency_key: str | None
    max_credits: int | None

    @property
    def on_clear(self) -> str:
        """What a clear means."""

    @property
    def hook(self) -> HedraHook:
        """The hook of its connection."""

    @property
    def log(self) -> Any:
        """Its log."""


@dataclass(frozen=True)
class Draft:
    """
    A request that is ready to be submitted, and what was learnt while it was made.

    :param body: The body, without ids; of a batch it has the ``batch_size``.
    :param catalogue: The account's models, where they were asked for.
    :param audio_seconds: How long its audio is: as measured, else as Hedra said. None: Hedra is asked.
    :param cost: What it costs by an estimate that was made, and compared with ``max_credits``, before.
    """

    body: Mapping[str, Any]
    catalogue: Sequence[Model] = ()
    audio_seconds: Span | None = None
    cost: str | None = None


@dataclass(frozen=True)
class Chosen:
    """
    What is about to be submitted, or was adopted.

    :param generation_ids: The generation, or all variations of a batch.
    :param cost: What they cost by the estimate, None where that can't be told.
    """

    generation_ids: tuple[str, ...]
    cost: str | None

    def __str__(self) -> str:
        return ", ".join(self.generation_ids)


def left_behind(draft: Draft | None, chosen: Chosen | None) -> dict[str, str | None]:
    """
    Return what a task leaves for its next turn, so that it is not made anew.

    :return: ``request``, the body as JSON text, and ``cost``, what it costs by the estimate; or nothing.
    """
    from hedra_provider.api.requests import batch_size

    request = json.dumps(dict(draft.body)) if draft else None
    if draft is None or request is None or len(request) > MAX_LEFT_CHARACTERS:
        return {}
    # Of a batch, another number of variations may be missing by then.
    cost = chosen.cost if chosen and batch_size(draft.body) == 1 else None
    return {"request": request, "cost": cost}


def ids_of(operator: Payer, context: Context, variation: int = 0) -> Callable[[int], tuple[str, str]]:
    """
    Return the ids of this task run's generations: a function of the task run, over all its tries.

    :param variation: Which one of a batch.
    """
    namespace = operator.hook.settings.namespace
    key, payer = key_of(operator, context), _round_of_tries(context)
    return identity.generation_ids(namespace, key, variation, payer=payer)


def key_of(operator: Payer, context: Context) -> str:
    """Return what the generation is for: the task run, or what ``idempotency_key`` says."""
    key = business_key(operator.idempotency_key)
    if key is not None:
        return key
    return _round_of_tries(context) if operator.on_clear == "new" else task_run(context)


def _round_of_tries(context: Context) -> str:
    # A run that was deleted and made again is another payer, though it has the same id.
    began = getattr(context.get("dag_run"), "start_date", None)
    return task_run(context, max_tries=context["ti"].max_tries, began=str(began or ""))


def submit(
    operator: Payer,
    context: Context,
    client: HedraClient,
    draft: Draft,
    *,
    tell: Callable[[Chosen], None],
    refused_wait_seconds: float,
    in_doubt: bool = False,
) -> list[Submission]:
    """
    Submit once, or adopt what is there.

    :param tell: Is told what was chosen, before it is submitted.
    :param refused_wait_seconds: How long a submit that Hedra refuses for its rate limit is repeated in place.
    :param in_doubt: Whether a submit of this try may have been taken before.
    :return: The generation to wait for, or those of a batch.
    :raises HedraError: If it may not or could not be submitted.
    """
    from hedra_provider.api.budget import pool_name
    from hedra_provider.api.errors import HedraInsufficientCreditsError
    from hedra_provider.api.requests import batch_size, refuse_ids
    from hedra_provider.api.submit import carry_out, plan_batch

    body, ti, models = draft.body, context["ti"], draft.catalogue
    refuse_ids(body)
    ids_of_each = [ids_of(operator, context, variation) for variation in range(batch_size(body))]
    search = in_doubt or ti.try_number > 1
    plans = client.run(plan_batch(body, ids_of_each, models=models, search=search))
    for plan in plans:
        _explain(operator, plan)
    cost = draft.cost or check_cost(operator, context, client, draft, sum(p.must_submit for p in plans))

    def remember(generation_ids: list[str]) -> None:
        tell(Chosen(tuple(generation_ids), cost))
        ti.xcom_push(key=XCOM_ID, value=generation_ids[0])
        if len(generation_ids) > 1:
            ti.xcom_push(key=XCOM_IDS, value=generation_ids)

    remember([plan.generation_id for plan in plans])
    try:
        submissions = client.run(
            carry_out(body, plans, models=models, refused_wait_seconds=refused_wait_seconds)
        )
    except HedraInsufficientCreditsError as error:
        error.message += f". {pool_name(body.get('workspace_id'))} was to pay."
        raise
    for submission in submissions:
        _tell_outcome(operator, submission)
    if any(submission.id_mismatch for submission in submissions):
        remember([submission.generation.id for submission in submissions])
    return submissions


def _tell_outcome(operator: Payer, submission: Submission) -> None:
    generation, plan = submission.generation, submission.plan
    if submission.id_mismatch:
        operator.log.error(
            "Hedra made generation %s although %s was asked for: it does not keep to our ids. Going on with "
            "the one that is paid for; if this task fails now it is not retried, lest another be paid for.",
            generation.id,
            plan.generation_id,
        )
    elif submission.answered:
        operator.log.info("Submitted generation %s.", generation.id)
    elif plan.must_submit:
        operator.log.info("Found generation %s: the submit had got through.", generation.id)


def business_key(value: Any) -> str | None:
    """
    Read an idempotency key, which a template may have rendered.

    :return: None where none is given.
    :raises HedraValueError: If it holds a NUL, which would let it read like another task run's own key, or
        half a character.
    """
    from hedra_provider.api.cleaning import shown
    from hedra_provider.api.errors import HedraValueError
    from hedra_provider.api.requests import require_sendable

    if given(value) is None:
        return None
    require_sendable(str(value), "idempotency_key")
    if "\0" in str(value):
        raise HedraValueError(f"idempotency_key: {shown(value)} holds a NUL.", param="idempotency_key")
    return str(value)


@contextmanager
def paid_for(operator: Payer, context: Context, generation_ids: Sequence[str]) -> Iterator[None]:
    """
    Let an error of the block say what is paid for, and no retry follow that could not find it again.

    :param generation_ids: What is paid for.
    """
    from hedra_provider.api.errors import HedraError, HedraGenerationError, HedraWaitTimeoutError
    from hedra_provider.api.submit import MAX_GENERATIONS_PER_KEY

    try:
        yield
    except HedraGenerationError:
        # It ended: there is nothing to lose, and a retry makes another.
        raise
    except HedraError as error:
        if generation_ids and not isinstance(error, HedraWaitTimeoutError):
            how = "a retry" if operator.on_clear == "new" else "a retry or a clear"
            each = f"Generation {generation_ids[0]} is"
            if len(generation_ids) > 1:
                each = f"Generations {', '.join(generation_ids)} are"
            adopted = f"{each} paid for: {how} of this task adopts what is there."
            error.remedy = f"{error.remedy or ''} {adopted}".strip()
        if not error.retryable:
            raise
        found_again = {
            ids_of(operator, context, variation)(n)[0]
            for variation in range(len(generation_ids))
            for n in range(MAX_GENERATIONS_PER_KEY)
        }
        lost = [one for one in generation_ids if one.lower() not in found_again]
        if lost:
            error.retryable = False
            error.message += (
                f" Not retried: a retry would not find generation {', '.join(lost)} and might pay again: "
                "Hedra gave it an id of its own, or the API key was rotated."
            )
            error.remedy = "Wait for it by HedraGenerationSensor, fetch it by HedraDownloadOperator."
        raise


def check_cost(
    operator: Payer, context: Context, client: HedraClient, draft: Draft, generations: int
) -> str | None:
    """
    Tell what the submit may cost, and refuse it where that is more than it may.

    :param generations: How many are to be submitted.
    :return: The estimate in words, None where it can't be told, or was not worth a request.
    :raises HedraValueError: With the estimate, the limit and what to do.
    """
    from hedra_provider.api import calls
    from hedra_provider.api.budget import estimate_request, pool_name, require_within
    from hedra_provider.api.errors import HedraError

    if not generations:
        return None
    limit = whole_credits(operator.max_credits)
    # Without a limit the estimate is a line in the log: not worth a request of its own.
    known = draft.catalogue and (draft.audio_seconds is not None or not draft.body.get("audio_id"))
    if limit is None and not known:
        return None
    body = {**draft.body, "batch_size": generations}
    found = client.run(estimate_request(body, catalogue=draft.catalogue, audio_seconds=draft.audio_seconds))
    if found:
        operator.log.info("By Hedra's published prices this costs %s.", found)
        context["ti"].xcom_push(key=XCOM_ESTIMATE, value={"low": found.low, "high": found.high})
    if limit is None:
        return str(found) if found else None
    require_within(found, limit, f"Task {operator.task_id}")
    workspace_id = draft.body.get("workspace_id")
    try:
        available = client.run(calls.get_credits()).available(workspace_id)
    except HedraError as error:
        # It is worth a warning, no more: what is not there, Hedra itself refuses.
        operator.log.warning("The balance could not be read: %s", error)
        available = None
    if found and available is not None and available < found.high:
        operator.log.warning(
            "%s has %d credits; this may cost %s.", pool_name(workspace_id), available, found
        )
    return str(found) if found else None


def whole_credits(value: Any) -> int | None:
    """
    Read a number of credits, which a template may have rendered.

    :return: None where nothing is said.
    :raises HedraValueError: If it is not a whole number.
    """
    from hedra_provider.api.cleaning import shown
    from hedra_provider.api.errors import HedraValueError

    value = given(value)
    try:
        if value is None or (not isinstance(value, bool) and float(value).is_integer()):
            return None if value is None else int(float(value))
    except (TypeError, ValueError, OverflowError):
        pass
    raise HedraValueError(
        f"max_credits: {shown(value)} is not a whole number of credits.", param="max_credits"
    )


def _explain(operator: Payer, plan: Plan) -> None:
    """Say which rule chose the generation, and how to get another."""
    from hedra_provider.api.submit import Rule

    another = "Another idempotency_key"
    if given(operator.idempotency_key) is None:
        another = 'A clear with on_clear="new"'
    fields, log = ", ".join(plan.differing), operator.log
    adopting = f"Adopting generation {plan.generation_id} ({plan.found.status if plan.found else None})"
    if plan.rule is Rule.SAME:
        log.info("%s: it has this request and is paid for. %s pays for a new one.", adopting, another)
    elif plan.rule is Rule.PAID_BY_US:
        log.warning(
            "%s: this task run paid for it, although the request now reads differently in %s. "
            "Clear the task to pay for the new request.",
            adopting,
            fields,
        )
    elif plan.rule is Rule.NOT_COMPARABLE:
        log.warning(
            "%s: Hedra did not tell its request, so it was not compared. %s pays for a new one.",
            adopting,
            another,
        )
    elif plan.rule is Rule.CHANGED:
        log.info("The request changed in %s: another generation is submitted.", fields)
    elif plan.rule is Rule.FAILED_BEFORE:
        log.info("The generation before this one failed: another is submitted.")
