"""Submit once: execute plans so that no generation is paid twice.

Before a submit, :mod:`hedra_provider.submission.plan` has polled the generation's id. After a submit whose
outcome is unknown, this module polls it again. Hedra documents that a generation gets the id that the submit
chose. It does not document what it answers if that id exists. So every answer that may mean "it exists" leads
to a status request.

A batch (``batch_size`` above 1) makes several generations, its variations. Each has its own ids and its own
plan. All variations that must be submitted go into one submit.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hedra_provider.api import calls
from hedra_provider.api.calls import Call, Pause
from hedra_provider.api.errors import (
    HedraConflictError,
    HedraError,
    HedraProtocolError,
    HedraRateLimitError,
    HedraServerError,
    HedraTransportError,
    join_sentences,
)
from hedra_provider.submission.plan import (
    IdsOf,
    Plan,
    Rule,
    asked_for,
    plan_batch,
    rule_for,
    same_id,
    search_newest,
)

if TYPE_CHECKING:
    from hedra_provider.api.responses import Generation as GenerationAnswer
    from hedra_provider.api.responses import Model
    from hedra_provider.records import Generation

OUTCOME_POLL_PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Pauses between status requests while the outcome is unknown. Then the same id is submitted again."""

RETRY_IN_PLACE_SECONDS = 30.0
"""How long a submit is repeated in place if Hedra surely did not accept it (429, no connection)."""


@dataclass(frozen=True)
class Submission:
    """
    A generation to wait for.

    :param generation: Its latest state.
    :param plan: The plan that led to it.
    :param answered: Whether Hedra accepted its submit in an answer; False if it was adopted.
    :param paid_here: Whether this attempt group paid for it; True by default.
    """

    generation: Generation
    plan: Plan
    answered: bool
    paid_here: bool = True

    @property
    def id_mismatch(self) -> bool:
        """Whether it has another id than the submit chose."""
        return self.generation.id.lower() != self.plan.generation_id.lower()


def execute_plan(
    body: Mapping[str, Any],
    plans: Sequence[Plan],
    *,
    models: Iterable[Model] = (),
    retry_in_place_seconds: float = RETRY_IN_PLACE_SECONDS,
    jitter: Callable[[], float] = random.random,
    notify: Callable[[str], None] = lambda event: None,
) -> Call[list[Submission]]:
    """
    Submit the generations that must be submitted, in one request; adopt the others.

    :param body: The request, without ids.
    :param plans: One plan, or one for each variation of a batch.
    :param models: The catalogue, to compare models by id and slug; empty by default.
    :param retry_in_place_seconds: How long a submit that Hedra surely did not accept is repeated here, in
        seconds; 30 by default.
    :param jitter: Returns random numbers in [0, 1): submits that were rate-limited together must not be
        repeated together.
    :param notify: Receives a sentence for a log when a submit fails and this function goes on.
    :return: A submission for each plan, in order.
    :raises HedraConflictError: If another request took an id since the plan was made. A retry plans again.
    :raises HedraError: If the submit was rejected or rate-limited, or its outcome stays unknown
        (``outcome_unknown``). A retry plans again, so it finds what exists.
    """
    models = tuple(models)
    done = {
        plan.generation_id: Submission(plan.found, plan, answered=False, paid_here=plan.paid_here)
        for plan in plans
        if plan.found
    }
    waited, rate_limits, unknown_outcomes = 0.0, 0, 0
    while missing := [plan for plan in plans if plan.generation_id not in done]:
        try:
            submitted = _match_variations((yield from calls.submit(_with_ids(body, missing))), missing)
        except HedraError as error:
            error.generation_id = missing[0].generation_id
            is_unknown = _is_outcome_unknown(error)
            # A later answer does not say what became of an earlier submit.
            error.outcome_unknown = is_unknown or unknown_outcomes > 0
            if is_unknown:
                if not unknown_outcomes:
                    notify(_outcome_unknown(error, missing))
                found = yield from _poll_outcome(missing, {one.generation.id for one in done.values()})
                for plan in (plan for plan in missing if plan.generation_id in found):
                    generation = found[plan.generation_id]
                    rejected_rules = {Rule.CHANGED, Rule.NOT_COMPARABLE}
                    paid_here = yield from _require_ours(body, generation, plan, models, rejected_rules)
                    done[plan.generation_id] = Submission(
                        generation, plan, answered=False, paid_here=paid_here
                    )
                if len(found) == len(missing):
                    continue
                unknown_outcomes += 1
                if unknown_outcomes > 1:
                    error.message = join_sentences(
                        error.message, "The submit failed twice, and Hedra does not know the generation"
                    )
                    raise
                notify(
                    f"Hedra does not know the generation {sum(OUTCOME_POLL_PAUSES_SECONDS):.0f} s after the "
                    f"submit, so the submit did not arrive. Submitting the same id again: {_ids_of(missing)}."
                )
                continue
            pause = max(error.retry_after or 0.0, min(2.0**rate_limits, 10.0)) * (1.0 + jitter())
            if not _was_not_accepted(error) or waited + pause > retry_in_place_seconds:
                raise
            if not rate_limits:
                notify(
                    f"{join_sentences(error.message)} The submit was not accepted and cost nothing. It is "
                    f"repeated for up to {retry_in_place_seconds:.0f} s, first in {pause:.0f} s."
                )
            rate_limits, waited = rate_limits + 1, waited + pause
            yield Pause(pause)
            continue
        # Outside the try block: the submit was accepted, and an error of these reads does not change that.
        for plan, generation in submitted:
            paid_here = True
            if generation.asset_id and not same_id(generation.asset_id, plan.asset_id):
                # Hedra may answer a submit with an existing generation of that id, perhaps another task's.
                paid_here = yield from _require_ours(body, generation, plan, models, {Rule.CHANGED})
            done[plan.generation_id] = Submission(generation, plan, answered=True, paid_here=paid_here)
    return [done[plan.generation_id] for plan in plans]


