"""The poller: one object for each event loop and connection polls the generations of all deferred tasks.

Triggers call :func:`wait_for_generation`. The first wait starts the poller, the last one ends it. Meanwhile
the poller holds one client with few connections and polls all generations together. It makes no decisions:
the planner of the connection's API version (:mod:`hedra_provider.polling.planners`) decides what to poll and
when, and what an answer means is decided by :mod:`hedra_provider.polling.wait`.

In Airflow, the context of a coroutine decides which task's log receives a line. So the poller's own task
starts with an empty context, and each wait logs in its own coroutine, from the updates in its
:class:`Mailbox`.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from hedra_provider.connection import open_async_client, read_connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from hedra_provider.api.client import AsyncHedraClient
    from hedra_provider.api.errors import HedraError
    from hedra_provider.connection_fields import HedraSettings
    from hedra_provider.polling.base_planner import AnyPoll, BasePlanner
    from hedra_provider.polling.tracked import Subscription, Update
    from hedra_provider.records import Generation

MAX_CONNECTIONS = 4
"""Connections to Hedra, and polls in flight, of one poller."""

POLL_TIMEOUT_SECONDS = 20.0
"""Seconds that a poll waits for the next byte, if the connection sets no ``timeout``."""

WHOLE_POLL_SECONDS = 60.0
"""Seconds for a whole poll, in addition to the connection's ``timeout``: it holds one of few connections."""

KEEP_ALIVE_SECONDS = 4.0
"""Seconds that an idle connection stays open. Many servers close theirs after 5 s, and a request that is sent
at that moment is lost."""

WOKEN_TOGETHER = 10
"""Waits that wake in one step of the event loop. Each blocks the loop for a fraction of a millisecond."""

log = logging.getLogger(__name__)


