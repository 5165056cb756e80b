"""Submit once: look, submit, look again.

The id of a generation is ours to choose (``generation_id``), so a submit whose answer got lost can be looked
for. Nothing is ever submitted blind: before a submit we look, and after a doubtful answer we look again.
That Hedra keeps to the id it is given is documented; what it answers to an id that exists is not, so every
answer that might mean "it is there" leads to another look.

The id of the result (``reserved_asset_id``) is ours too. It is made from who pays, so a generation tells
whether this very task run paid for it, even when its request reads differently by now.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from hedra_provider.api import calls
from hedra_provider.api.calls import Call, Pause
from hedra_provider.api.compare import differing_fields
from hedra_provider.api.errors import (
    HedraConflictError,
    HedraError,
    HedraProtocolError,
    HedraRateLimitError,
    HedraServerError,
    HedraTransportError,
)

if TYPE_CHECKING:
    from hedra_provider.api.answers import Generation, Model

LOOK_AGAIN_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Pauses between looks after a doubtful answer: 60 s in all, then the same id is submitted once more."""

REFUSED_WAIT_SECONDS = 30.0
"""How long a submit that surely was not taken (429, no connection) is repeated in place."""

MAX_GENERATIONS_PER_KEY = 100
_SEARCHED_PAGES = 3
_PAGE_ROWS = 100

IdsOf = Callable[[int], tuple[str, str]]
"""The n-th ids of a request's key: of the generation, and of the asset that it makes."""


class Rule(StrEnum):
    """Why this generation belongs to the request."""

    NEW = "new"
    FAILED_BEFORE = "failed_before"
    CHANGED = "changed"
    SAME = "same"
    PAID_BY_US = "paid_by_us"
    NOT_COMPARABLE = "not_comparable"


@dataclass(frozen=True)
class Plan:
    """
    Which generation a request gets, decided before anything is spent.

    :param generation_id: The id that it has, or is to have.
    :param asset_id: The id that its result is to have.
    :param found: The generation that is there and is adopted, None where one must be submitted.
    :param rule: Which rule applied.
    :param differing: Fields in which the adopted (or passed over) generation differs from the request.
    """

    generation_id: str
    asset_id: str
    found: Generation | None
    rule: Rule
    differing: tuple[str, ...] = ()

    @property
    def must_submit(self) -> bool:
        """Whether carrying it out costs credits."""
        return self.found is None


@dataclass(frozen=True)
class Submission:
    """
    A generation that is now ours to wait for.

    :param generation: What Hedra said last of it.
    :param plan: How it was chosen.
    :param answered: Whether Hedra said yes to a submit; False where the generation was found.
    """

    generation: Generation
    plan: Plan
    answered: bool

    @property
    def id_mismatch(self) -> bool:
        """Whether it has another id than the one that was asked for."""
        return self.generation.id.lower() != self.plan.generation_id.lower()


def plan_submission(
    body: Mapping[str, Any], ids_of: IdsOf, *, models: Iterable[Model] = (), search: bool = False
) -> Call[Plan]:
    """
    Look which generation belongs to a request; reads only.

    Walks the ids 0, 1, ... of the request's key. The first that runs or is complete is adopted if it has the
    same request, or was paid for by this payer; failed ones and others' are passed over; the first unknown
    id is to submit.

    :param body: The request, without ids.
    :param ids_of: The n-th ids of the request's key.
    :param models: The catalogue, to know models by all their names.
    :param search: Also search the newest generations for one that was asked for under this id and got
        another: worth it on a retry, for an API that does not keep to our ids.
    """
    models = tuple(models)
    rule, differing = Rule.NEW, tuple[str, ...]()
    for n in range(MAX_GENERATIONS_PER_KEY):
        generation_id, asset_id = ids_of(n)
        found = yield from calls.get_status(generation_id)
        if found is None and search:
            found = yield from _search(_asked_for(generation_id, asset_id))
        if found is None:
            return Plan(generation_id, asset_id, None, rule, differing)
        if found.is_failed:
            rule, differing = Rule.FAILED_BEFORE, ()
            continue
        rule, differing = yield from _why_ours(body, found, asset_id, models)
        if rule is not Rule.CHANGED:
            return Plan(generation_id, asset_id, found, rule, differing)
    raise HedraError(
        f"{MAX_GENERATIONS_PER_KEY} generations exist under this key already.",
        remedy="Give the task another idempotency_key.",
    )