def submit_once(
    body: Mapping[str, Any],
    ids_of_each: Iterable[IdsOf],
    *,
    notify: Callable[[str], None] = lambda event: None,
) -> Call[list[Submission]]:
    """
    Plan and submit: :func:`plan_batch`, then :func:`execute_plan`.

    :param body: The request, without ids.
    :param ids_of_each: For each variation, a function that returns the n-th ids of its key; one without a
        batch.
    :param notify: As for :func:`execute_plan`.
    :return: A submission for each variation, in order.
    :raises HedraError: As :func:`execute_plan`.
    """
    plans = yield from plan_batch(body, ids_of_each, search=True)
    return (yield from execute_plan(body, plans, notify=notify))


def _with_ids(body: Mapping[str, Any], plans: Sequence[Plan]) -> dict[str, Any]:
    """Return the request with the ids of these generations; a batch has its ids in other fields."""
    request = {name: value for name, value in body.items() if name != "batch_size"}
    if len(plans) == 1:
        return request | {"generation_id": plans[0].generation_id, "reserved_asset_id": plans[0].asset_id}
    return request | {
        "batch_size": len(plans),
        "generation_ids": [plan.generation_id for plan in plans],
        "reserved_asset_ids": [plan.asset_id for plan in plans],
    }


def _match_variations(made: GenerationAnswer, plans: Sequence[Plan]) -> list[tuple[Plan, Generation]]:
    """
    Match the generations of a submit's answer with the plans: by id, else by position.

    :raises HedraProtocolError: If the answer lacks a generation.
    """
    if len(plans) == 1:
        return [(plans[0], made.record())]
    results = list(made.batch_results or [])
    if len(results) != len(plans):
        raise HedraProtocolError(
            f"Hedra's answer to a batch of {len(plans)} generations lists {len(results)}."
        )
    by_id = {(result.id or "").lower(): result for result in results}
    ours = {plan.generation_id.lower() for plan in plans}
    # A variation that failed at once has no id. An API that ignores the chosen ids answers with others.
    rest = [result for result in results if (result.id or "").lower() not in ours]
    submitted = []
    for plan in plans:
        result = by_id.get(plan.generation_id.lower()) or (rest.pop(0) if rest else None)
        if result is None:
            raise HedraProtocolError("Hedra's answer to a batch lists one generation twice.")
        submitted.append((plan, result.record(plan.generation_id, made.type)))
    return submitted


