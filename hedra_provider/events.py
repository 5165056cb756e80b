"""The events that triggers fire: versioned dicts. They go through Airflow's database: no URLs, no keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException

if TYPE_CHECKING:
    from hedra_provider.api.errors import HedraError
    from hedra_provider.records import Generation

EVENT_VERSION = 1

_FACTS = ("id", "asset_id", "type", "status", "error", "error_message", "workspace_id")
"""The fields of a generation that an event has."""

_OUTCOMES = ("finished", "enough", "turn", "timeout", "failed")


def failed(error: HedraError, outcome: str = "failed") -> dict[str, Any]:
    """
    Return ``outcome`` and ``failure``, the part of an event about an error.

    :param error: What ended the wait.
    :param outcome: ``"failed"`` by default, or ``"timeout"``.
    """
    from hedra_provider.api.errors import MAX_ERROR_LENGTH

    failure = {
        "kind": type(error).__name__,
        "message": error.message[:MAX_ERROR_LENGTH],
        "remedy": error.remedy,
        "retryable": error.retryable,
        "retry_after": error.retry_after,
        "generation_id": error.generation_id,
    }
    return {"outcome": outcome, "failure": failure}


def generation_facts(generation: Generation) -> dict[str, Any]:
    """Return the part of an event about a finished generation."""
    from hedra_provider.api.redaction import cleaned

    found: dict[str, Any] = cleaned({name: getattr(generation, name) for name in _FACTS})
    return found


def read_event(event: Mapping[str, Any] | None) -> list[Generation]:
    """
    Return the finished generations of an event.

    :param event: What :class:`hedra_provider.triggers.HedraGenerationTrigger` fired.
    :return: The generations in the order of the trigger's ids; their status is ``complete`` or ``error``.
    :raises HedraError: The error that ended the wait, e.g. HedraWaitTimeoutError.
    :raises AirflowException: If this version knows no such event.
    """
    from hedra_provider.records import Generation

    known = _known(event)
    if known.get("outcome") == "finished" and known.get("generations"):
        # An older version may have written the event, or a later one.
        found = [Generation(**{name: facts.get(name) for name in _FACTS}) for facts in known["generations"]]
        if all(generation.is_finished for generation in found):
            return found
    raise AirflowException(f"The trigger fired an event with an unknown outcome: {event!r}.")


def read_credits_event(event: Mapping[str, Any] | None) -> float | int:
    """
    Return the available balance of an event.

    :param event: What :class:`hedra_provider.triggers.HedraCreditsTrigger` fired.
    :return: Credits (whole), or US dollars.
    :raises HedraError: The error that ended the wait, e.g. HedraWaitTimeoutError.
    :raises AirflowException: If this version knows no such event.
    """
    known = _known(event)
    available = known.get("available")
    if known.get("outcome") == "enough" and isinstance(available, (int, float)):
        return available
    raise AirflowException(f"The trigger fired an event with an unknown outcome: {event!r}.")


def read_retry_slot_event(event: Mapping[str, Any] | None, first_id: str) -> Mapping[str, Any]:
    """
    Return what a task gave :class:`hedra_provider.triggers.HedraTurnTrigger` to wait for its retry slot.

    :param event: What the trigger fired.
    :param first_id: The first generation id of the task's key.
    :return: ``{"request", "cost", "refused_since", "in_doubt"}``; empty if the event is not this task's.
        SQLite reuses the id of a deleted trigger, so the event of another wait can arrive (seen on 3.3.2).
    """
    if not isinstance(event, Mapping) or event.get("version") != EVENT_VERSION:
        return {}
    return event if event.get("outcome") == "turn" and event.get("first_id") == first_id else {}


def outcome_of(event: Mapping[str, Any] | None) -> str | None:
    """Return the outcome of an event; None if this version knows no such event."""
    if not isinstance(event, Mapping) or event.get("version") != EVENT_VERSION:
        return None
    outcome = event.get("outcome")
    return outcome if outcome in _OUTCOMES else None


def generation_ids_of(event: Mapping[str, Any] | None) -> list[str]:
    """Return the ids of the generations that an event is about; empty if it names none."""
    ids = event.get("generation_ids") if isinstance(event, Mapping) else None
    return [str(one).lower() for one in ids] if isinstance(ids, list) else []


def _known(event: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return an event of this version; raise the error that it carries."""
    from hedra_provider.api import errors

    if not isinstance(event, Mapping) or event.get("version") != EVENT_VERSION:
        raise AirflowException(
            f"The trigger fired an event that this version does not know: {event!r}. Were worker and "
            "triggerer upgraded together? A retry adopts what was paid for, and so does a clear unless "
            'on_clear is "new".'
        )
    failure = event.get("failure")
    if event.get("outcome") in ("timeout", "failed") and failure:
        kind = getattr(errors, str(failure.get("kind")), errors.HedraError)
        known = isinstance(kind, type) and issubclass(kind, errors.HedraError)
        raise (kind if known else errors.HedraError)(
            str(failure.get("message")),
            retryable=bool(failure.get("retryable")),
            retry_after=failure.get("retry_after"),
            generation_id=failure.get("generation_id"),
            remedy=failure.get("remedy"),
        )
    return event
