"""The trigger that waits for a generation in the triggerer, without a worker. It only reads: a triggerer
that dies and starts again costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from hedra_provider.hooks import HedraHook

if TYPE_CHECKING:
    from hedra_provider.api.answers import Generation
    from hedra_provider.api.errors import HedraError

EVENT_VERSION = 1
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
        from hedra_provider.api.errors import HedraConfigurationError, HedraError, HedraWaitTimeoutError

        try:
            generation = await self._wait()
        except HedraWaitTimeoutError as error:
            yield self._event("timeout", failure=error)
        except HedraError as error:
            yield self._event("failed", failure=error)
        except AirflowNotFoundException as error:
            yield self._event("failed", failure=HedraConfigurationError(str(error)))
        else:
            yield self._event("complete" if generation.is_complete else "error", generation=generation)

    async def _wait(self) -> Generation:
        """Wait over one client; a key that was rotated meanwhile is read anew, once."""
        from hedra_provider.api.errors import HedraAuthenticationError
        from hedra_provider.api.waiting import ProgressLog, wait_until_finished

        log = ProgressLog(self.log.info)
        key_was_read_anew = False
        while True:
            async with await HedraHook(self.hedra_conn_id).get_async_conn() as client:
                try:
                    return await client.run(
                        wait_until_finished(
                            self.generation_id,
                            deadline=self.end_time,
                            poll_interval=self.poll_interval,
                            log=log,
                            warn=self.log.warning,
                            clock=time.time,
                        )
                    )
                except HedraAuthenticationError:
                    if key_was_read_anew:
                        raise
                    key_was_read_anew = True
                    self.log.warning("Hedra refused the key; reading connection %s anew.", self.hedra_conn_id)

    def _event(
        self, outcome: str, *, generation: Generation | None = None, failure: HedraError | None = None
    ) -> TriggerEvent:
        return TriggerEvent(
            {
                "version": EVENT_VERSION,
                "generation_id": self.generation_id,
                "outcome": outcome,
                "generation": None if generation is None else _told(generation),
                "failure": None
                if failure is None
                else {
                    "kind": type(failure).__name__,
                    "message": str(failure),
                    "retryable": failure.retryable,
                    "retry_after": failure.retry_after,
                },
            }
        )


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


def deferral(task: Any, generation_id: str, end_time: float) -> dict[str, Any]:
    """
    Return the arguments of ``defer()`` for a task that waits for a generation.

    :param task: An operator or sensor, with ``hedra_conn_id`` and ``poll_interval``.
    :param end_time: Epoch seconds at which the trigger gives up.
    """
    return {
        "trigger": HedraGenerationTrigger(
            generation_id=generation_id,
            end_time=end_time,
            hedra_conn_id=task.hedra_conn_id,
            poll_interval=task.poll_interval,
        ),
        "method_name": "execute_complete",
        "timeout": timedelta(seconds=max(0.0, end_time - time.time()) + DEFER_GRACE_SECONDS),
    }


def read_event(event: Mapping[str, Any] | None) -> Generation:
    """
    Return the finished generation that an event tells of.

    :param event: What :class:`HedraGenerationTrigger` fired.
    :return: The generation; its status is ``complete`` or ``error``.
    :raises HedraError: What the trigger could not get past, e.g. a deadline.
    :raises AirflowException: If the event is none of this version's.
    """
    from hedra_provider.api import errors
    from hedra_provider.api.answers import Generation

    if not isinstance(event, Mapping) or event.get("version") != EVENT_VERSION:
        raise AirflowException(
            f"The trigger fired an event that this version does not know: {event!r}. Were worker and "
            "triggerer upgraded together? Clear the task: it adopts its generation without paying again."
        )
    outcome, failure = event.get("outcome"), event.get("failure")
    if outcome in ("complete", "error") and event.get("generation"):
        return Generation.model_validate(event["generation"] | {"status": outcome})
    if outcome in ("timeout", "failed") and failure:
        kind = getattr(errors, str(failure.get("kind")), errors.HedraError)
        known = isinstance(kind, type) and issubclass(kind, errors.HedraError)
        raise (kind if known else errors.HedraError)(
            str(failure.get("message")),
            retryable=bool(failure.get("retryable")),
            retry_after=failure.get("retry_after"),
            generation_id=event.get("generation_id"),
        )
    raise AirflowException(f"The trigger fired an event with an unknown outcome: {event!r}.")
