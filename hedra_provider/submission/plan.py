"""Decide which generation a request gets, before anything is spent. This module only reads from Hedra.

A submit may choose the id of its generation (``generation_id``). The provider computes it from the request's
key, so a generation with this id was submitted for this key. A submit may also choose the id of the result
(``reserved_asset_id``). The provider computes that from the attempt group too, so it proves which attempt
group paid, even if the request has changed since.
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
    from hedra_provider.api.responses import Model
    from hedra_provider.records import Generation

MAX_GENERATIONS_PER_KEY = 100
_SEARCHED_PAGES = 3
_PAGE_ROWS = 100

IdsOf = Callable[[int], tuple[str, str]]
"""Returns the n-th ids of a request's key: of the generation, and of the asset that it makes."""


class Rule(StrEnum):
    """Why a request gets this generation."""

    NEW = "new"
    """No generation has the key's first id: submit."""

    FAILED_BEFORE = "failed_before"
    """The generation of the id before failed: submit under the next id."""

    CHANGED = "changed"
    """The generation of the id before has another request, and another attempt group paid: the next id."""

    SAME = "same"
    """The generation has the same request: adopt."""

    PAID_BY_US = "paid_by_us"
    """This attempt group paid for the generation: adopt, even if the request has changed."""

    NAMED = "named"
    """The user names the generation: adopt."""

    NOT_COMPARABLE = "not_comparable"
    """Hedra does not show the generation's request: adopt, because submitting again could pay twice."""


@dataclass(frozen=True)
class Plan:
    """
    Which generation a request gets, decided before anything is spent.

    :param generation_id: The id of the generation, existing or not.
    :param asset_id: The id of its result.
    :param found: The existing generation to adopt; None if one must be submitted.
    :param rule: Which rule applied.
    :param differing: Fields in which the adopted (or skipped) generation differs from the request.
    :param seen: Ids of all existing generations of the request's key, skipped or adopted.
    :param paid_here: Whether this attempt group paid for ``found``.
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
        """Whether executing the plan costs credits."""
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
    Decide which generation a request gets. Reads only.

    The ids 0, 1, ... of the request's key are polled in order. A generation that is running or complete is
    adopted if it has the same request or if this attempt group paid for it. Otherwise it is skipped, and so
    is a failed one. The first id that Hedra does not know is the one to submit.

    :param body: The request, without ids.
    :param ids_of: Returns the n-th ids of the request's key.
    :param models: The catalogue, to compare models by id and slug; empty by default.
    :param search: Whether to search the newest generations too, for one that was requested with this id but
        has another. False by default; useful on a retry, in case the API ignores the requested ids.
    :param taken: Ids of generations that belong to other variations of the same batch.
    :return: The plan.
    :raises HedraError: If Hedra could not be asked, or 100 generations of this key exist.
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
    Find the existing generations of a request's key, without the request. Reads only.

    A retry adopts what its attempt group paid for, whatever its request is by now. So the retry need not read
    its files or the catalogue to build the request.

    :param ids_of_each: For each variation, a function that returns the n-th ids of its key.
    :param search: As for :func:`plan_submission`.
    :return: A plan for each variation. With ``paid_here``, this attempt group paid for ``found``. With the
        rule ``NOT_COMPARABLE``, a generation exists, but only the request can decide whether it is adopted.
    :raises HedraError: As :func:`plan_submission`.
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
            paid_here = _paid_by(asset_id, found, row.request if row else None)
        plan = Plan(generation_id, asset_id, found, Rule.PAID_BY_US, seen=seen, paid_here=True)
        if paid_here:
            return plan
        unproven = unproven or replace(plan, rule=Rule.NOT_COMPARABLE, paid_here=False)
    raise _too_many()


def _too_many() -> HedraError:
    return HedraError(
        f"{MAX_GENERATIONS_PER_KEY} generations of this idempotency key exist already.",
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
    Decide which generation each variation of a batch gets, with :func:`plan_submission`. Reads only.

    :param body: The request, without ids.
    :param ids_of_each: For each variation, a function that returns the n-th ids of its key.
    :param models: As for :func:`plan_submission`.
    :param search: As for :func:`plan_submission`.
    :return: A plan for each variation, in order.
    :raises HedraError: As :func:`plan_submission`.
    """
    models, plans = tuple(models), list[Plan]()
    for ids_of in ids_of_each:
        taken = {one for plan in plans for one in plan.seen}
        plans.append((yield from plan_submission(body, ids_of, models=models, search=search, taken=taken)))
    return plans


