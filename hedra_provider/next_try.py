"""The sentence in a failed task's message that says when the next try starts, or what to do without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import get_current_context
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

if TYPE_CHECKING:
    from hedra_provider.api.errors import HedraError


def next_try(error: HedraError, context: Any = None) -> str | None:
    """
    Return when Airflow tries a failed task again, as a sentence.

    Airflow retries while ``try_number <= max_tries``; ``max_tries`` is ``retries``, and more after a clear.

    :param error: A retryable error.
    :param context: The task's context; the running task's by default.
    :return: A sentence; None outside of a task.
    """
    context = context or _running_context()
    if context is None:
        return None
    ti, task = context["ti"], context.get("task")
    if not getattr(task, "retries", ti.max_tries):
        return "The task has no retries: set `retries`, or clear the task to try again."
    if ti.try_number > ti.max_tries:
        tries = f"this was try {ti.try_number} of {ti.max_tries + 1}"
        return f"No retry is left ({tries}): clear the task to try again."
    number = f"(try {ti.try_number + 1} of {ti.max_tries + 1})"
    return f"Airflow tries again{_delay(error, task, ti.try_number)} {number}."


def _delay(error: HedraError, task: Any, try_number: int) -> str:
    """Return the delay of the next try, e.g. " in 30 s"; an empty text if it is not known."""
    if task is None:
        return ""
    policy = getattr(task, "retry_policy", None)
    if policy is not None and AIRFLOW_V_3_3_PLUS:
        from hedra_provider.retry_policy import HedraRetryPolicy

        if not isinstance(policy, HedraRetryPolicy):
            return " as the task's retry_policy says"
        if error.retry_after:
            return f" in {error.retry_after:.0f} s, as Hedra asked"
    seconds = task.retry_delay.total_seconds()
    # A number from Airflow 3.2 on. Before that a bool; True means 2.
    backoff = 2.0 if task.retry_exponential_backoff is True else float(task.retry_exponential_backoff or 1.0)
    if backoff == 1.0:
        return f" in {seconds:.0f} s"
    # Airflow adds jitter to a back-off: a delay is up to twice as long.
    seconds *= backoff ** (try_number - 1)
    if task.max_retry_delay:
        seconds = min(seconds, task.max_retry_delay.total_seconds())
    return f" in {seconds:.0f} s or later"


def _running_context() -> Any:
    try:
        return get_current_context()
    except RuntimeError:
        return None