def _require_ours(
    body: Mapping[str, Any], found: Generation, plan: Plan, models: tuple[Model, ...], rejected: set[Rule]
) -> Call[bool]:
    """
    Reject a generation that has the id of the submit but another request.

    :param rejected: The rules by which it is rejected.
    :return: Whether this attempt group paid for it.
    :raises HedraConflictError: If it is rejected.
    """
    try:
        rule, differing, paid_here = yield from rule_for(body, found, plan.asset_id, models)
    except HedraError as error:
        _mark_outcome_unknown(error, [found.id], "The request of the existing generation could not be read")
        raise
    if rule in rejected:
        fields = ", ".join(differing)
        how = f"its request differs in {fields}" if fields else "Hedra does not show its request yet"
        raise HedraConflictError(
            f"A generation with this id existed before this submit, and {how}.",
            generation_id=plan.generation_id,
            retryable=True,
            remedy="Two tasks share an idempotency_key: give each its own. A retry makes another generation.",
        )
    return paid_here


def _outcome_unknown(error: HedraError, plans: Sequence[Plan]) -> str:
    return join_sentences(
        f"Outcome of the submit unknown: {error.message}",
        f"Polling the generation for up to {sum(OUTCOME_POLL_PAUSES_SECONDS):.0f} s. If it exists, it is "
        "adopted. If not, the same id is submitted again, so nothing is paid twice",
        f"Generation {_ids_of(plans)}",
    )


def _ids_of(plans: Sequence[Plan]) -> str:
    return ", ".join(plan.generation_id for plan in plans)


def _mark_outcome_unknown(error: HedraError, ids: Sequence[str], why: str) -> None:
    """Add to an error that the outcome of a submit is unknown, and which generations may be paid for."""
    error.generation_id, error.outcome_unknown = ids[0], True
    error.message = join_sentences(
        error.message, f"{why}: generation {', '.join(ids)} may be running and paid for"
    )


def _poll_outcome(plans: Sequence[Plan], taken: Collection[str]) -> Call[dict[str, Generation]]:
    """
    Poll the generations of a submit whose outcome is unknown, for a minute at most.

    :param taken: Ids of generations that belong to other variations of the same batch.
    :return: The generations that exist, by the id in their plan.
    :raises HedraError: If a poll failed; the error says that the outcome is unknown.
    """
    found: dict[str, Generation] = {}
    missing = list(plans)
    try:
        for seconds in (0.0, *OUTCOME_POLL_PAUSES_SECONDS):
            if seconds:
                yield Pause(seconds)
            for plan in missing:
                generation = yield from calls.get_status(plan.generation_id)
                if generation is not None:
                    found[plan.generation_id] = generation
            missing = [plan for plan in missing if plan.generation_id not in found]
            if not missing:
                return found
        for plan in missing:
            others = {*taken, *(generation.id for generation in found.values())}
            generation = yield from search_newest(asked_for(plan.generation_id, plan.asset_id, others))
            if generation is not None:
                found[plan.generation_id] = generation
        return found
    except HedraError as error:
        ids = [plan.generation_id for plan in plans]
        _mark_outcome_unknown(
            error, ids, "The outcome of the submit is unknown, and polling the generation failed"
        )
        raise


def _is_outcome_unknown(error: HedraError) -> bool:
    """Whether the generation may exist although its submit failed."""
    if isinstance(error, HedraTransportError):
        return error.request_sent
    if isinstance(error, HedraProtocolError):
        return error.retryable
    if isinstance(error, (HedraServerError, HedraConflictError)) or error.status_code == 408:
        return True
    return (error.code or "").startswith("ALREADY_")


def _was_not_accepted(error: HedraError) -> bool:
    """Whether Hedra surely did not accept the submit, and may accept it when it is repeated."""
    return error.retryable and isinstance(error, (HedraRateLimitError, HedraTransportError))
