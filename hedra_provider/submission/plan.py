"""Which generation belongs to a request, decided before anything is spent; reads only.

The id of a generation is ours to choose (``generation_id``). It is made from the request's key, so what
exists under it was submitted for that key. The id of the result (``reserved_asset_id``) is ours too. It is
made from the attempt group, so a generation tells whether this attempt group paid for it, even when its
request reads differently by now.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from hedra_provider.api import calls
from hedra_provider.api.errors import HedraError
from hedra_provider.submission.compare import differing_fields

if TYPE_CHECKING:
    from hedra_provider.api.calls import Call
    from hedra_provider.api.responses import Generation, Model

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
    :param seen: Ids of the generations that are there under the request's key: passed over, or adopted.
    :param paid_here: Whether this attempt group paid for what was found.
    """

    generation_id: str
    asset_id: str
    found: Generation | None
    rule: Rule
    differing: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    paid_here: bool = False

    @property
    def must_submit(self) -> bool:
        """Whether carrying it out costs credits."""
        return self.found is None


def plan_submission(
    body: Mapping[str, Any],
    ids_of: IdsOf,
    *,
    models: Iterable[Model] = (),
    search: bool = False,
    taken: Collection[str] = (),
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
    :param taken: Ids of generations that belong to other variations of the same batch.
    """
    models = tuple(models)
    rule, differing, seen = Rule.NEW, tuple[str, ...](), tuple[str, ...]()
    for n in range(MAX_GENERATIONS_PER_KEY):
        generation_id, asset_id = ids_of(n)
        found = yield from calls.get_status(generation_id)
        if found is None and search:
            found = yield from search_newest(asked_for(generation_id, asset_id, taken))
        if found is None:
            return Plan(generation_id, asset_id, None, rule, differing, seen)
        seen += (found.id,)
        if found.is_failed:
            rule, differing = Rule.FAILED_BEFORE, ()
            continue
        rule, differing, paid_here = yield from rule_for(body, found, asset_id, models)
        if rule is not Rule.CHANGED:
            return Plan(generation_id, asset_id, found, rule, differing, seen, paid_here)
    raise _too_many()


def find_existing(ids_of_each: Iterable[IdsOf], *, search: bool = False) -> Call[list[Plan]]:
    """
    Find what exists under the ids of a request's key, without the request; reads only.

    On a retry, what this attempt group paid for needs no request: it is adopted whatever the request is by
    now, so that neither its sources nor the catalogue are read.

    :param ids_of_each: For each variation, the n-th ids of its key.
    :param search: As of :func:`plan_submission`.
    :return: A plan for each variation. ``paid_here``: this attempt group paid for what was found. Rule
        ``NOT_COMPARABLE``: something exists, and only a request could tell whether it is adopted.
    """
    plans = list[Plan]()
    for ids_of in ids_of_each:
        taken = {one for plan in plans for one in plan.seen}
        plans.append((yield from _existing(ids_of, search, taken)))
    return plans


def _existing(ids_of: IdsOf, search: bool, taken: Collection[str]) -> Call[Plan]:
    seen, unproven, rule = tuple[str, ...](), None, Rule.NEW
    for n in range(MAX_GENERATIONS_PER_KEY):
        generation_id, asset_id = ids_of(n)
        found = yield from calls.get_status(generation_id)
        if found is None and search:
            found = yield from search_newest(asked_for(generation_id, asset_id, taken))
        if found is None:
            return unproven or Plan(generation_id, asset_id, None, rule, seen=seen)
        seen += (found.id,)
        if found.is_failed:
            rule = Rule.FAILED_BEFORE
            continue
        paid_here = same_id(found.asset_id or "", asset_id)
        if not paid_here:
            row = yield from _row_of(found)
            paid_here = _paid_by(asset_id, found, row.input if row else None)
        plan = Plan(generation_id, asset_id, found, Rule.PAID_BY_US, seen=seen, paid_here=True)
        if paid_here:
            return plan
        unproven = unproven or replace(plan, rule=Rule.NOT_COMPARABLE, paid_here=False)
    raise _too_many()


def _too_many() -> HedraError:
    return HedraError(
        f"{MAX_GENERATIONS_PER_KEY} generations exist under this key already.",
        remedy="Give the task another idempotency_key.",
    )


def plan_batch(
    body: Mapping[str, Any],
    ids_of_each: Iterable[IdsOf],
    *,
    models: Iterable[Model] = (),
    search: bool = False,
) -> Call[list[Plan]]:
    """
    Look which generations belong to the variations of a batch: :func:`plan_submission` for each.

    :param ids_of_each: For each variation, the n-th ids of its key.
    """
    models, plans = tuple(models), list[Plan]()
    for ids_of in ids_of_each:
        taken = {one for plan in plans for one in plan.seen}
        plans.append((yield from plan_submission(body, ids_of, models=models, search=search, taken=taken)))
    return plans


def rule_for(
    body: Mapping[str, Any], found: Generation, asset_id: str, models: tuple[Model, ...]
) -> Call[tuple[Rule, tuple[str, ...], bool]]:
    """Return the rule by which a generation belongs to a request, what differs, and who paid for it."""
    row = yield from _row_of(found)
    asked = row.input if row else None
    paid_here = _paid_by(asset_id, found, asked)
    if asked is None:
        return (Rule.PAID_BY_US if paid_here else Rule.NOT_COMPARABLE), (), paid_here
    differing = differing_fields(body, asked, models)
    if not differing:
        return Rule.SAME, (), paid_here
    return (Rule.PAID_BY_US if paid_here else Rule.CHANGED), differing, paid_here


def _row_of(found: Generation) -> Call[Generation | None]:
    """Return a generation's row of the list, which has what was asked."""
    rows = yield from calls.list_generations([found.id])
    if rows:
        return rows[0]
    # An API that ignores ids answers with the newest: an older one is some pages away.
    return (yield from search_newest(lambda candidate: candidate.id.lower() == found.id.lower()))


def _paid_by(asset_id: str, found: Generation, asked: Mapping[str, Any] | None) -> bool:
    """Whether the attempt group whose asset id this is paid for a generation."""
    paying_assets = _named(asked or {}, "reserved_asset_id") or {(found.asset_id or "").lower()}
    return asset_id.lower() in paying_assets


def same_id(one: str, other: str) -> bool:
    """Whether two ids are the same: Hedra may write them in capitals."""
    return one.lower() == other.lower()


def asked_for(generation_id: str, asset_id: str, taken: Collection[str] = ()) -> Callable[[Generation], bool]:
    """Match a generation that was asked for under this id, or makes this asset, whatever id it got."""

    def matches(row: Generation) -> bool:
        if row.id in taken:
            return False
        if same_id(row.id, generation_id) or same_id(row.asset_id or "", asset_id):
            return True
        asked = row.input or {}
        ids, assets = _named(asked, "generation_id"), _named(asked, "reserved_asset_id")
        # In a batch, a row that has an id that was asked for is that variation and no other.
        return row.id.lower() not in ids and (generation_id.lower() in ids or asset_id.lower() in assets)

    return matches


def _named(asked: Mapping[str, Any], field: str) -> set[str]:
    """Return the ids that a request names in a field, or in its plural."""
    many = asked.get(f"{field}s")
    ids = [asked.get(field), *(many if isinstance(many, list) else [])]
    return {str(one).lower() for one in ids if one}


def search_newest(matches: Callable[[Generation], bool]) -> Call[Generation | None]:
    """Search the newest generations for one."""
    for page in range(_SEARCHED_PAGES):
        rows = yield from calls.list_generations(limit=_PAGE_ROWS, offset=page * _PAGE_ROWS)
        for row in rows:
            if matches(row):
                return row
        if len(rows) < _PAGE_ROWS:
            break
    return None
