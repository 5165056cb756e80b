"""One poller for all generations that are waited for on an event loop with one key.

Triggers call :func:`wait_for_generation`. The first one starts the poller, the last one ends it; between them
it holds one client with few connections and asks for all generations together. What is asked when is decided
by :mod:`hedra_provider.api.polling`.

The poller's task starts with an empty context: in Airflow the context says whose log a line goes to. What a
wait has to say is therefore said by the coroutine that waits.
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

    from hedra_provider.api.answers import Generation
    from hedra_provider.api.client import AsyncHedraClient
    from hedra_provider.api.errors import HedraError
    from hedra_provider.api.looks import Look, News, Wait
    from hedra_provider.api.polling import Polling
    from hedra_provider.api.waiting import ProgressLog
    from hedra_provider.connection_fields import HedraSettings

MAX_CONNECTIONS = 4

LOOK_SECONDS = 20.0
"""How long a look may wait for a byte, where the connection does not set a ``timeout``."""

WHOLE_LOOK_SECONDS = 60.0
"""How much longer than that a look may take in all: it holds one of few connections."""

KEEP_ALIVE_SECONDS = 4.0
"""Many servers close a connection that was idle for 5 s; a request that crosses with that is lost."""

LAST_LOOK_SECONDS = 60.0
"""How long after its deadline a wait still hopes for its last look, where the API is slow or says 429."""

WOKEN_TOGETHER = 10
"""What each of them does then takes a fraction of a millisecond, in which the loop stands still."""

log = logging.getLogger(__name__)


class Clock:
    """Time, as the poller sees it; a test puts another in its place."""

    def now(self) -> float:
        """Return seconds that never jump."""
        return time.monotonic()

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Wait until something happens, or so many seconds (infinity: for ever)."""
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
"""By loop and by the fingerprint of the connection. Who waits keeps a poller alive, not this."""


async def wait_for_generation(
    hedra_conn_id: str,
    generation_id: str,
    *,
    deadline: float,
    poll_interval: float,
    log: ProgressLog,
    warn: Callable[[str], None],
    first_look_after: float = 0.0,
) -> Generation:
    """
    Wait until a generation is complete or failed, by the poller of the running loop.

    :param hedra_conn_id: The Airflow connection.
    :param generation_id: The generation.
    :param deadline: Epoch seconds after which the wait is given up.
    :param poll_interval: Seconds between two looks at the most.
    :param log: Is shown what is news; called in the context of this coroutine.
    :param warn: Receives a line for each failed look; the same.
    :param first_look_after: Seconds until the first look.
    :return: The finished generation: its status is ``complete`` or ``error``.
    :raises HedraWaitTimeoutError: At the deadline; the generation runs on.
    :raises HedraNotFoundError: If Hedra has not known the id for two minutes.
    :raises HedraError: An error that can't get better, or the last of too many failures in a row.
    """
    from hedra_provider.api.looks import Ended, Seen
    from hedra_provider.api.waiting import timed_out

    settings = await read_connection(hedra_conn_id)
    began, left = CLOCK.now(), deadline - time.time()
    waiter = Waiter(hedra_conn_id)
    poller_of(settings).add(
        waiter, generation_id, began + left, poll_interval, first_look_after=first_look_after
    )
    try:
        async with asyncio.timeout(max(left, 0.0) + LAST_LOOK_SECONDS):
            while True:
                news = await waiter.next_news()
                if isinstance(news, Seen):
                    log.saw(news.generation, CLOCK.now() - began, news.next_look_seconds)
                elif isinstance(news, Ended):
                    if isinstance(news.result, BaseException):
                        raise news.result
                    log.saw(news.result, CLOCK.now() - began)
                    return news.result
                else:
                    warn(news.message)
    except TimeoutError:
        raise timed_out(generation_id, CLOCK.now() - began) from None
    finally:
        waiter.leave()


def poller_of(settings: HedraSettings) -> Poller:
    """Return the poller of the running loop for a connection, a new one where none is."""
    loop = asyncio.get_running_loop()
    pollers = _POLLERS.get(loop)
    if pollers is None:
        pollers = _POLLERS[loop] = weakref.WeakValueDictionary()
    poller = pollers.get(settings.fingerprint)
    if poller is None or poller.has_ended:
        poller = pollers[settings.fingerprint] = Poller(settings)
    return poller


