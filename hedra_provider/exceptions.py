"""Turns an error of the API into what Airflow understands, and into the one line that a task's log shows.

What is not retryable fails the task at once; what is retryable is left to the task's retries.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from hedra_provider.next_try import next_try

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hedra_provider.api.errors import HedraError

_log = logging.getLogger(__name__)


def airflow_error(error: HedraError, context: Any = None) -> AirflowException:
    """
    Return the exception to raise in a task; raise it ``from None``.

    Airflow logs each exception of a chain with its traceback. So the chain is hidden; :func:`hedra_error`
    finds the error again, and the debug log has its traceback.

    :param error: What went wrong.
    :param context: The task's, which tells whether a retry comes; the running task's by default.
    :return: ``AirflowFailException`` (no retry) where a retry can't help, else ``AirflowException``. Its text
        is one line: the reason, what to do or when Airflow tries again, then in brackets kind and ids.
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


def hedra_error(exception: BaseException | None) -> HedraError | None:
    """
    Return the error of the API that made a task fail, e.g. for an ``on_failure_callback``.

    :param exception: ``context["exception"]``.
    :return: None where the API is not what failed.
    """
    from hedra_provider.api.errors import HedraError

    while exception is not None and not isinstance(exception, HedraError):
        exception = exception.__cause__ or exception.__context__
    return exception


def report(error: HedraError, context: Any = None) -> AirflowException:
    """
    Log a failure as one line, and return the exception to raise ``from None``.

    Airflow's own line begins with "Task failed with exception" and shows the reason below, indented.

    :param error: What went wrong.
    :param context: As of :func:`airflow_error`.
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


@contextmanager
def as_airflow_errors(context: Any = None) -> Iterator[None]:
    """
    Turn every ``HedraError`` of the block into what Airflow understands.

    :param context: The task's, for what the message says of the next try.
    """
    from hedra_provider.api.errors import HedraError

    try:
        yield
    except HedraError as error:
        raise report(error, context) from None