def rule_for(
    body: Mapping[str, Any], found: Generation, asset_id: str, models: tuple[Model, ...]
) -> Call[tuple[Rule, tuple[str, ...], bool]]:
    """
    Decide whether a request may adopt a generation.

    :param body: The request.
    :param found: The generation.
    :param asset_id: The id of the result, as this attempt group computes it.
    :param models: The catalogue.
    :return: The rule, the fields that differ, and whether this attempt group paid.
    :raises HedraError: If Hedra could not be asked.
    """
    row = yield from _row_of(found)
    asked = row.request if row else None
    paid_here = _paid_by(asset_id, found, asked)
    if asked is None:
        return (Rule.PAID_BY_US if paid_here else Rule.NOT_COMPARABLE), (), paid_here
    differing = differing_fields(body, asked, models)
    if not differing:
        return Rule.SAME, (), paid_here
    return (Rule.PAID_BY_US if paid_here else Rule.CHANGED), differing, paid_here


def _row_of(found: Generation) -> Call[Generation | None]:
    """Return a generation's row of the list: only the list has ``input``, the request."""
    rows = yield from calls.list_generations([found.id])
    if rows:
        return rows[0]
    # An API that ignores `ids` answers with its newest page: the generation may be on a later one.
    return (yield from search_newest(lambda candidate: candidate.id.lower() == found.id.lower()))


def _paid_by(asset_id: str, found: Generation, asked: Mapping[str, Any] | None) -> bool:
    """Whether the attempt group that computed this asset id paid for a generation."""
    paying_assets = _named(asked or {}, "reserved_asset_id") or {(found.asset_id or "").lower()}
    return asset_id.lower() in paying_assets


def same_id(one: str, other: str) -> bool:
    """Whether two ids are equal: Hedra may write them in upper case."""
    return one.lower() == other.lower()


def asked_for(generation_id: str, asset_id: str, taken: Collection[str] = ()) -> Callable[[Generation], bool]:
    """
    Return a filter for the generation that was requested with these ids, even if it has another id.

    :param generation_id: The requested id of the generation.
    :param asset_id: The requested id of its result.
    :param taken: Ids of generations that belong to other variations of the same batch.
    :return: A function that takes a row of the list.
    """

    def matches(row: Generation) -> bool:
        if row.id in taken:
            return False
        if same_id(row.id, generation_id) or same_id(row.asset_id or "", asset_id):
            return True
        asked = row.request or {}
        ids, assets = _named(asked, "generation_id"), _named(asked, "reserved_asset_id")
        # Rows of one batch name all its ids. A row with one of them is that variation, not this one.
        return row.id.lower() not in ids and (generation_id.lower() in ids or asset_id.lower() in assets)

    return matches


def _named(asked: Mapping[str, Any], field: str) -> set[str]:
    """Return the ids in a field of a request, e.g. ``generation_id``, and in its plural."""
    many = asked.get(f"{field}s")
    ids = [asked.get(field), *(many if isinstance(many, list) else [])]
    return {str(one).lower() for one in ids if one}


def search_newest(matches: Callable[[Generation], bool]) -> Call[Generation | None]:
    """Search the newest 300 generations for the first that matches; None if none does."""
    for page in range(_SEARCHED_PAGES):
        rows = yield from calls.list_generations(limit=_PAGE_ROWS, offset=page * _PAGE_ROWS)
        for row in rows:
            if matches(row):
                return row
        if len(rows) < _PAGE_ROWS:
            break
    return None
