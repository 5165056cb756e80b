"""The retry policy of Airflow 3.3 and later."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from hedra_provider.api.errors import HedraRateLimitError, HedraServerError
from hedra_provider.exceptions import airflow_error
from hedra_provider.operators import HedraGenerateOperator
from tests.airflow_names import AirflowException

if not AIRFLOW_V_3_3_PLUS:
    pytest.skip("retry policies came with Airflow 3.3", allow_module_level=True)

from hedra_provider.retry_policy import HedraRetryPolicy


def raised(error: Exception) -> Exception:
    try:
        raise airflow_error(error) from None
    except AirflowException as failure:
        return failure


def decide(exception: Exception):
    return HedraRetryPolicy().evaluate(exception, try_number=1, max_tries=2)


def test_it_waits_as_long_as_hedra_asked_and_a_little_longer():
    decision = decide(raised(HedraRateLimitError("slow", retry_after=90, retryable=True)))
    assert decision.action.value == "retry"
    assert timedelta(seconds=90) <= decision.retry_delay <= timedelta(seconds=99)


@pytest.mark.parametrize(
    "exception",
    [raised(HedraServerError("down", retryable=True)), ValueError("ours"), RuntimeError()],
    ids=["no-retry-after", "not-of-the-api", "bare"],
)
def test_without_retry_after_the_tasks_own_delay_applies(exception: Exception):
    decision = decide(exception)
    assert (decision.action.value, decision.retry_delay) == ("default", None)


@pytest.mark.parametrize("passed", [{}, {"retry_policy": None}])
def test_every_operator_has_the_policy(passed: dict):
    assert isinstance(HedraGenerateOperator(task_id="t", request={}, **passed).retry_policy, HedraRetryPolicy)


def test_a_policy_of_ones_own_wins():
    from airflow.sdk import ExceptionRetryPolicy

    own = ExceptionRetryPolicy(rules=[])
    assert HedraGenerateOperator(task_id="t", request={}, retry_policy=own).retry_policy is own