def carry_out(
    body: Mapping[str, Any],
    plan: Plan,
    *,
    models: Iterable[Model] = (),
    chance: Callable[[], float] = random.random,
) -> Call[Submission]:
    """
    Submit what a plan says, or adopt what it found.

    :param chance: Random numbers in [0, 1): many that were refused together must not come back together.
    :raises HedraConflictError: If another request took the id meanwhile: the next try finds another.
    :raises HedraError: If it was refused, or if it is not known whether it was: the next try looks again.
    """
    if plan.found is not None:
        return Submission(plan.found, plan, answered=False)
    request = {**body, "generation_id": plan.generation_id, "reserved_asset_id": plan.asset_id}
    waited, refusals, doubts = 0.0, 0, 0
    while True:
        try:
            made = yield from calls.submit(request)
            if made.asset_id and not _same(made.asset_id, plan.asset_id):
                # An id that exists may be answered with what is there, perhaps another's.
                yield from _require_ours(body, made, plan, tuple(models), {Rule.CHANGED})
            return Submission(made, plan, answered=True)
        except HedraError as error:
            error.generation_id = plan.generation_id
            if _is_doubtful(error):
                found = yield from _look_again(plan.generation_id, plan.asset_id)
                if found is not None:
                    yield from _require_ours(
                        body, found, plan, tuple(models), {Rule.CHANGED, Rule.NOT_COMPARABLE}
                    )
                    return Submission(found, plan, answered=False)
                doubts += 1
                if doubts > 1:
                    error.message += " (twice, and Hedra knows nothing of it)"
                    raise
                continue
            pause = max(error.retry_after or 0.0, min(2.0**refusals, 10.0))
            if not _was_not_taken(error) or waited + pause > REFUSED_WAIT_SECONDS:
                raise
            refusals, waited = refusals + 1, waited + pause
            yield Pause(pause * (1.0 + 0.25 * chance()))


def submit_once(body: Mapping[str, Any], ids_of: IdsOf) -> Call[Submission]:
    """Plan and carry out in one: see :func:`plan_submission` and :func:`carry_out`."""
    plan = yield from plan_submission(body, ids_of, search=True)
    return (yield from carry_out(body, plan))


def _why_ours(
    body: Mapping[str, Any], found: Generation, asset_id: str, models: tuple[Model, ...]
) -> Call[tuple[Rule, tuple[str, ...]]]:
    rows = yield from calls.list_generations([found.id])
    # An API that ignores ids answers with the newest: an older one is some pages away.
    row = (
        rows[0] if rows else (yield from _search(lambda candidate: candidate.id.lower() == found.id.lower()))
    )
    asked = row.input if row else None
    if asked is None:
        ours = _same(found.asset_id or "", asset_id)
        return (Rule.PAID_BY_US if ours else Rule.NOT_COMPARABLE), ()
    differing = differing_fields(body, asked, models)
    if not differing:
        return Rule.SAME, ()
    payer = str(asked.get("reserved_asset_id") or found.asset_id or "")
    return (Rule.PAID_BY_US if payer.lower() == asset_id.lower() else Rule.CHANGED), differing


def _require_ours(
    body: Mapping[str, Any], found: Generation, plan: Plan, models: tuple[Model, ...], refused: set[Rule]
) -> Call[None]:
    """Refuse a generation that came up under our id while we submitted, but of another request."""
    rule, differing = yield from _why_ours(body, found, plan.asset_id, models)
    if rule in refused:
        fields = ", ".join(differing)
        how = f"it differs in {fields}" if fields else "Hedra does not tell yet what was asked of it"
        raise HedraConflictError(
            f"Generation {found.id} was there before this submit: {how}.",
            generation_id=plan.generation_id,
            retryable=True,
            remedy="Two tasks share an idempotency_key: give each its own. A retry makes another generation.",
        )


def _look_again(generation_id: str, asset_id: str) -> Call[Generation | None]:
    """Look until a minute has passed without a trace of it."""
    try:
        for seconds in (0.0, *LOOK_AGAIN_SECONDS):
            if seconds:
                yield Pause(seconds)
            found = yield from calls.get_status(generation_id)
            if found is not None:
                return found
        return (yield from _search(_asked_for(generation_id, asset_id)))
    except HedraError as error:
        error.generation_id = generation_id
        error.message = (
            f"Generation {generation_id} may be running and paid for: its submit got no clear answer, and "
            f"looking for it failed. {error.message}"
        )
        raise


def _same(one: str, other: str) -> bool:
    return one.lower() == other.lower()


def _asked_for(generation_id: str, asset_id: str) -> Callable[[Generation], bool]:
    """Match a generation that was asked for under this id, or makes this asset, whatever id it got."""

    def matches(row: Generation) -> bool:
        asked = row.input or {}
        return (
            _same(str(asked.get("generation_id", "")), generation_id)
            or _same(str(asked.get("reserved_asset_id", "")), asset_id)
            or _same(row.asset_id or "", asset_id)
        )

    return matches


def _search(matches: Callable[[Generation], bool]) -> Call[Generation | None]:
    """Search the newest generations for one."""
    for page in range(_SEARCHED_PAGES):
        rows = yield from calls.list_generations(limit=_PAGE_ROWS, offset=page * _PAGE_ROWS)
        for row in rows:
            if matches(row):
                return row
        if len(rows) < _PAGE_ROWS:
            break
    return None


def _is_doubtful(error: HedraError) -> bool:
    """Whether the generation may exist although the submit did not say so."""
    if isinstance(error, HedraTransportError):
        return error.request_sent
    if isinstance(error, HedraProtocolError):
        return error.retryable
    if isinstance(error, (HedraServerError, HedraConflictError)) or error.status_code == 408:
        return True
    return (error.code or "").startswith("ALREADY_")


def _was_not_taken(error: HedraError) -> bool:
    """Whether the submit surely did nothing, and may do better in a moment."""
    return isinstance(error, (HedraRateLimitError, HedraTransportError))
