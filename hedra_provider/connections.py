"""What an Airflow connection says, read once for all who ask for it at the same time.

A thousand triggers that begin together would send a thousand questions to Airflow's secrets backends, all of
them through the one supervisor of the triggerer.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import weakref
from typing import TYPE_CHECKING

from hedra_provider.hooks import HedraHook

if TYPE_CHECKING:
    from hedra_provider.hooks import HedraSettings

READING_SECONDS = 60.0
"""How long a reading may take: all who ask meanwhile wait with it."""

_READING: weakref.WeakKeyDictionary[
    asyncio.AbstractEventLoop, weakref.WeakValueDictionary[str, asyncio.Task[HedraSettings]]
] = weakref.WeakKeyDictionary()
"""By loop and connection, as long as it is being read. What was read is not kept: it may change. Those who
wait hold the task; held here, it would hold its loop."""


async def read_connection(hedra_conn_id: str, *, anew: bool = False) -> HedraSettings:
    """
    Return what a connection says now. Who asks while it is being read gets what that brings.

    :param hedra_conn_id: The Airflow connection.
    :param anew: Whether a reading that began before does not count: what it brings was refused.
    :raises HedraConfigurationError: If there is none, it can't work, or it could not be read.
    """
    from hedra_provider.api.errors import HedraError

    readings = _READING.setdefault(asyncio.get_running_loop(), weakref.WeakValueDictionary())
    reading = readings.get(hedra_conn_id)
    if reading is None or anew:
        # Nobody's task: whoever began it may be cancelled, and its context says whose log a line goes to.
        reading = readings[hedra_conn_id] = asyncio.create_task(
            _read(hedra_conn_id), name="hedra-connection", context=contextvars.Context()
        )

        def forget(task: asyncio.Task[HedraSettings]) -> None:
            if readings.get(hedra_conn_id) is task:
                del readings[hedra_conn_id]
            if not task.cancelled():
                # All who asked may have gone: then nobody hears of its error, and asyncio would complain.
                task.exception()

        reading.add_done_callback(forget)
    try:
        return await asyncio.shield(reading)
    except HedraError as error:
        # One of each reader's own: a raised exception collects tracebacks.
        raise copy.copy(error) from error


async def _read(hedra_conn_id: str) -> HedraSettings:
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    from hedra_provider.api.errors import HedraConfigurationError

    try:
        async with asyncio.timeout(READING_SECONDS):
            return await HedraHook(hedra_conn_id).get_async_settings()
    except AirflowNotFoundException as error:
        # In a triggerer Airflow says so, too, when its API server or a secrets backend is away for a moment.
        raise HedraConfigurationError(str(error), retryable=True) from error
    except TimeoutError:
        what = f"Connection {hedra_conn_id} could not be read within {READING_SECONDS:.0f} s."
        raise HedraConfigurationError(what, retryable=True) from None
