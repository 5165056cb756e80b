"""An Airflow connection of type ``hedra``: parsed, checked, and read once for all who ask for it together.

Whatever a field holds that can't work is refused here, before anything is sent, in a worker, in a trigger and
by the form's test button alike. Nothing that a connection says is ignored: a misspelled ``workspace_id``
would bill another workspace.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import os
import re
import socket
import weakref
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from hedra_provider.api.client import AsyncHedraClient
    from hedra_provider.api.errors import HedraConfigurationError
    from hedra_provider.connection_fields import HedraSettings

READING_SECONDS = 60.0
"""How long a reading may take: all who ask meanwhile wait with it."""

_READING: weakref.WeakKeyDictionary[
    asyncio.AbstractEventLoop, weakref.WeakValueDictionary[str, asyncio.Task[HedraSettings]]
] = weakref.WeakKeyDictionary()
"""By loop and connection, as long as it is being read. What was read is not kept: it may change. Those who
wait hold the task; held here, it would hold its loop."""


def look_up(conn_id: str) -> Connection:
    """
    Return Airflow's connection, on a worker or in the API server.

    :raises AirflowNotFoundException: If Airflow finds none.
    :raises HedraConfigurationError: If the environment defines it in a way that Airflow can't read.
    """
    try:
        return BaseHook.get_connection(conn_id)
    except (AirflowNotFoundException, ValueError):
        _blame_environment(conn_id)
        raise


async def look_up_async(conn_id: str) -> Connection:
    """Return Airflow's connection without blocking the event loop; raises as :func:`look_up` does."""
    from airflow.providers.common.compat.connection import get_async_connection

    if _lacks_async_look_up():
        return await asyncio.to_thread(look_up, conn_id)
    try:
        return await get_async_connection(conn_id)
    except (AirflowNotFoundException, ValueError):
        _blame_environment(conn_id)
        raise


def _lacks_async_look_up() -> bool:
    """
    Tell whether ``BaseHook.aget_connection`` finds nothing here but in the environment.

    ``dag.test()`` of Airflow 3.3 runs a trigger with a stand-in for the supervisor that has no ``asend``;
    Airflow hides the AttributeError and says that the connection isn't defined (seen on 3.3.2).
    """
    from airflow.sdk.execution_time import task_runner

    comms = getattr(task_runner, "SUPERVISOR_COMMS", None)
    return hasattr(BaseHook, "aget_connection") and comms is not None and not hasattr(comms, "asend")


def _blame_environment(conn_id: str) -> None:
    """Raise if the environment defines a connection that Airflow can't read: it says "isn't defined" then."""
    from hedra_provider.api.errors import HedraConfigurationError

    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    if os.environ.get(variable):
        # Neither its value nor Airflow's words of it: they may hold the key.
        raise HedraConfigurationError(
            f"Airflow can't read the environment variable {variable}: it is neither a JSON object nor a URI "
            "of a connection, its port is no number, or its extra is no JSON object.",
            param=variable,
            remedy='Give e.g. {"conn_type": "hedra", "password": "YOUR KEY"}.',
        ) from None


def read_sync(conn_id: str) -> HedraSettings:
    """
    Read what a connection says, on a worker.

    :raises HedraConfigurationError: If it can't work; it names the field.
    :raises AirflowNotFoundException: If Airflow finds none.
    """
    return _settings(conn_id, look_up(_require_conn_id(conn_id)))


async def read_async(conn_id: str) -> HedraSettings:
    """Read what a connection says, on an event loop and each time again; raises as :func:`read_sync`."""
    return _settings(conn_id, await look_up_async(_require_conn_id(conn_id)))


def _settings(conn_id: str, connection: Connection) -> HedraSettings:
    from hedra_provider.api.errors import HedraConfigurationError
    from hedra_provider.connection_fields import STANDARD_FIELDS, parse_connection

    try:
        return parse_connection(connection)
    except HedraConfigurationError as error:
        # The form's labels come first; who defines connections elsewhere needs the names behind them.
        place = error.param if error.param in STANDARD_FIELDS else f"extra {error.param}"
        error.remedy = f"{error.remedy or ''} (Connection {conn_id!r}, {place}.)".lstrip()
        raise


