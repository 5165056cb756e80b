"""How operators and sensors go to the triggerer, and how long their wait lasts there."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

DEFER_GRACE_SECONDS = 300.0
"""How much later than the trigger's own deadline Airflow's cruder one strikes."""


def wait_seconds(task: Any) -> float:
    """
    Return how long a task waits.

    Airflow does not enforce ``execution_timeout`` after a deferral, so the earlier of the two counts.

    :param task: An operator or sensor with ``timeout`` and ``execution_timeout``.
    """
    limit = task.execution_timeout
    return float(min(task.timeout, limit.total_seconds()) if limit else task.timeout)


def time_limit(task: Any) -> str:
    """
    Return what ends the wait of a task, for messages, e.g. ``"execution_timeout (600 s)"``.

    :param task: As for :func:`wait_seconds`, whose result it names.
    """
    limit = task.execution_timeout
    is_execution_timeout = limit is not None and limit.total_seconds() < task.timeout
    name = "execution_timeout" if is_execution_timeout else "timeout"
    return f"{name} ({wait_seconds(task):.0f} s)"


def defer_until(
    task: Any, trigger: BaseTrigger, *, end_time: float, method_name: str = "execute_complete"
) -> NoReturn:
    """
    Send a task to the triggerer. Airflow's own time limit is later than the trigger's.

    :param task: An operator or sensor.
    :param trigger: The trigger that waits.
    :param end_time: Epoch seconds at which the trigger's wait ends. The method receives it too, so that a
        wait that continues ends at the same time.
    :param method_name: The method that continues the task. Default: ``"execute_complete"``.
    :raises TaskDeferred: Always.
    """
    left = max(0.0, end_time - time.time())
    task.defer(
        trigger=trigger,
        method_name=method_name,
        kwargs={"end_time": end_time},
        timeout=timedelta(seconds=left + DEFER_GRACE_SECONDS),
    )
    raise AssertionError("defer() raises")
