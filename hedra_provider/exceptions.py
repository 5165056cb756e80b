"""Converts an error of the API into an exception for Airflow, and into the one line that a task's log shows.

An error that is not retryable fails the task at once. A retryable error leaves the decision to the task's
retries.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from hedra_provider.api.errors import hedra_error
from hedra_provider.next_try import next_try

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hedra_provider.api.errors import HedraError

__all__ = [
    "airflow_error",
    "as_airflow_errors",
    "hedra_error",
    "leave_to_other_workers",
    "not_retryable",
    "report",
]

_log = logging.getLogger(__name__)


def airflow_error(error: HedraError, context: Any = None) -> AirflowException:
    """
    Return the exception to raise in a task; raise it ``from None``.

    Airflow logs each exception of a chain with its traceback. So the chain is hidden. :func:`hedra_error`
    finds the error of the API again, and the log at level DEBUG has its traceback.

    :param error: The error of the API.
    :param context: The task's context, which shows whether a retry follows; the running task's by default.
    :return: ``AirflowFailException``, after which Airflow does not retry, if the error is not retryable; else
        ``AirflowException``. Its text is one line: the reason, what to do or when Airflow tries again, then
        in brackets the error's kind and the ids.
    """
    from hedra_provider.api.errors import TRY_AGAIN, join_sentences

    remedy = error.remedy
    coming = next_try(error, context) if error.retryable else None
    if coming:
        remedy = join_sentences((remedy or "").replace(TRY_AGAIN, ""), coming)
    kind = AirflowException if error.retryable else AirflowFailException
    failure = kind(error.sentences(remedy, type(error).__name__))
    failure.__context__, failure.__suppress_context__ = error, True
    return failure


def report(error: HedraError, context: Any = None) -> AirflowException:
    """
    Log a failure as one line, and return the exception to raise ``from None``.

    Airflow's own line begins with "Task failed with exception" and shows the reason below, indented.

    :param error: The error of the API.
    :param context: As for :func:`airflow_error`.
    :return: The exception of :func:`airflow_error`.
    """
    failure = airflow_error(error, context)
    _log.error("%s", failure)
    _log.debug("The technical cause:", exc_info=error)
    return failure


def not_retryable(reason: str) -> AirflowFailException:
    """
    Log why a task fails, where that is no ``HedraError``; return the exception to raise.

    As :func:`report` does, and for the same reason.

    :param reason: The reason, and what to do.
    """
    _log.error("%s", reason)
    return AirflowFailException(reason)


def leave_to_other_workers(error: HedraError) -> None:
    """
    Make an error about a file retryable: an earlier try may have run on a worker that has the file.

    :param error: One that ``depends_on_worker``.
    """
    from hedra_provider.api.errors import join_sentences

    elsewhere = "Another worker may have it; all have what is in shared or object storage"
    error.retryable, error.remedy = True, join_sentences(error.remedy, elsewhere)


@contextmanager
def as_airflow_errors(context: Any = None) -> Iterator[None]:
    """
    Convert a ``HedraError`` of the block by :func:`airflow_error`, and log it.

    On a retry, an error about a file that this worker can't read or write is left to the retries.

    :param context: The task's, for its number of tries. None: the running task's, for the message alone.
    :raises AirflowFailException: For a ``HedraError`` that is not retryable.
    :raises AirflowException: For one that is.
    """
    from hedra_provider.api.errors import HedraError

    try:
        yield
    except HedraError as error:
        is_retry = context is not None and context["ti"].try_number > 1
        if is_retry and error.depends_on_worker and not error.retryable:
            leave_to_other_workers(error)
        raise report(error, context) from None
