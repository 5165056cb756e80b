"""Submit once: look, submit, look again.

The id of a generation is ours to choose (``generation_id``), so a submit whose answer got lost can be looked
for. Nothing is ever submitted blind: before a submit we look, and after a doubtful answer we look again.
That Hedra keeps to the id it is given is documented; what it answers to an id that exists is not, so every
answer that might mean "it is there" leads to another look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
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
)

if TYPE_CHECKING:
    from hedra_provider.api.answers import Generation

LOOK_AGAIN_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Pauses between looks after a doubtful answer: 60 s in all, then the same id is submitted once more."""

REFUSED_WAIT_SECONDS = 30.0
"""How long a submit that surely was not taken (429, no connection) is repeated in place."""

MAX_GENERATIONS_PER_KEY = 100

IDENTITY_FIELDS = frozenset(
    {"generation_id", "generation_ids", "reserved_asset_id", "reserved_asset_ids", "workspace_id", "name"}
)
"""Fields that say which generation it is, not what it shows."""

_OPTIONAL_CONTENT = ("audio_generation", "audio_start_ms", "end_keyframe_id", "seed", "negative_prompt")
"""Fields that Hedra does not fill in by itself: one that is there unasked makes another request."""


class Rule(StrEnum):
    """Why this generation belongs to the request."""

    NEW = "new"
    FAILED_BEFORE = "failed_before"
    CHANGED = "changed"
    SAME = "same"
    RETRY = "retry"
    NOT_COMPARABLE = "not_comparable"


@dataclass(frozen=True)
class Plan:
    """
    Which generation a request gets, decided before anything is spent.

    :param generation_id: Its id.
    :param found: The generation that is there and is adopted, None where one must be submitted.
    :param rule: Which rule applied.
    :param differing: Fields in which the adopted (or passed over) generation differs from the request.
    """

    generation_id: str
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
    :param id_mismatch: Whether Hedra gave it another id than the one we asked for.
    """

    generation: Generation
    plan: Plan
    id_mismatch: bool = False


def plan_submission(
    body: Mapping[str, Any], id_of: Callable[[int], str], *, adopt_changed: bool = False
) -> Call[Plan]:
    """
    Look which generation belongs to a request; reads only.

    Walks the ids 0, 1, ... of the request's key. The first that runs or is complete with the same request is
    adopted; failed ones and ones of another request are passed over; the first unknown one is to submit.

    :param body: The request, without ids.
    :param id_of: The n-th id of the request's key.
    :param adopt_changed: On an automatic retry: adopt the latest generation although the request reads
        differently now (a template or a callable rendered anew), for it is what this task run paid for.
    """
    latest: Generation | None = None
    rule, differing = Rule.NEW, tuple[str, ...]()
    for n in range(MAX_GENERATIONS_PER_KEY):
        generation_id = id_of(n)
        found = yield from calls.get_status(generation_id)
        if found is None:
            if latest is not None and adopt_changed and not latest.is_failed:
                return Plan(latest.id, latest, Rule.RETRY, differing)
            return Plan(generation_id, None, rule, differing)
        latest = found.model_copy(update={"id": generation_id})
        if found.is_failed:
            rule, differing = Rule.FAILED_BEFORE, ()
            continue
        rows = yield from calls.list_generations([generation_id])
        asked = rows[0].input if rows else None
        if asked is None:
            return Plan(generation_id, latest, Rule.NOT_COMPARABLE)
        rule, differing = Rule.CHANGED, differing_fields(body, asked)
        if not differing:
            return Plan(generation_id, latest, Rule.SAME)
    raise HedraError(
        f"{MAX_GENERATIONS_PER_KEY} generations exist under this key already.",
        remedy="Give the task another idempotency_key.",
    )


def carry_out(body: Mapping[str, Any], plan: Plan) -> Call[Submission]:
    """
    Submit what a plan says, or adopt what it found.

    :raises HedraTransportError: If no answer came and Hedra does not know the id: the next try looks again.
    """
    if plan.found is not None:
        return Submission(plan.found, plan)
    request = {**body, "generation_id": plan.generation_id}
    refused_seconds = 0.0
    for attempt in count():
        try:
            answer = yield from calls.submit(request)
        except HedraError as error:
            error.generation_id = plan.generation_id
            if _is_doubtful(error):
                found = yield from _look_again(plan.generation_id)
                if found is not None:
                    return Submission(found, plan)
                if attempt > 0:
                    raise
                continue
            pause = error.retry_after or min(2.0**attempt, 10.0)
            if not _was_not_taken(error) or refused_seconds + pause > REFUSED_WAIT_SECONDS:
                raise
            refused_seconds += pause
            yield Pause(pause)
        else:
            return Submission(answer, plan, id_mismatch=answer.id != plan.generation_id)
    raise AssertionError("unreachable")


def submit_once(
    body: Mapping[str, Any], id_of: Callable[[int], str], *, adopt_changed: bool = False
) -> Call[Submission]:
    """Plan and carry out in one: see :func:`plan_submission` and :func:`carry_out`."""
    plan = yield from plan_submission(body, id_of, adopt_changed=adopt_changed)
    return (yield from carry_out(body, plan))


def differing_fields(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[str, ...]:
    """
    Compare a request with the ``input`` of a generation.

    What Hedra adds by itself does not count; how a model is named does not count where it names it otherwise.

    :return: Dotted names of the fields that differ, in the request's order.
    """
    found = [*_differing(ours, theirs, "")]
    inputs, their_inputs = ours.get("generated_video_inputs"), theirs.get("generated_video_inputs")
    for prefix, mine, other in (("", ours, theirs), ("generated_video_inputs.", inputs, their_inputs)):
        if isinstance(mine, Mapping) and isinstance(other, Mapping):
            found += [
                prefix + name
                for name in _OPTIONAL_CONTENT
                if other.get(name) is not None and mine.get(name) is None
            ]
    return tuple(dict.fromkeys(found))


def _differing(ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str) -> list[str]:
    found = []
    for name, mine in ours.items():
        other = theirs.get(name)
        if mine is None or (not prefix and name in IDENTITY_FIELDS):
            continue
        if other is None and name in ("ai_model_id", "model_slug", "model_id"):
            continue
        if isinstance(mine, Mapping) and isinstance(other, Mapping):
            found += _differing(mine, other, f"{prefix}{name}.")
        elif mine != other:
            found.append(prefix + name)
    return found


def _look_again(generation_id: str) -> Call[Generation | None]:
    for seconds in (0.0, *LOOK_AGAIN_SECONDS):
        if seconds:
            yield Pause(seconds)
        found = yield from calls.get_status(generation_id)
        if found is not None:
            return found
    return None


def _is_doubtful(error: HedraError) -> bool:
    """Whether the generation may exist although the submit did not say so."""
    if isinstance(error, HedraTransportError):
        return error.request_sent
    if isinstance(error, HedraProtocolError):
        return error.retryable
    return isinstance(error, (HedraServerError, HedraConflictError)) or (error.code or "").startswith(
        "ALREADY_"
    )


def _was_not_taken(error: HedraError) -> bool:
    """Whether the submit surely did nothing, and may do better in a moment."""
    return isinstance(error, (HedraRateLimitError, HedraTransportError))
