"""The triggers, which wait in the triggerer without a worker. They only read: a triggerer that dies and
starts again costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from hedra_provider.hooks import HedraHook

if TYPE_CHECKING:
    from hedra_provider.api.answers import Generation
    from hedra_provider.api.calls import Call
    from hedra_provider.api.errors import HedraError

T = TypeVar("T")

EVENT_VERSION = 1
FIRST_LOOK_SECONDS = 3.0
"""How long the trigger waits before its first look. The task has just looked; and a scheduler under load
may fail a task that is back from the triggerer before it noticed that the task went there (seen on 3.3.2).
"""

DEFER_GRACE_SECONDS = 300.0
"""How much later than the trigger's own deadline Airflow's cruder one strikes."""


class HedraGenerationTrigger(BaseTrigger):
    """
    Wait until a generation is complete or failed.

    Fires one event: ``{"version", "generation_id", "outcome", "generation", "failure"}``. ``outcome`` is
    ``complete`` or ``error`` (then ``generation`` holds what Hedra said, without URLs), ``timeout`` or
    ``failed`` (then ``failure`` holds ``kind``, ``message`` and ``retryable``).

    :param generation_id: The generation.
    :param hedra_conn_id: The Airflow connection.
    :param poll_interval: Seconds between two looks at the most.
    :param end_time: Epoch seconds at which the wait is given up. Not a monotonic time: another triggerer, on
        another machine, may go on with it.
    """

    def __init__(
        self,
        *,
        generation_id: str,
        end_time: float,
        hedra_conn_id: str = "hedra_default",
        poll_interval: float = 15.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call,unused-ignore]
        self.generation_id = generation_id
        self.end_time = end_time
        self.hedra_conn_id = hedra_conn_id
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that make this trigger again."""
        return (
            "hedra_provider.triggers.HedraGenerationTrigger",
            {
                "generation_id": self.generation_id,
                "end_time": self.end_time,
                "hedra_conn_id": self.hedra_conn_id,
                "poll_interval": self.poll_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire the one event."""
        from hedra_provider.api.waiting import ProgressLog, wait_until_finished

        log = ProgressLog(self.log.info)
        event: dict[str, Any] = {"version": EVENT_VERSION, "generation_id": self.generation_id}
        event |= {"generation": None, "failure": None}

        def wait() -> Call[Generation]:
            return wait_until_finished(
                self.generation_id,
                deadline=self.end_time,
                poll_interval=self.poll_interval,
                log=log,
                warn=self.log.warning,
                first_look_after=min(self.poll_interval, FIRST_LOOK_SECONDS),
            )

        generation, failure = await _run(self, wait)
        if generation is not None:
            outcome = "complete" if generation.is_complete else "error"
            yield TriggerEvent(event | {"outcome": outcome, "generation": _told(generation)})
        else:
            yield TriggerEvent(event | failure)


class HedraCreditsTrigger(BaseTrigger):
    """
    Wait until there are enough credits.

    Fires one event: ``{"version", "outcome", "available", "failure"}``. ``outcome`` is ``enough`` (then
    ``available`` holds the credits), ``timeout`` or ``failed`` (then ``failure`` holds ``kind``, ``message``
    and ``retryable``).

    :param minimum: Credits that shall be there.
    :param end_time: Epoch seconds at which the wait is given up.
    :param workspace_id: Whose credits; None: those of the key's default pool.
    :param hedra_conn_id: The Airflow connection.
    :param poll_interval: Seconds between two looks.
    """

    def __init__(
        self,
        *,
        minimum: int,
        end_time: float,
        workspace_id: str | None = None,
        hedra_conn_id: str = "hedra_default",
        poll_interval: float = 300.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call,unused-ignore]
        self.minimum = minimum
        self.end_time = end_time
        self.workspace_id = workspace_id
        self.hedra_conn_id = hedra_conn_id
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that make this trigger again."""
        return (
            "hedra_provider.triggers.HedraCreditsTrigger",
            {
                "minimum": self.minimum,
                "end_time": self.end_time,
                "workspace_id": self.workspace_id,
                "hedra_conn_id": self.hedra_conn_id,
                "poll_interval": self.poll_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire the one event."""
        from hedra_provider.api.waiting import wait_for_credits

        def wait() -> Call[int]:
            return wait_for_credits(
                self.minimum,
                self.workspace_id,
                deadline=self.end_time,
                poll_interval=self.poll_interval,
                told=self.log.info,
                warn=self.log.warning,
            )

        available, failure = await _run(self, wait)
        event = {"version": EVENT_VERSION, "available": available, "failure": None}
        yield TriggerEvent(event | (failure or {"outcome": "enough"}))


async def _run(
    trigger: HedraGenerationTrigger | HedraCreditsTrigger, wait: Callable[[], Call[T]]
) -> tuple[T | None, dict[str, Any]]:
    """
    Wait over one client; a key that was rotated meanwhile is read anew, once.

    :return: What the wait brought, or None and the ``outcome`` and ``failure`` of the event.
    """
    from hedra_provider.api.errors import (
        HedraAuthenticationError,
        HedraConfigurationError,
        HedraError,
        HedraWaitTimeoutError,
    )

    key_was_read_anew = False
    while True:
        try:
            async with await HedraHook(trigger.hedra_conn_id).get_async_conn() as client:
                return await client.run(wait()), {}
        except HedraAuthenticationError as error:
            if key_was_read_anew:
                return None, _failed(error)
            key_was_read_anew = True
            trigger.log.warning("Hedra refused the key; reading connection %s anew.", trigger.hedra_conn_id)
        except HedraWaitTimeoutError as error:
            return None, _failed(error, "timeout")
        except HedraError as error:
            return None, _failed(error)
        except AirflowNotFoundException as error:
            return None, _failed(HedraConfigurationError(str(error)))


def _failed(error: HedraError, outcome: str = "failed") -> dict[str, Any]:
    """Return what an event says of an error."""
    failure = {
        "kind": type(error).__name__,
        "message": str(error),
        "retryable": error.retryable,
        "retry_after": error.retry_after,
    }
    return {"outcome": outcome, "failure": failure}


def _told(generation: Generation) -> dict[str, Any]:
    """Return what an event, which is stored in Airflow's database, may tell: no URLs."""
    from hedra_provider.api.error_answers import cleaned

    facts = {"id", "asset_id", "type", "status", "error", "error_message", "workspace_id"}
    told: dict[str, Any] = cleaned(generation.model_dump(mode="json", include=facts))
    return told


def patience_seconds(task: Any) -> float:
    """
    Return how long a task waits.

    Airflow does not enforce ``execution_timeout`` after a deferral, so the earlier of the two counts.

    :param task: An operator or sensor with ``timeout`` and ``execution_timeout``.
    """
    limit = task.execution_timeout
    return float(min(task.timeout, limit.total_seconds()) if limit else task.timeout)


def deferral(trigger: HedraGenerationTrigger | HedraCreditsTrigger) -> dict[str, Any]:
    """Return the arguments of ``defer()`` for a trigger: Airflow's own time limit is the later one."""
    patience = max(0.0, trigger.end_time - time.time())
    return {
        "trigger": trigger,
        "method_name": "execute_complete",
        "timeout": timedelta(seconds=patience + DEFER_GRACE_SECONDS),
    }


def read_event(event: Mapping[str, Any] | None) -> Generation:
    """
    Return the finished generation that an event tells of.

    :param event: What :class:`HedraGenerationTrigger` fired.
    :return: The generation; its status is ``complete`` or ``error``.
    :raises HedraError: What the trigger could not get past, e.g. a deadline.
    :raises AirflowException: If the event is none of this version's.
    """
    from hedra_provider.api.answers import Generation

    known = _known(event)
    if known.get("outcome") in ("complete", "error") and known.get("generation"):
        return Generation.model_validate(known["generation"] | {"status": known["outcome"]})
    raise AirflowException(f"The trigger fired an event with an unknown outcome: {event!r}.")


def read_credits_event(event: Mapping[str, Any] | None) -> int:
    """
    Return the credits that an event tells of.

    :param event: What :class:`HedraCreditsTrigger` fired.
    :raises HedraError: What the trigger could not get past, e.g. a deadline.
    :raises AirflowException: If the event is none of this version's.
    """
    known = _known(event)
    if known.get("outcome") == "enough" and isinstance(known.get("available"), int):
        return int(known["available"])
    raise AirflowException(f"The trigger fired an event with an unknown outcome: {event!r}.")


def _known(event: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return an event of this version; raise the error that it tells of."""
    from hedra_provider.api import errors

    if not isinstance(event, Mapping) or event.get("version") != EVENT_VERSION:
        raise AirflowException(
            f"The trigger fired an event that this version does not know: {event!r}. Were worker and "
            "triggerer upgraded together? Clear the task: it adopts its generation without paying again."
        )
    failure = event.get("failure")
    if event.get("outcome") in ("timeout", "failed") and failure:
        kind = getattr(errors, str(failure.get("kind")), errors.HedraError)
        known = isinstance(kind, type) and issubclass(kind, errors.HedraError)
        raise (kind if known else errors.HedraError)(
            str(failure.get("message")),
            retryable=bool(failure.get("retryable")),
            retry_after=failure.get("retry_after"),
            generation_id=event.get("generation_id"),
        )
    return event
