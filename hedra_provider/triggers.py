"""The triggers, which wait in the triggerer without a worker. They only read: a triggerer that dies and
starts again costs nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from airflow.triggers.base import BaseTrigger, TriggerEvent

from hedra_provider.connection import open_async_client, read_connection
from hedra_provider.events import EVENT_VERSION, failed, told
from hedra_provider.poller import wait_for_generation

if TYPE_CHECKING:
    from hedra_provider.api.answers import Generation
    from hedra_provider.api.calls import Call
    from hedra_provider.api.pacing import Turns

T = TypeVar("T")

FIRST_LOOK_SECONDS = 3.0
"""How long the trigger waits before its first look. The task has just looked; and a scheduler under load
may fail a task that is back from the triggerer before it noticed that the task went there (seen on 3.3.2).
"""

DEFER_GRACE_SECONDS = 300.0
"""How much later than the trigger's own deadline Airflow's cruder one strikes."""

_TURNS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Turns]] = WeakKeyDictionary()


class HedraGenerationTrigger(BaseTrigger):
    """
    Wait until generations are complete or failed: one, or all the variations of a batch.

    Fires one event: ``{"version", "generation_ids", "outcome", "generations", "failure"}``. ``outcome`` is
    ``finished`` (then ``generations`` holds what Hedra said of each, without URLs), ``timeout`` or ``failed``
    (then ``failure`` holds ``kind``, ``message``, ``retryable``, ``retry_after`` and ``generation_id``).

    :param generation_ids: The generations.
    :param hedra_conn_id: The Airflow connection.
    :param poll_interval: Seconds between two looks at the most.
    :param end_time: Epoch seconds at which the wait is given up. Not a monotonic time: another triggerer, on
        another machine, may go on with it.
    :param cost: What they cost, for the log; None where that can't be told.
    """

    def __init__(
        self,
        *,
        generation_ids: Sequence[str],
        end_time: float,
        hedra_conn_id: str = "hedra_default",
        poll_interval: float = 15.0,
        cost: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call,unused-ignore]
        self.generation_ids = list(generation_ids)
        self.end_time = end_time
        self.hedra_conn_id = hedra_conn_id
        self.poll_interval = poll_interval
        self.cost = cost

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
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire the one event."""
        event: dict[str, Any] = {"version": EVENT_VERSION, "generation_ids": self.generation_ids}
        event |= {"generations": [], "failure": None}
        generations, failure = await _outcome(self._wait())
        if generations is not None:
            facts = [told(generation) for generation in generations]
            yield TriggerEvent(event | {"outcome": "finished", "generations": facts})
        else:
            yield TriggerEvent(event | failure)

    async def _wait(self) -> list[Generation]:
        """Wait for all of them together; the first error is that of all."""
        from hedra_provider.api.waiting import ProgressLog

        waits = [
            asyncio.create_task(
                wait_for_generation(
                    self.hedra_conn_id,
                    generation_id,
                    deadline=self.end_time,
                    poll_interval=self.poll_interval,
                    log=ProgressLog(self.log.info),
                    warn=self.log.warning,
                    first_look_after=min(self.poll_interval, FIRST_LOOK_SECONDS),
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
        """Say what runs on when the deferred task is cleared or marked by hand; Airflow 3.3 calls this."""
        self.log.warning(
            "The task is being stopped. Generation %s runs on at Hedra and costs %s. Clear the task that "
            'submitted it: it adopts that generation without paying again, unless its on_clear is "new".',
            ", ".join(self.generation_ids),
            self.cost or "what Hedra charges",
        )


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

        available, failure = await _outcome(_with_client(self, wait))
        event = {"version": EVENT_VERSION, "available": available, "failure": None}
        yield TriggerEvent(event | (failure or {"outcome": "enough"}))


class HedraTurnTrigger(BaseTrigger):
    """
    Wait until it is a task's turn to submit again, after Hedra refused it for its rate limit.

    Tasks that were refused together do not come back together: one triggerer lets one task of a connection go
    every second. Asks Hedra nothing. Fires one event: ``{"version", "outcome", "first_id", "request", "cost",
    "refused_since", "in_doubt"}``, ``outcome`` being ``turn``; the others are what the task left here.

    :param resume_at: Epoch seconds before which it is not this task's turn.
    :param end_time: Epoch seconds at which it is its turn in any case, however many others wait.
    :param refused_since: Epoch seconds of the first refusal.
    :param first_id: The first generation id of the task's key, which tells whose turn it is.
    :param request: The body to submit, as JSON text: an event goes into columns that do not take every text
        (a NUL on PostgreSQL). None: it is to be made anew.
    :param cost: What it costs by the estimate.
    :param in_doubt: Whether a submit before may have been taken, and is to be searched for.
    :param hedra_conn_id: The Airflow connection.
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
        """Wait for the turn, and fire the one event."""
        await asyncio.sleep(max(0.0, self.resume_at - time.time()))
        turn = _turns(self.hedra_conn_id).take(time.monotonic())
        # Beyond its end Airflow would fail the task, and not say why.
        await asyncio.sleep(min(turn, max(0.0, self.end_time - time.time())))
        event = {"version": EVENT_VERSION, "outcome": "turn", "refused_since": self.refused_since}
        left = {"first_id": self.first_id, "request": self.request, "cost": self.cost}
        yield TriggerEvent(event | left | {"in_doubt": self.in_doubt})

    async def on_kill(self) -> None:
        """Say what may be paid when the task is cleared or marked by hand; Airflow 3.3 calls this."""
        self.log.warning(
            "The task is being stopped while it waits for its turn. %s",
            "A submit whose answer was lost may have been taken, and paid for. Clear the task: it looks for "
            'that first, unless its on_clear is "new".'
            if self.in_doubt
            else "What Hedra refused costs nothing.",
        )


def _turns(hedra_conn_id: str) -> Turns:
    """Return the turns of a connection on the running loop."""
    from hedra_provider.api.pacing import Turns

    of_this_loop = _TURNS.setdefault(asyncio.get_running_loop(), {})
    return of_this_loop.setdefault(hedra_conn_id, Turns())


async def _with_client(trigger: HedraCreditsTrigger, wait: Callable[[], Call[T]]) -> T:
    """Wait over one client; a key that was rotated meanwhile is read anew, once."""
    from hedra_provider.api.errors import HedraAuthenticationError

    key_was_read_anew = False
    while True:
        settings = await read_connection(trigger.hedra_conn_id, anew=key_was_read_anew)
        try:
            async with await open_async_client(settings) as client:
                return await client.run(wait())
        except HedraAuthenticationError:
            if key_was_read_anew:
                raise
            key_was_read_anew = True
            trigger.log.warning("Hedra refused the key; reading connection %s anew.", trigger.hedra_conn_id)


async def _outcome(wait: Coroutine[Any, Any, T]) -> tuple[T | None, dict[str, Any]]:
    """Return what a wait brought, or None and the ``outcome`` and ``failure`` of the event."""
    from hedra_provider.api.errors import HedraError, HedraWaitTimeoutError

    try:
        return await wait, {}
    except HedraWaitTimeoutError as error:
        return None, failed(error, "timeout")
    except HedraError as error:
        return None, failed(error)


def patience_seconds(task: Any) -> float:
    """
    Return how long a task waits.

    Airflow does not enforce ``execution_timeout`` after a deferral, so the earlier of the two counts.

    :param task: An operator or sensor with ``timeout`` and ``execution_timeout``.
    """
    limit = task.execution_timeout
    return float(min(task.timeout, limit.total_seconds()) if limit else task.timeout)


def deferral(
    trigger: HedraGenerationTrigger | HedraCreditsTrigger | HedraTurnTrigger,
    *,
    end_time: float,
    method_name: str = "execute_complete",
) -> dict[str, Any]:
    """
    Return the arguments of ``defer()`` for a trigger: Airflow's own time limit is the later one.

    :param end_time: Epoch seconds at which the trigger gives up, or has fired. The method is told: what it
        has to wait for again ends then too.
    :param method_name: Where the task goes on.
    """
    patience = max(0.0, end_time - time.time())
    return {
        "trigger": trigger,
        "method_name": method_name,
        "kwargs": {"end_time": end_time},
        "timeout": timedelta(seconds=patience + DEFER_GRACE_SECONDS),
    }
