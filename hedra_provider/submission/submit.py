"""Submit once: carry out plans, and adopt what exists after all.

Nothing is ever submitted blind: before a submit Hedra is asked (:mod:`hedra_provider.submission.plan`), and
after a submit whose outcome is unknown it is asked again. That Hedra keeps to the id it is given is
documented; what it answers to an id that exists is not, so every answer that might mean "it exists"
leads to a status request.

A batch (``batch_size`` above 1) is several generations, the variations, each with ids of its own: each is
looked up, adopted or submitted for itself, and what is missing of them is submitted together.
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
    from hedra_provider.api.responses import Generation, Model

OUTCOME_POLL_PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Pauses between status requests while the outcome is unknown; after them the same id is submitted again."""

RETRY_IN_PLACE_SECONDS = 30.0
"""How long a submit that surely was not taken (429, no connection) is repeated in place."""


@dataclass(frozen=True)
class Submission:
    """
    A generation that is now ours to wait for.

    :param generation: What Hedra said last of it.
    :param plan: How it was chosen.
    :param answered: Whether Hedra said yes to a submit; False where the generation was found.
    :param paid_here: Whether this attempt group paid for it; False where another one did.
    """

    generation: Generation
    plan: Plan
    answered: bool
    paid_here: bool = True

    @property
    def id_mismatch(self) -> bool:
        """Whether it has another id than the one that was asked for."""
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
    Submit what plans say, in one request, and adopt what they found.

    :param plans: One, or one for each variation of a batch.
    :param retry_in_place_seconds: How long a submit that surely was not taken is repeated in place.
    :param jitter: Random numbers in [0, 1): many that were rate-limited together must not come back together.
    :param notify: Called with a sentence when something goes wrong, before any pause: what, and what comes.
    :return: A submission for each plan, in their order.
    :raises HedraConflictError: If another request took an id meanwhile: the next try finds another.
    :raises HedraError: If it was refused, or if it is not known whether it was: the next try looks again.
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
            if _is_outcome_unknown(error):
                if not unknown_outcomes:
                    notify(_outcome_unknown(error, missing))
                found = yield from _poll_outcome(missing, {one.generation.id for one in done.values()})
                for plan in (plan for plan in missing if plan.generation_id in found):
                    generation = found[plan.generation_id]
                    refused = {Rule.CHANGED, Rule.NOT_COMPARABLE}
                    paid_here = yield from _require_ours(body, generation, plan, models, refused)
                    done[plan.generation_id] = Submission(
                        generation, plan, answered=False, paid_here=paid_here
                    )
                if len(found) == len(missing):
                    continue
                unknown_outcomes += 1
                if unknown_outcomes > 1:
                    error.message = join_sentences(
                        error.message, "This happened twice, and Hedra knows no such generation"
                    )
                    raise
                notify(
                    f"Hedra knows no such generation after {sum(OUTCOME_POLL_PAUSES_SECONDS):.0f} s: the "
                    f"submit did not arrive. Submitting the same id again: {_ids_of(missing)}."
                )
                continue
            pause = max(error.retry_after or 0.0, min(2.0**rate_limits, 10.0)) * (1.0 + jitter())
            if not _was_not_accepted(error) or waited + pause > retry_in_place_seconds:
                raise
            if not rate_limits:
                notify(
                    f"{join_sentences(error.message)} The submit was not taken and cost nothing. It is "
                    f"repeated for up to {retry_in_place_seconds:.0f} s, first in {pause:.0f} s."
                )
            rate_limits, waited = rate_limits + 1, waited + pause
            yield Pause(pause)
            continue
        # Outside of the try: an error of these reads says nothing about the submit, which was taken.
        for plan, generation in submitted:
            paid_here = True
            if generation.asset_id and not same_id(generation.asset_id, plan.asset_id):
                # An id that exists may be answered with what is there, perhaps another's.
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
    Plan and carry out in one: see :func:`plan_batch` and :func:`execute_plan`.

    :param ids_of_each: For each variation, the n-th ids of its key; one for a request that is no batch.
    :param notify: As of :func:`execute_plan`.
    """
    plans = yield from plan_batch(body, ids_of_each, search=True)
    return (yield from execute_plan(body, plans, notify=notify))


def _with_ids(body: Mapping[str, Any], plans: Sequence[Plan]) -> dict[str, Any]:
    """Return the request for these generations; Hedra's schema names a batch's ids by other fields."""
    request = {name: value for name, value in body.items() if name != "batch_size"}
    if len(plans) == 1:
        return request | {"generation_id": plans[0].generation_id, "reserved_asset_id": plans[0].asset_id}
    return request | {
        "batch_size": len(plans),
        "generation_ids": [plan.generation_id for plan in plans],
        "reserved_asset_ids": [plan.asset_id for plan in plans],
    }


def _match_variations(made: Generation, plans: Sequence[Plan]) -> list[tuple[Plan, Generation]]:
    """
    Return which generation of a submit's answer is whose: by its id, else by its place.

    :raises HedraProtocolError: If the answer does not tell of all of them.
    """
    if len(plans) == 1:
        return [(plans[0], made)]
    results = list(made.batch_results or [])
    if len(results) != len(plans):
        raise HedraProtocolError(
            f"Hedra's answer to a batch of {len(plans)} tells of {len(results)} generations."
        )
    by_id = {(result.id or "").lower(): result for result in results}
    ours = {plan.generation_id.lower() for plan in plans}
    # What failed at once has no id; and an API that does not keep to our ids gives others.
    rest = [result for result in results if (result.id or "").lower() not in ours]
    submitted = []
    for plan in plans:
        result = by_id.get(plan.generation_id.lower()) or (rest.pop(0) if rest else None)
        if result is None:
            raise HedraProtocolError("Hedra's answer to a batch tells of one generation twice.")
        submitted.append((plan, result.as_generation(plan.generation_id, made.type)))
    return submitted


def _require_ours(
    body: Mapping[str, Any], found: Generation, plan: Plan, models: tuple[Model, ...], refused: set[Rule]
) -> Call[bool]:
    """
    Reject a generation that came up under our id while we submitted, but of another request.

    :return: Whether this attempt group paid for it.
    """
    try:
        rule, differing, paid_here = yield from rule_for(body, found, plan.asset_id, models)
    except HedraError as error:
        _mark_outcome_unknown(error, [found.id], "The request of what exists under the id could not be read")
        raise
    if rule in refused:
        fields = ", ".join(differing)
        how = f"its request differs in {fields}" if fields else "Hedra does not tell its request yet"
        raise HedraConflictError(
            f"Another generation existed under the id before this submit, and {how}.",
            generation_id=plan.generation_id,
            retryable=True,
            remedy="Two tasks share an idempotency_key: give each its own. A retry makes another generation.",
        )
    return paid_here


def _outcome_unknown(error: HedraError, plans: Sequence[Plan]) -> str:
    return join_sentences(
        f"Outcome of the submit unknown: {error.message}",
        f"Asking Hedra for the generation for up to {sum(OUTCOME_POLL_PAUSES_SECONDS):.0f} s. If it "
        "exists, it is adopted. If not, the same id is submitted again, so nothing is paid twice",
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
    """Look until all are found, or a minute has passed without a trace of some; return those found."""
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
            error, ids, "The outcome of the submit is unknown, and asking for the generation failed"
        )
        raise


def _is_outcome_unknown(error: HedraError) -> bool:
    """Whether the generation may exist although the submit did not say so."""
    if isinstance(error, HedraTransportError):
        return error.request_sent
    if isinstance(error, HedraProtocolError):
        return error.retryable
    if isinstance(error, (HedraServerError, HedraConflictError)) or error.status_code == 408:
        return True
    return (error.code or "").startswith("ALREADY_")


def _was_not_accepted(error: HedraError) -> bool:
    """Whether the submit surely did nothing, and may do better in a moment."""
    return error.retryable and isinstance(error, (HedraRateLimitError, HedraTransportError))