def _require_conn_id(value: Any) -> str:
    """Refuse what can't be the id of a connection before a secrets backend is asked for it."""
    from hedra_provider.api.errors import HedraValueError
    from hedra_provider.api.redaction import shown

    if not isinstance(value, str) or not re.fullmatch(r"[\w#!()\-.:/\\]{1,250}", value):
        raise HedraValueError(
            f"hedra_conn_id: {shown(value)} is no id of a connection.", param="hedra_conn_id"
        )
    return value


async def read_connection(hedra_conn_id: str, *, again: bool = False) -> HedraSettings:
    """
    Return what a connection says now, in a triggerer. Callers that come while it is read share the reading.

    Else a thousand triggers that begin together would send a thousand questions to Airflow's secrets
    backends, all of them through the one supervisor of the triggerer.

    :param hedra_conn_id: The Airflow connection.
    :param again: Whether a reading that began before does not count: Hedra rejected its key.
    :raises HedraConfigurationError: If there is none, it can't work, or it could not be read.
    """
    from hedra_provider.api.errors import HedraError

    readings = _READING.setdefault(asyncio.get_running_loop(), weakref.WeakValueDictionary())
    reading = readings.get(hedra_conn_id)
    if reading is None or again:
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
    from hedra_provider.api.errors import HedraConfigurationError

    try:
        async with asyncio.timeout(READING_SECONDS):
            return await read_async(hedra_conn_id)
    except AirflowNotFoundException:
        raise not_in_triggerer(hedra_conn_id) from None
    except TimeoutError:
        what = (
            f"Connection {hedra_conn_id!r} could not be read in the triggerer within {READING_SECONDS:.0f} s."
        )
        raise HedraConfigurationError(what, retryable=True) from None


def not_in_triggerer(conn_id: str) -> HedraConfigurationError:
    """
    Return the error for a connection that Airflow does not find in a triggerer.

    It is retryable: Airflow says the same while its API server or a secrets backend does not answer.
    """
    from hedra_provider.api.errors import HedraConfigurationError

    return HedraConfigurationError(
        f"Connection {conn_id!r} was not found in the triggerer (on {socket.gethostname()}): the triggerer "
        "lacks it, or Airflow's API server or secrets backend did not answer.",
        retryable=True,
        remedy="Define it for triggerers too, not for workers alone: store it in Airflow (`airflow "
        f"connections add`), or give every triggerer AIRFLOW_CONN_{conn_id.upper()} or the secrets backend.",
    )


def check_async_reading(conn_id: str) -> None:
    """
    Read a connection the way a trigger reads it: a deferral that can't do that must not follow a paid submit.

    What only the triggerer's own environment lacks is not seen from here.

    :raises HedraConfigurationError: If that does not work in this process.
    """
    from concurrent.futures import ThreadPoolExecutor

    from hedra_provider.api.errors import HedraConfigurationError

    # A loop of its own in a thread of its own: the caller may run in a loop already, as in a notebook.
    with ThreadPoolExecutor(1, thread_name_prefix="hedra-connection") as thread:
        try:
            thread.submit(asyncio.run, read_async(conn_id)).result()
        except AirflowNotFoundException:
            raise HedraConfigurationError(
                f"Connection {conn_id!r} was found by this task, but not in the way a trigger looks it up: "
                "the wait could not read it. Nothing was submitted.",
                retryable=True,
                remedy="If a retry says the same, set deferrable=False.",
            ) from None


async def open_async_client(settings: HedraSettings, **options: Any) -> AsyncHedraClient:
    """
    Return a new client for the running event loop.

    :param settings: What the connection says.
    :param options: Further arguments of the client; they go before those of the settings.
    :raises HedraConfigurationError: If certificates or proxies can't be used.
    """
    from hedra_provider.api.client import AsyncHedraClient
    from hedra_provider.api.network import ssl_context

    # The first time it takes 50 ms, in which no other trigger of the loop could go on.
    await asyncio.to_thread(ssl_context, settings.verify)
    return AsyncHedraClient(**(settings.client_options() | options))