class Waiter:
    """
    One who waits, and the news that have come for it.

    :param hedra_conn_id: The connection that it came with.
    """

    def __init__(self, hedra_conn_id: str) -> None:
        self.hedra_conn_id = hedra_conn_id
        self.poller: Poller | None = None
        self.wait: Wait | None = None
        self._news: list[News] = []
        self._arrived: asyncio.Future[None] | None = None

    def tell(self, news: News) -> None:
        """Receive news."""
        self._news.append(news)
        if self.poller is not None:
            self.poller.wake(self)

    def wake(self) -> None:
        """Let it see what has come."""
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    async def next_news(self) -> News:
        """Wait for news."""
        while not self._news:
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        return self._news.pop(0)

    def leave(self) -> None:
        """Wait no more."""
        if self.poller is not None:
            self.poller.drop(self)


class Poller:
    """
    Ask for the generations of all who wait with one key on one loop. Ends when nobody waits.

    :param settings: What their connection says.
    :param key_was_read_anew: Whether the connection was just read anew because Hedra refused the key.
    """

    def __init__(self, settings: HedraSettings, *, key_was_read_anew: bool = False) -> None:
        from hedra_provider.api.polling import Polling

        self.settings = settings
        self.has_ended = False
        self._polling: Polling = Polling(random.random)
        self._waiters: dict[Wait, Waiter] = {}
        self._to_wake: deque[Waiter] = deque()
        self._changed = asyncio.Event()
        self._asking: set[asyncio.Task[None]] = set()
        self._key_was_read_anew = key_was_read_anew
        self._reading = False
        self._read_at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def add(
        self,
        waiter: Waiter,
        generation_id: str,
        deadline: float,
        poll_interval: float,
        *,
        first_look_after: float = 0.0,
    ) -> None:
        """
        Begin a wait.

        :param deadline: On the poller's clock.
        """
        from hedra_provider.api.looks import Wait

        now = CLOCK.now()
        wait = Wait(generation_id, deadline, poll_interval, now, waiter.tell)
        self._take(waiter, wait, first_look_after)

    def _take(self, waiter: Waiter, wait: Wait, first_look_after: float) -> None:
        waiter.poller, waiter.wait = self, wait
        self._waiters[wait] = waiter
        self._polling.add(wait, CLOCK.now(), first_look_after)
        self._changed.set()
        if self._task is None:
            # A task made in a trigger would inherit its context, and log into the log of its task.
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name="hedra-poller", context=contextvars.Context()
            )

    def drop(self, waiter: Waiter) -> None:
        """End a wait without a word."""
        wait = waiter.wait
        if wait is not None and self._waiters.pop(wait, None) is not None:
            self._polling.drop(wait)
            self._changed.set()

    def wake(self, waiter: Waiter) -> None:
        """Wake one for whom there is news: a few at a time, as an answer may end hundreds of waits."""
        self._to_wake.append(waiter)
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
                    for task in self._asking:
                        task.cancel()
                    await asyncio.gather(*self._asking, return_exceptions=True)
        except asyncio.CancelledError:
            self._polling.fail_all(HedraError("The poller was cancelled.", retryable=True))
            raise
        except Exception as error:
            # Whoever waits must hear of it: nobody else awaits this task.
            log.exception("The poller of Hedra's generations failed.")
            what = f"The poller failed: {type(error).__name__}."
            failure = error if isinstance(error, HedraError) else HedraError(what, retryable=True)
            self._polling.fail_all(failure)
        finally:
            self.has_ended = True

    async def _poll(self, client: AsyncHedraClient) -> None:
        while len(self._polling):
            self._changed.clear()
            while len(self._asking) < MAX_CONNECTIONS and not self._reading:
                look = self._polling.next_look(CLOCK.now())
                if look is None:
                    break
                task = asyncio.create_task(self._ask(client, look), name="hedra-look")
                self._asking.add(task)
                task.add_done_callback(self._asked)
            now = CLOCK.now()
            is_free = len(self._asking) < MAX_CONNECTIONS and not self._reading
            at = self._polling.next_time(now) if is_free else float("inf")
            await CLOCK.wait(self._changed, at - now)
        # From here on whoever comes gets another poller; there is no await in between.
        self.has_ended = True

    def _asked(self, task: asyncio.Task[None]) -> None:
        self._asking.discard(task)
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("A look failed in a way that nobody thought of.", exc_info=error)

    async def _ask(self, client: AsyncHedraClient, look: Look) -> None:
        """Send one look. A slow one holds up nobody but those whom it is for."""
        from hedra_provider.api import errors

        seconds = WHOLE_LOOK_SECONDS + (self.settings.timeout or 0.0)
        try:
            async with asyncio.timeout(seconds):
                rows = await client.run(look.call())
            # What has come was read at length, and goes through many waits now: let others do theirs between.
            await asyncio.sleep(0)
            self._key_was_read_anew = False
            self._polling.saw(look, rows, CLOCK.now())
        except errors.HedraAuthenticationError as error:
            await self._refused(look, error)
        except errors.HedraError as error:
            self._polling.failed(look, error, CLOCK.now())
        except TimeoutError:
            slow = errors.HedraTransportError(f"No whole answer within {seconds:.0f} s.")
            self._polling.failed(look, slow, CLOCK.now())
        except Exception as error:
            # Like an answer that can't be read: it is found out which row it is, and nobody is left behind.
            odd = errors.HedraProtocolError(f"{type(error).__name__} in a look.")
            self._polling.failed(look, odd, CLOCK.now())
            raise

    async def _refused(self, look: Look, error: HedraError) -> None:
        """Read the connection anew, once: its key may have been rotated."""
        if self._reading or look.sent_at < self._read_at:
            self._polling.again(look, CLOCK.now())
            return
        if self._key_was_read_anew:
            self._polling.fail_all(error)
            return
        self._key_was_read_anew = self._reading = True
        try:
            for conn_id in {waiter.hedra_conn_id for waiter in self._waiters.values()}:
                await self._read_anew(conn_id)
        finally:
            self._reading = False
            self._read_at = CLOCK.now()
            self._polling.again(look, CLOCK.now())

    async def _read_anew(self, hedra_conn_id: str) -> None:
        """Let those who came with a connection go on with what it says now."""
        from hedra_provider.api.errors import HedraError
        from hedra_provider.api.looks import Ended, Trouble, for_one

        found: HedraSettings | HedraError
        try:
            found = await read_connection(hedra_conn_id, anew=True)
        except HedraError as error:
            found = error
        except Exception as error:  # noqa: BLE001  handed to those who wait
            what = f"Connection {hedra_conn_id} could not be read: {type(error).__name__}."
            found = HedraError(what, retryable=True)
        theirs = [pair for pair in self._waiters.items() if pair[1].hedra_conn_id == hedra_conn_id]
        for wait, waiter in theirs:
            waiter.tell(Trouble(f"Hedra refused the key; connection {hedra_conn_id} was read anew."))
            if isinstance(found, HedraError):
                self.drop(waiter)
                waiter.tell(Ended(for_one(found, wait.generation_id)))
            elif found.fingerprint != self.settings.fingerprint:
                self.drop(waiter)
                successor = poller_of(found)
                successor._key_was_read_anew |= not successor._waiters
                successor._take(waiter, wait, 0.0)


async def _client(settings: HedraSettings) -> AsyncHedraClient:
    """Make the client, which leaves repeating to the poller: a look that repeats itself would hide a 429."""
    import httpx

    limits = httpx.Limits(
        max_connections=MAX_CONNECTIONS,
        max_keepalive_connections=MAX_CONNECTIONS,
        keepalive_expiry=KEEP_ALIVE_SECONDS,
    )
    options: dict[str, Any] = {"limits": limits, "repeat": False}
    if settings.timeout is None:
        options["timeout"] = httpx.Timeout(LOOK_SECONDS, connect=10.0)
    return await open_async_client(settings, **options)
