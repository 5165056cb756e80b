"""From an error of the API to what Airflow understands, in one place.

What can't get better by itself fails the task at once; what may is left to the task's retries.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hedra_provider.api.errors import HedraError


def airflow_error(error: HedraError) -> AirflowException:
    """
    Return the exception to raise in a task.

    :return: ``AirflowFailException`` (no retry) where a retry can't help, else ``AirflowException``.
    """
    name = type(error).__name__
    kind = AirflowException if error.retryable else AirflowFailException
    return kind(f"{name}: {error}")


@contextmanager
def as_airflow_errors() -> Iterator[None]:
    """Turn every ``HedraError`` of the block into what Airflow understands."""
    from hedra_provider.api.errors import HedraError

    try:
        yield
    except HedraError as error:
        raise airflow_error(error) from error
