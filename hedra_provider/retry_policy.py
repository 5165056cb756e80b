"""The operators' retry policy: wait as long as Hedra's ``Retry-After`` asks.

Airflow has retry policies from 3.3 on. With an older Airflow the import of this module fails, and the task's
``retry_delay`` applies.
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy

from hedra_provider.api.errors import hedra_error

if TYPE_CHECKING:
    from airflow.sdk import Context


class HedraRetryPolicy(RetryPolicy):
    """
    Retry after the seconds of Hedra's ``Retry-After``, plus up to 10 %.

    Without a ``Retry-After``, the task's own ``retry_delay`` applies. The policy does not decide whether to
    retry: an error that is not retryable raises ``AirflowFailException``, for which Airflow asks no policy.
    """

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """
        Decide by the error of the API that failed the task.

        :param exception: What the task raised.
        :param try_number: Not used.
        :param max_tries: Not used.
        :param context: Not used.
        :return: A retry after a delay, or Airflow's default.
        """
        cause = hedra_error(exception)
        if cause is None or not cause.retry_after:
            return RetryDecision.default()
        # Jitter: tasks that were rate-limited together must not retry together.
        spread = 1.0 + 0.1 * random.random()  # noqa: S311
        delay = timedelta(seconds=cause.retry_after * spread)
        return RetryDecision.retry(delay=delay, reason=f"Hedra asked to wait {cause.retry_after:.0f} s")

    def serialize(self) -> dict[str, Any]:
        """Return the policy's arguments: it has none."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Self:
        """Return a new policy."""
        return cls()
