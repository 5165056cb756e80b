"""What happens around the one call that costs: which generation it is, what it may cost, who pays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from hedra_provider import identity
from hedra_provider.operators.base import given
from hedra_provider.results import XCOM_ESTIMATE, XCOM_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow.providers.common.compat.sdk import Context

    from hedra_provider.api.answers import Model
    from hedra_provider.api.client import HedraClient
    from hedra_provider.api.pricing import Estimate
    from hedra_provider.api.submit import Plan, Submission
    from hedra_provider.hooks import HedraHook


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

    :param body: The body, without ids.
    :param catalogue: The account's models, where they were asked for.
    :param audio_ms: What Hedra said of the length of its audio.
    """

    body: dict[str, Any]
    catalogue: Sequence[Model] = ()
    audio_ms: int | None = None


@dataclass(frozen=True)
class Chosen:
    """
    What is about to be submitted, or was adopted.

    :param generation_id: Its id.
    :param cost: What it costs by the estimate, None where that can't be told.
    """

    generation_id: str
    cost: str | None


def ids_of(operator: Payer, context: Context) -> Callable[[int], tuple[str, str]]:
    """Return the ids of this task run's generations: a function of the task run, over all its tries."""
    ti = context["ti"]
    run = (ti.dag_id, ti.run_id, ti.task_id, -1 if ti.map_index is None else ti.map_index)
    # A run that was deleted and made again is another payer, though it has the same id.
    began = getattr(context.get("dag_run"), "start_date", None)
    round_of_tries = identity.task_run_key(*run, max_tries=ti.max_tries, began=str(began or ""))
    key = given(operator.idempotency_key)
    if key is None:
        key = round_of_tries if operator.on_clear == "new" else identity.task_run_key(*run)
    return identity.generation_ids(operator.hook.settings.namespace, str(key), payer=round_of_tries)


def submit(
    operator: Payer,
    context: Context,
    client: HedraClient,
    draft: Draft,
    *,
    tell: Callable[[Chosen], None],
) -> Submission:
    """
    Submit once, or adopt what is there.

    :param tell: Is told what was chosen, before it is submitted.

    :return: The generation to wait for.
    :raises HedraError: If it may not or could not be submitted.
    """
    from hedra_provider.api.budget import pool_name
    from hedra_provider.api.errors import HedraInsufficientCreditsError
    from hedra_provider.api.requests import refuse_ids
    from hedra_provider.api.submit import carry_out, plan_submission

    refuse_ids(draft.body)
    ti, models = context["ti"], draft.catalogue
    plan = client.run(
        plan_submission(draft.body, ids_of(operator, context), models=models, search=ti.try_number > 1)
    )
    _explain(operator, plan)
    cost = check_cost(operator, context, client, draft) if plan.must_submit else None
    tell(Chosen(plan.generation_id, str(cost) if cost else None))
    ti.xcom_push(key=XCOM_ID, value=plan.generation_id)
    try:
        submission = client.run(carry_out(draft.body, plan, models=models))
    except HedraInsufficientCreditsError as error:
        error.message += f". {pool_name(draft.body.get('workspace_id'))} was to pay."
        raise
    generation = submission.generation
    if submission.id_mismatch:
        operator.log.error(
            "Hedra made generation %s although %s was asked for: it does not keep to our ids. Going on with "
            "the one that is paid for; if this task fails now it is not retried, lest another be paid for.",
            generation.id,
            plan.generation_id,
        )
        ti.xcom_push(key=XCOM_ID, value=generation.id)
        tell(Chosen(generation.id, str(cost) if cost else None))
    elif submission.answered:
        operator.log.info("Submitted generation %s.", generation.id)
    elif plan.must_submit:
        operator.log.info("Found generation %s: the submit had got through.", generation.id)
    return submission


def check_cost(operator: Payer, context: Context, client: HedraClient, draft: Draft) -> Estimate | None:
    """
    Tell what the submit may cost, and refuse it where that is more than it may.

    :return: The estimate, None where it can't be told, or was not worth a request.
    :raises HedraValueError: With the estimate, the limit and what to do.
    """
    from hedra_provider.api import calls
    from hedra_provider.api.budget import estimate_request, pool_name, require_within

    limit = whole_credits(operator.max_credits)
    # Without a limit the estimate is a line in the log: not worth a request of its own.
    known = draft.catalogue and (draft.audio_ms is not None or not draft.body.get("audio_id"))
    if limit is None and not known:
        return None
    found = client.run(estimate_request(draft.body, catalogue=draft.catalogue, audio_ms=draft.audio_ms))
    if found:
        operator.log.info("By Hedra's published prices this costs %s.", found)
        context["ti"].xcom_push(key=XCOM_ESTIMATE, value={"low": found.low, "high": found.high})
    if limit is None:
        return found
    require_within(found, limit, f"Task {operator.task_id}")
    workspace_id = draft.body.get("workspace_id")
    available = client.run(calls.get_credits()).available(workspace_id)
    if found and available is not None and available < found.high:
        operator.log.warning(
            "%s has %d credits; this may cost %s.", pool_name(workspace_id), available, found
        )
    return found


def whole_credits(value: Any) -> int | None:
    """
    Read a number of credits, which a template may have rendered.

    :return: None where nothing is said.
    :raises HedraValueError: If it is not a whole number.
    """
    from hedra_provider.api.errors import HedraValueError

    value = given(value)
    try:
        if value is None or (not isinstance(value, bool) and float(value).is_integer()):
            return None if value is None else int(float(value))
    except (TypeError, ValueError, OverflowError):
        pass
    raise HedraValueError(f"max_credits: {value!r} is not a whole number of credits.", param="max_credits")


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
