"""Reads and validates Airflow connections of type ``hedra``. Concurrent readers share one lookup.

An invalid field raises HedraConfigurationError before anything is sent: in a worker, in a trigger and in the
form's test button alike. No field is ignored: a misspelled ``workspace_id`` would bill another workspace.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import copy
import logging
import os
import re
import socket
import weakref
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, mask_secret

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from hedra_provider.api.client import AsyncHedraClient
    from hedra_provider.api.errors import HedraConfigurationError
    from hedra_provider.connection_fields import HedraSettings

log = logging.getLogger(__name__)

READING_SECONDS = 60.0
"""Seconds that reading a connection may take. Concurrent readers wait for the same reading."""

_READING: weakref.WeakKeyDictionary[
    asyncio.AbstractEventLoop, weakref.WeakValueDictionary[str, asyncio.Task[HedraSettings]]
] = weakref.WeakKeyDictionary()
"""The tasks that are reading, by loop and connection. Settings are not cached, as they may change. The
references are weak: a strong reference to a task would keep its loop alive."""


def look_up(conn_id: str) -> Connection:
    """
    Return Airflow's connection, on a worker or in the API server.

    :param conn_id: The connection's id.
    :raises AirflowNotFoundException: If Airflow has no such connection.
    :raises HedraConfigurationError: If an environment variable defines it, and Airflow can't read the
        variable.
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
    Return whether ``BaseHook.aget_connection`` finds only connections of the environment here.

    ``dag.test()`` of Airflow 3.3 runs a trigger with a substitute for the supervisor that has no ``asend``.
    Airflow hides the AttributeError and says that the connection isn't defined (seen on 3.3.2).
    """
    from airflow.sdk.execution_time import task_runner

    comms = getattr(task_runner, "SUPERVISOR_COMMS", None)
    return hasattr(BaseHook, "aget_connection") and comms is not None and not hasattr(comms, "asend")


def _blame_environment(conn_id: str) -> None:
    """Raise if an environment variable is invalid: Airflow itself would say that it "isn't defined"."""
    from hedra_provider.api.errors import HedraConfigurationError

    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    if os.environ.get(variable):
        # The message repeats neither the value nor Airflow's error: both may hold the key.
        raise HedraConfigurationError(
            f"Airflow can't read the environment variable {variable}: it is neither a JSON object nor a URI "
            "of a connection, its port is no number, or its extra is no JSON object.",
            param=variable,
            remedy='Give e.g. {"conn_type": "hedra", "password": "YOUR KEY"}.',
        ) from None


def read_sync(conn_id: str) -> HedraSettings:
    """
    Read the settings of a connection, on a worker.

    :param conn_id: The connection's id.
    :raises HedraConfigurationError: If a field is invalid; the error names it.
    :raises AirflowNotFoundException: If Airflow has no such connection.
    """
    settings = _settings(conn_id, look_up(_require_conn_id(conn_id)))
    for part in _parts(settings):
        # Airflow 3.0 raises if its supervisor does not answer. No task fails for that.
        with contextlib.suppress(Exception):
            mask_secret(part)
    if settings.contradiction:
        log.warning("Connection %r: %s", conn_id, settings.contradiction)
    return settings


async def read_async(conn_id: str) -> HedraSettings:
    """Read the settings of a connection on an event loop, again at each call; raises as :func:`read_sync`."""
    settings = _settings(conn_id, await look_up_async(_require_conn_id(conn_id)))
    for part in _parts(settings):
        with contextlib.suppress(Exception):
            await _mask_async(part)
    return settings


def _parts(settings: HedraSettings) -> list[str]:
    """Return the parts of a v3 key, id and secret. Airflow's logs hide the whole key only."""
    return settings.api_key.split(":") if ":" in settings.api_key else []


