"""The retry policy of the operators: wait as long as Hedra asked. Airflow has policies from 3.3 on; before,
importing this module fails, and the task's ``retry_delay`` applies.
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy

from hedra_provider.exceptions import hedra_error

if TYPE_CHECKING:
    from airflow.sdk import Context


class HedraRetryPolicy(RetryPolicy):
    """
    Retry when Hedra asked to be asked again (``Retry-After``), and a random while later.

    Where Hedra asked for nothing, the task's own ``retry_delay`` applies. Whether a failure is retried at all
    is decided before: what is not retryable is an ``AirflowFailException``, which no policy sees.
    """

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide by the error of the API that caused the failure."""
        cause = hedra_error(exception)
        if cause is None or not cause.retry_after:
            return RetryDecision.default()
        # Many that were rate-limited together must not come back together.
        spread = 1.0 + 0.1 * random.random()  # noqa: S311
        delay = timedelta(seconds=cause.retry_after * spread)
        return RetryDecision.retry(delay=delay, reason=f"Hedra asked to wait {cause.retry_after:.0f} s")

    def serialize(self) -> dict[str, Any]:
        """Return what makes it again: nothing."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Self:
        """Make it again."""
        return cls()
