"""The triggers. They wait in the triggerer and hold no worker.

Triggers only read. So a triggerer may die and start again at no cost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from airflow.triggers.base import BaseTrigger, TriggerEvent

from hedra_provider.connection import open_async_client, read_connection
from hedra_provider.events import EVENT_VERSION, failed, generation_facts
from hedra_provider.poller import wait_for_generation
from hedra_provider.records import CREDITS, json_amount
from hedra_provider.service import service_of

if TYPE_CHECKING:
    from hedra_provider.connection_fields import HedraSettings
    from hedra_provider.polling.rate_limit import RetrySlots
    from hedra_provider.records import Generation
    from hedra_provider.service.protocol import Call, Hedra

T = TypeVar("T")

FIRST_POLL_SECONDS = 3.0
"""Seconds until a trigger's first poll. The task polled just before it deferred. A scheduler under load can
also fail a task that returns before the scheduler has stored its deferral (seen on 3.3.2).
"""

_RETRY_SLOTS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, RetrySlots]] = WeakKeyDictionary()


class HedraGenerationTrigger(BaseTrigger):
    """
    Wait until generations are complete or failed: one, or all the variations of a batch.

    Fires one event: ``{"version", "generation_ids", "outcome", "generations", "failure"}``. ``outcome`` is
    ``finished`` (then ``generations`` holds the facts about each, without URLs), ``timeout`` or ``failed``
    (then ``failure`` holds ``kind``, ``message``, ``remedy``, ``retryable``, ``retry_after`` and
    ``generation_id``).

    :param generation_ids: The ids of the generations.
    :param end_time: The deadline, in epoch seconds. A monotonic time would mean nothing to another triggerer
        that takes the wait over.
    :param hedra_conn_id: The Airflow connection; ``hedra_default`` by default.
    :param poll_interval: Seconds between two polls at most; 15 by default.
    :param cost: What the generations cost, for the log; None (the default) where that is not known.
    :param time_limit: What set ``end_time``, for messages, as :func:`hedra_provider.deferral.time_limit`
        returns it; ``"timeout"`` by default.
    """

    def __init__(
        self,
        *,
        generation_ids: Sequence[str],
        end_time: float,
        hedra_conn_id: str = "hedra_default",
        poll_interval: float = 15.0,
        cost: str | None = None,
        time_limit: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call,unused-ignore]
        self.generation_ids = list(generation_ids)
        self.end_time = end_time
        self.hedra_conn_id = hedra_conn_id
        self.poll_interval = poll_interval
        self.cost = cost
        self.time_limit = time_limit

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that make this trigger again."""
        return (
            "hedra_provider.triggers.HedraGenerationTrigger",
            {
                "generation_ids": self.generation_ids,
                "end_time": self.end_time,
                "hedra_conn_id": self.hedra_conn_id,
                "poll_interval": self.poll_interval,
                "cost": self.cost,
                "time_limit": self.time_limit,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire the one event."""
        event: dict[str, Any] = {"version": EVENT_VERSION, "generation_ids": self.generation_ids}
        event |= {"generations": [], "failure": None}
        generations, failure = await _outcome(self._wait())
        if generations is not None:
            facts = [generation_facts(generation) for generation in generations]
            yield TriggerEvent(event | {"outcome": "finished", "generations": facts})
        else:
            yield TriggerEvent(event | failure)

    async def _wait(self) -> list[Generation]:
        """
        Wait for all of them together; the first error is that of all.

        :raises HedraValueError: If the connection has a key for another version of Hedra's API by now.
        """
        hedra = service_of(await read_connection(self.hedra_conn_id))
        for generation_id in self.generation_ids:
            _require_own(hedra, generation_id, self.hedra_conn_id)
        waits = [
            asyncio.create_task(
                wait_for_generation(
                    self.hedra_conn_id,
                    generation_id,
                    deadline=self.end_time,
                    poll_interval=self.poll_interval,
                    log=self.log.info,
                    warn=self.log.warning,
                    time_limit=self.time_limit,
                    first_poll_after=min(self.poll_interval, FIRST_POLL_SECONDS),
                )
            )
            for generation_id in self.generation_ids
        ]
        try:
            return await asyncio.gather(*waits)
        finally:
            for wait in waits:
                wait.cancel()

    async def on_kill(self) -> None:
        """
        Log which generations continue to run.

        Airflow 3.3 calls this when somebody clears or marks the deferred task, and also when another
        triggerer takes the task over. It does not say which of them happened (seen on 3.3.2).
        """
        self.log.info(
            "This triggerer stops polling generation %s: %s The generation runs on at Hedra and costs %s. "
            "After a clear, the task that submitted it adopts it without paying again, unless its on_clear "
            'is "new".',
            ", ".join(self.generation_ids),
            _WHY_STOPPED,
            self.cost or "what Hedra charges",
        )


class HedraCreditsTrigger(BaseTrigger):
    """
    Wait until the balance is high enough.

    Fires one event: ``{"version", "outcome", "available", "failure"}``. ``outcome`` is ``enough`` (then
    ``available`` holds the amount), ``timeout`` or ``failed`` (then ``failure`` holds ``kind``, ``message``,
    ``remedy`` and ``retryable``).

    :param minimum: The amount to wait for.
    :param end_time: The deadline, in epoch seconds.
    :param workspace_id: The workspace whose credits count; None (the default) means the key's default pool.
    :param hedra_conn_id: The Airflow connection; ``hedra_default`` by default.
    :param poll_interval: Seconds between two polls; 300 by default.
    :param time_limit: What set ``end_time``, for messages, as :func:`hedra_provider.deferral.time_limit`
        returns it; ``"timeout"`` by default.
    :param currency: Of ``minimum``: ``credits`` (v2, the default) or ``USD`` (v3).
    """

    def __init__(
        self,
        *,
        minimum: float | int,
        end_time: float,
        workspace_id: str | None = None,
        hedra_conn_id: str = "hedra_default",
        poll_interval: float = 300.0,
        time_limit: str | None = None,
        currency: str = CREDITS,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call,unused-ignore]
        self.minimum = minimum
        self.currency = currency
        self.end_time = end_time
        self.workspace_id = workspace_id
        self.hedra_conn_id = hedra_conn_id
        self.poll_interval = poll_interval
        self.time_limit = time_limit

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
                "time_limit": self.time_limit,
                "currency": self.currency,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire the one event."""
        from hedra_provider.api.errors import HedraConfigurationError
        from hedra_provider.polling.blocking import wait_for_credits

        minimum = self.minimum if isinstance(self.minimum, int) else Decimal(str(self.minimum))

        def wait(settings: HedraSettings) -> Call[Decimal | int]:
            hedra = service_of(settings)
            if hedra.currency != self.currency:
                raise HedraConfigurationError(
                    f"This task waits for {self.currency}, and the connection's key pays with "
                    f"{hedra.currency} now.",
                    remedy="Clear the task: it reads the connection again.",
                )
            return wait_for_credits(
                minimum,
                lambda: hedra.balance(self.workspace_id),
                currency=self.currency,
                deadline=self.end_time,
                poll_interval=self.poll_interval,
                log=self.log.info,
                warn=self.log.warning,
                time_limit=self.time_limit,
            )

        available, failure = await _outcome(_with_client(self, wait))
        event = {"version": EVENT_VERSION, "available": json_amount(available), "failure": None}
        yield TriggerEvent(event | (failure or {"outcome": "enough"}))


class HedraTurnTrigger(BaseTrigger):
    """
    Wait for a task's retry slot, after Hedra rate-limited its submit (429).

    Tasks that were rate-limited together do not submit again together: one triggerer gives the tasks of a
    connection one slot a second. The trigger sends Hedra nothing. It fires one event: ``{"version",
    "outcome", "first_id", "request", "cost", "refused_since", "in_doubt"}``. ``outcome`` is ``turn``; the
    others are the arguments of the same names.

    Airflow stores this class's path, its arguments and its event. So their names stay although the glossary
    has other words: a task that an older version deferred must find them after an upgrade.

    :param resume_at: The earliest slot, in epoch seconds.
    :param end_time: The latest slot, in epoch seconds, however many other tasks wait.
    :param refused_since: Epoch seconds of the first 429.
    :param first_id: The first generation id of the task's key. It identifies the task that the slot is for.
    :param request: The body to submit, as JSON text: the event's columns do not take every character (a NUL
        on PostgreSQL). None (the default): the task makes the body again.
    :param cost: What the request costs by the estimate, for messages; None (the default) where not known.
    :param in_doubt: Whether the outcome of an earlier submit is unknown; False by default. If so, the task
        searches for its generation before it submits.
    :param hedra_conn_id: The Airflow connection; ``hedra_default`` by default.
    """

    def __init__(
        self,
        *,
        resume_at: float,
        end_time: float,
        refused_since: float,
        first_id: str,
        request: str | None = None,
        cost: str | None = None,
        in_doubt: bool = False,
        hedra_conn_id: str = "hedra_default",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call,unused-ignore]
        self.resume_at = resume_at
        self.end_time = end_time
        self.refused_since = refused_since
        self.first_id = first_id
        self.request = request
        self.cost = cost
        self.in_doubt = in_doubt
        self.hedra_conn_id = hedra_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that make this trigger again."""
        return (
            "hedra_provider.triggers.HedraTurnTrigger",
            {
                "resume_at": self.resume_at,
                "end_time": self.end_time,
                "refused_since": self.refused_since,
                "first_id": self.first_id,
                "request": self.request,
                "cost": self.cost,
                "in_doubt": self.in_doubt,
                "hedra_conn_id": self.hedra_conn_id,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the slot, and fire the one event."""
        await asyncio.sleep(max(0.0, self.resume_at - time.time()))
        slot = _retry_slots(self.hedra_conn_id).take(time.monotonic())
        # At end_time at the latest: later Airflow itself would fail the task, with no reason.
        await asyncio.sleep(min(slot, max(0.0, self.end_time - time.time())))
        event: dict[str, Any] = {"version": EVENT_VERSION, "outcome": "turn"}
        event["refused_since"] = self.refused_since
        event |= {"first_id": self.first_id, "request": self.request, "cost": self.cost}
        yield TriggerEvent(event | {"in_doubt": self.in_doubt})

    async def on_kill(self) -> None:
        """Log whether a generation may be paid for. Airflow calls this as in HedraGenerationTrigger."""
        self.log.info(
            "This triggerer stops waiting for a retry slot after a 429: %s %s",
            _WHY_STOPPED,
            "The answer to a submit was lost, so a generation may be paid for. After a clear, the task first "
            'searches for it, unless its on_clear is "new".'
            if self.in_doubt
            else "A rate-limited submit costs nothing.",
        )


_WHY_STOPPED = (
    "the task was cleared or marked, or another triggerer took it over (Airflow does not say which)."
)


def _require_own(hedra: Hedra, generation_id: str, hedra_conn_id: str) -> None:
    """Reject a generation of another version of Hedra's API: the key was replaced during the wait."""
    from hedra_provider.api.errors import HedraValueError

    try:
        hedra.require_own(generation_id)
    except HedraValueError as error:
        error.generation_id = generation_id
        error.remedy = (
            f"Put the key that submitted it back into the connection {hedra_conn_id}, and clear the task: it "
            'adopts the generation, unless its on_clear is "new". Nothing was submitted with the other key.'
        )
        raise


def _retry_slots(hedra_conn_id: str) -> RetrySlots:
    """Return the retry slots of a connection on the running loop."""
    from hedra_provider.polling.rate_limit import RetrySlots

    slots = _RETRY_SLOTS.setdefault(asyncio.get_running_loop(), {})
    return slots.setdefault(hedra_conn_id, RetrySlots())


async def _with_client(trigger: HedraCreditsTrigger, wait: Callable[[HedraSettings], Call[T]]) -> T:
    """Wait with one client. If Hedra rejects its key, read the connection again, once: keys are rotated."""
    from hedra_provider.api.errors import HedraAuthenticationError

    key_was_read_again = False
    while True:
        settings = await read_connection(trigger.hedra_conn_id, again=key_was_read_again)
        try:
            async with await open_async_client(settings) as client:
                return await client.run(wait(settings))
        except HedraAuthenticationError:
            if key_was_read_again:
                raise
            key_was_read_again = True
            trigger.log.warning(
                "Hedra rejected the API key; reading connection %s again.", trigger.hedra_conn_id
            )


async def _outcome(wait: Coroutine[Any, Any, T]) -> tuple[T | None, dict[str, Any]]:
    """Return the result of a wait, or None and the ``outcome`` and ``failure`` of the event."""
    from hedra_provider.api.errors import HedraError, HedraWaitTimeoutError

    try:
        return await wait, {}
    except HedraWaitTimeoutError as error:
        return None, failed(error, "timeout")
    except HedraError as error:
        return None, failed(error)