async def _mask_async(secret: str) -> None:
    try:
        from airflow.sdk.log import amask_secret
    except ImportError:
        # Before, the request to the supervisor is synchronous. asgiref runs it on this loop's connection.
        from asgiref.sync import sync_to_async

        await sync_to_async(mask_secret)(secret)
    else:
        await amask_secret(secret)


def _settings(conn_id: str, connection: Connection) -> HedraSettings:
    from hedra_provider.api.errors import HedraConfigurationError
    from hedra_provider.connection_fields import parse_connection
    from hedra_provider.connection_labels import STANDARD_FIELDS

    try:
        return parse_connection(connection)
    except HedraConfigurationError as error:
        # The message has the form's labels. Connections defined elsewhere need the stored names too.
        place = error.param if error.param in STANDARD_FIELDS else f"extra {error.param}"
        error.remedy = f"{error.remedy or ''} (Connection {conn_id!r}, {place}.)".lstrip()
        raise


def _require_conn_id(value: Any) -> str:
    """Reject an invalid connection id before a secrets backend receives it."""
    from hedra_provider.api.errors import HedraValueError
    from hedra_provider.api.redaction import shown

    if not isinstance(value, str) or not re.fullmatch(r"[\w#!()\-.:/\\]{1,250}", value):
        raise HedraValueError(
            f"hedra_conn_id: {shown(value)} is not the id of a connection.", param="hedra_conn_id"
        )
    return value


async def read_connection(hedra_conn_id: str, *, again: bool = False) -> HedraSettings:
    """
    Return the current settings of a connection, in a triggerer. Concurrent callers share one lookup.

    Otherwise a thousand triggers that begin together would send a thousand requests to Airflow's secrets
    backends, all of them through the triggerer's one supervisor.

    :param hedra_conn_id: The Airflow connection.
    :param again: Whether to ignore a lookup that began earlier, because Hedra rejected its key; False by
        default.
    :raises HedraConfigurationError: If the connection does not exist, is invalid, or could not be read.
    """
    from hedra_provider.api.errors import HedraError

    readings = _READING.setdefault(asyncio.get_running_loop(), weakref.WeakValueDictionary())
    reading = readings.get(hedra_conn_id)
    if reading is None or again:
        # A task of its own: a cancelled caller does not cancel it. An empty context: it logs for no one task.
        reading = readings[hedra_conn_id] = asyncio.create_task(
            _read(hedra_conn_id), name="hedra-connection", context=contextvars.Context()
        )

        def forget(task: asyncio.Task[HedraSettings]) -> None:
            if readings.get(hedra_conn_id) is task:
                del readings[hedra_conn_id]
            if not task.cancelled():
                # Retrieves the error: if all callers were cancelled, asyncio would log it as never retrieved.
                task.exception()

        reading.add_done_callback(forget)
    try:
        return await asyncio.shield(reading)
    except HedraError as error:
        # Each caller raises its own copy: a shared exception would collect all their tracebacks.
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

    It is retryable: Airflow raises the same error while its API server or a secrets backend does not answer.

    :param conn_id: The connection's id.
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
    Read a connection as a trigger reads it: a task must not pay first and then defer to a trigger that fails.

    It can't find a variable that only the triggerer's environment lacks.

    :param conn_id: The connection's id.
    :raises HedraConfigurationError: If a trigger could not read it in this process.
    """
    from concurrent.futures import ThreadPoolExecutor

    from hedra_provider.api.errors import HedraConfigurationError

    # A new loop in a new thread: the caller's thread may run a loop already, as in a notebook.
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

    :param settings: The settings of the connection.
    :param options: Arguments of the client; they override those of the settings.
    :raises HedraConfigurationError: If certificates or proxies can't be used.
    """
    from hedra_provider.api.client import AsyncHedraClient
    from hedra_provider.api.network import ssl_context

    # In a thread: the first call takes 50 ms and would block the loop's other triggers.
    await asyncio.to_thread(ssl_context, settings.verify)
    return AsyncHedraClient(**(settings.client_options() | options))