class Clock:
    """The poller's clock; tests replace it."""

    def now(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()

    def epoch(self) -> float:
        """Return epoch seconds."""
        return time.time()

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Wait until the event is set, at most for so many seconds; infinity means without end."""
        if event.is_set():
            return
        try:
            async with asyncio.timeout(None if seconds == float("inf") else seconds):
                await event.wait()
        except TimeoutError:
            return


CLOCK = Clock()

_POLLERS: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.WeakValueDictionary[str, Poller]] = (
    weakref.WeakKeyDictionary()
)
"""By loop and by the fingerprint of the connection. The references are weak: waits keep a poller alive."""


async def wait_for_generation(
    hedra_conn_id: str,
    generation_id: str,
    *,
    deadline: float,
    poll_interval: float,
    log: Callable[[str], None],
    warn: Callable[[str], None],
    first_poll_after: float = 0.0,
    time_limit: str | None = None,
) -> Generation:
    """
    Wait until a generation is complete or failed, by the poller of the running loop.

    :param hedra_conn_id: The Airflow connection.
    :param generation_id: The generation's id.
    :param deadline: Epoch seconds at which the wait ends.
    :param poll_interval: Seconds between two polls at most.
    :param log: Receives a line for each update; called in the context of this coroutine.
    :param warn: Receives a line for each error that does not end the wait; called likewise.
    :param first_poll_after: Seconds until the first poll; 0 by default.
    :param time_limit: What set the deadline, for messages; ``"timeout"`` by default.
    :return: The finished generation: its status is ``complete`` or ``error``.
    :raises HedraWaitTimeoutError: At the deadline; the generation continues at Hedra.
    :raises HedraNotFoundError: If Hedra has not known the id for two minutes.
    :raises HedraError: An error that is not retryable, or the last of eight failures in a row.
    """
    from hedra_provider.polling.progress import progress_line
    from hedra_provider.polling.tracked import Ended, Progressed, Subscription
    from hedra_provider.polling.wait import Failed

    settings = await read_connection(hedra_conn_id)
    began, left = CLOCK.now(), deadline - time.time()
    mailbox = Mailbox(hedra_conn_id)
    subscription = Subscription(
        generation_id,
        mailbox.put,
        began=began,
        deadline=began + left,
        poll_interval=poll_interval,
        time_limit=time_limit,
    )
    poller_of(settings).add(mailbox, subscription, first_poll_after)
    try:
        async with asyncio.timeout(subscription.gives_up_at - began):
            while True:
                update = await mailbox.next_update()
                if isinstance(update, Progressed):
                    log(progress_line(update.generation, CLOCK.now() - began, update.next_poll_seconds))
                elif isinstance(update, Ended):
                    if isinstance(update.result, BaseException):
                        raise update.result
                    log(progress_line(update.result, CLOCK.now() - began))
                    return update.result
                else:
                    warn(update.message)
    except TimeoutError:
        over = subscription.on_deadline(CLOCK.now())
        if isinstance(over, Failed):
            raise over.error from None
        log(progress_line(over.result, CLOCK.now() - began))
        ended: Generation = over.result
        return ended
    finally:
        mailbox.leave()


def poller_of(settings: HedraSettings) -> Poller:
    """Return the running loop's poller for a connection; start a new one if there is none."""
    loop = asyncio.get_running_loop()
    pollers = _POLLERS.get(loop)
    if pollers is None:
        pollers = _POLLERS[loop] = weakref.WeakValueDictionary()
    poller = pollers.get(settings.fingerprint)
    if poller is None or poller.has_ended:
        poller = pollers[settings.fingerprint] = Poller(settings)
    return poller


class Mailbox:
    """
    The updates for one waiting coroutine.

    :param hedra_conn_id: The Airflow connection of the wait.
    """

    def __init__(self, hedra_conn_id: str) -> None:
        self.hedra_conn_id = hedra_conn_id
        self.poller: Poller | None = None
        self.subscription: Subscription | None = None
        self._updates: list[Update] = []
        self._arrived: asyncio.Future[None] | None = None

    def put(self, update: Update) -> None:
        """Store an update and wake the coroutine."""
        self._updates.append(update)
        if self.poller is not None:
            self.poller.wake(self)

    def wake(self) -> None:
        """Wake the coroutine that waits for an update."""
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    async def next_update(self) -> Update:
        """Wait for an update."""
        while not self._updates:
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        return self._updates.pop(0)

    def leave(self) -> None:
        """End the wait."""
        if self.poller is not None:
            self.poller.drop(self)


class Poller:
    """
    Poll the generations of all waits that share a connection and an event loop. The last wait ends it.

    :param settings: The settings of the connection.
    """

    def __init__(self, settings: HedraSettings) -> None:
        from hedra_provider.polling.planners import planner_for

        self.settings = settings
        self.has_ended = False
        self._planner: BasePlanner = planner_for(
            settings.api_version, jitter=random.random, requests_per_minute=settings.requests_per_minute
        )
        self._mailboxes: dict[Subscription, Mailbox] = {}
        self._to_wake: deque[Mailbox] = deque()
        self._changed = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()
        self._key_was_read_again = False
        self._reading = False
        self._read_at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def add(self, mailbox: Mailbox, subscription: Subscription, first_poll_after: float = 0.0) -> None:
        """
        Begin a wait, or take one over from another poller.

        :param mailbox: Receives the updates of the subscription.
        :param subscription: The wait's interest in one generation.
        :param first_poll_after: Seconds until the first poll; 0 by default.
        """
        mailbox.poller, mailbox.subscription = self, subscription
        self._mailboxes[subscription] = mailbox
        self._planner.add(subscription, CLOCK.now(), first_poll_after)
        self._changed.set()
        if self._task is None:
            # An empty context: with a trigger's context, the poller would log into that one task's log.
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name="hedra-poller", context=contextvars.Context()
            )

    def drop(self, mailbox: Mailbox) -> None:
        """End a wait without a last update."""
        subscription = mailbox.subscription
        if subscription is not None and self._mailboxes.pop(subscription, None) is not None:
            self._planner.drop(subscription)
            self._changed.set()

    def wake(self, mailbox: Mailbox) -> None:
        """Wake a wait that has an update. Few wake at a time: one answer can end hundreds of waits."""
        self._to_wake.append(mailbox)
        if len(self._to_wake) == 1:
            asyncio.get_running_loop().call_soon(self._wake_some)

    def _wake_some(self) -> None:
        for _ in range(min(WOKEN_TOGETHER, len(self._to_wake))):
            self._to_wake.popleft().wake()
        if self._to_wake:
            asyncio.get_running_loop().call_soon(self._wake_some)

    async def _run(self) -> None:
        from hedra_provider.api.errors import HedraError

        try:
            async with await _client(self.settings) as client:
                try:
                    await self._poll(client)
                finally:
                    for task in self._sending:
                        task.cancel()
                    await asyncio.gather(*self._sending, return_exceptions=True)
        except asyncio.CancelledError:
            self._planner.fail_all(HedraError("The poller was cancelled.", retryable=True))
            raise
        except Exception as error:
            # Nothing awaits this task, so the waits are notified here.
            log.exception("The poller of Hedra's generations failed.")
            what = f"The poller failed: {type(error).__name__}."
            failure = error if isinstance(error, HedraError) else HedraError(what, retryable=True)
            self._planner.fail_all(failure)
        finally:
            self.has_ended = True

    async def _poll(self, client: AsyncHedraClient) -> None:
        while len(self._planner):
            self._changed.clear()
            while len(self._sending) < MAX_CONNECTIONS and not self._reading:
                poll = self._planner.next_poll(CLOCK.now())
                if poll is None:
                    break
                task = asyncio.create_task(self._send(client, poll), name="hedra-poll")
                self._sending.add(task)
                task.add_done_callback(self._sent)
            now = CLOCK.now()
            is_free = len(self._sending) < MAX_CONNECTIONS and not self._reading
            at = self._planner.next_time(now) if is_free else float("inf")
            await CLOCK.wait(self._changed, at - now)
        # From here on a new wait gets another poller. No await lies between the loop's end and this line.
        self.has_ended = True

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error(
                "A poll raised an unexpected exception; its generations are polled again.", exc_info=error
            )

    async def _send(self, client: AsyncHedraClient, poll: AnyPoll) -> None:
        """Send one poll. A slow poll delays only its own generations."""
        from hedra_provider.api import errors

        seconds = WHOLE_POLL_SECONDS + (self.settings.timeout or 0.0)
        try:
            try:
                async with asyncio.timeout(seconds):
                    answer = await client.run(poll.call())
            finally:
                # A 429 has the headers too, so the planner knows them before it gets the error.
                self._note_limits(client)
            # Parsing the answer blocked the loop, and notifying the waits blocks it again: yield in between.
            await asyncio.sleep(0)
            self._key_was_read_again = False
            self._planner.on_answer(poll, answer, CLOCK.now())
        except errors.HedraAuthenticationError as error:
            await self._on_rejected_key(poll, error)
        except errors.HedraError as error:
            self._planner.on_error(poll, error, CLOCK.now())
        except TimeoutError:
            slow = errors.HedraTransportError(f"No whole answer within {seconds:.0f} s.")
            self._planner.on_error(poll, slow, CLOCK.now())
        except Exception as error:
            # Treat an unexpected exception like an unreadable answer: batches shrink until the bad row is
            # isolated, and its waits get the error.
            odd = errors.HedraProtocolError(f"{type(error).__name__} in a poll.")
            self._planner.on_error(poll, odd, CLOCK.now())
            raise
        if (notice := self._planner.take_notice()) is not None:
            log.warning(notice)

    def _note_limits(self, client: AsyncHedraClient) -> None:
        """Pass on what the last answer says of the rate limit."""
        limits = client.rate_limit
        if limits is not None:
            reset_at = limits.reset_at
            self._planner.limits_shown(
                limit=limits.limit,
                remaining=limits.remaining,
                reset_seconds=None if reset_at is None else reset_at - CLOCK.epoch(),
                now=CLOCK.now(),
            )

    async def _on_rejected_key(self, poll: AnyPoll, error: HedraError) -> None:
        """Read the connection again, once: its key may have been rotated."""
        if self._reading or poll.sent_at < self._read_at:
            self._planner.requeue(poll, CLOCK.now())
            return
        if self._key_was_read_again:
            self._planner.fail_all(error)
            return
        self._key_was_read_again = self._reading = True
        try:
            for conn_id in {mailbox.hedra_conn_id for mailbox in self._mailboxes.values()}:
                await self._read_again(conn_id)
        finally:
            self._reading = False
            self._read_at = CLOCK.now()
            self._planner.requeue(poll, CLOCK.now())

    async def _read_again(self, hedra_conn_id: str) -> None:
        """Read a connection again, and move its waits to a poller with the new settings."""
        from hedra_provider.api.errors import HedraError
        from hedra_provider.polling.tracked import Ended, Warned, for_one

        found: HedraSettings | HedraError
        try:
            found = await read_connection(hedra_conn_id, again=True)
        except HedraError as error:
            found = error
        except Exception as error:  # noqa: BLE001  handed to the waits
            what = f"Connection {hedra_conn_id} could not be read: {type(error).__name__}."
            found = HedraError(what, retryable=True)
        theirs = [pair for pair in self._mailboxes.items() if pair[1].hedra_conn_id == hedra_conn_id]
        for subscription, mailbox in theirs:
            mailbox.put(Warned(f"Hedra rejected the API key; connection {hedra_conn_id} was read again."))
            if isinstance(found, HedraError):
                self.drop(mailbox)
                mailbox.put(Ended(for_one(found, subscription.generation_id)))
            elif found.fingerprint != self.settings.fingerprint:
                self.drop(mailbox)
                successor = poller_of(found)
                successor._key_was_read_again |= not successor._mailboxes
                successor.add(mailbox, subscription)


async def _client(settings: HedraSettings) -> AsyncHedraClient:
    """Make a client that repeats no request: repeating would hide a 429 from the poller."""
    import httpx

    limits = httpx.Limits(
        max_connections=MAX_CONNECTIONS,
        max_keepalive_connections=MAX_CONNECTIONS,
        keepalive_expiry=KEEP_ALIVE_SECONDS,
    )
    options: dict[str, Any] = {"limits": limits, "repeat": False}
    if settings.timeout is None:
        options["timeout"] = httpx.Timeout(POLL_TIMEOUT_SECONDS, connect=10.0)
    return await open_async_client(settings, **options)
