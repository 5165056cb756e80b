"""A failed task's message is one line: the reason, what to do or when the next try comes, the ids."""

from __future__ import annotations

import json
import traceback
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from hedra_provider.api.errors import HedraRateLimitError, HedraServerError, HedraValueError, remedy_for
from hedra_provider.exceptions import airflow_error, as_airflow_errors, hedra_error
from hedra_provider.operators import HedraGenerateOperator
from tests.airflow_names import AirflowException, AirflowFailException, TaskDeferred
from tests.operators.helpers import FAILURES, Logged, avatar
from tests.tasks import TaskInstance, context_of, fire, run

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox


def message(error: Any, *, try_number: int = 1, retries: int = 3, max_tries: int | None = None, **task: Any):
    """What a task's log says of an error."""
    operator = HedraGenerateOperator(task_id="t", request={}, retries=retries, **task)
    ti = TaskInstance(try_number=try_number, max_tries=retries if max_tries is None else max_tries)
    return str(airflow_error(error, context_of(ti) | {"task": operator}))


def down(**facts: Any) -> HedraServerError:
    return HedraServerError(
        "Hedra answered 503", retryable=True, remedy=remedy_for(None, None, 503), generation_id="7b", **facts
    )


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ({}, "Airflow tries again in 30 s (try 2 of 4)."),
        ({"try_number": 3}, "Airflow tries again in 30 s (try 4 of 4)."),
        ({"try_number": 4}, "No retry is left (this was try 4 of 4): clear the task to try again."),
        ({"try_number": 6, "max_tries": 7}, "Airflow tries again in 30 s (try 7 of 8)."),
        ({"retries": 0}, "The task has no retries: set `retries`, or clear the task to try again."),
        ({"retry_exponential_backoff": True, "try_number": 3}, "tries again in 120 s or later (try 4 of 4)."),
        (
            {"retry_exponential_backoff": True, "try_number": 3, "max_retry_delay": timedelta(seconds=60)},
            "tries again in 60 s or later (try 4 of 4).",
        ),
    ],
)
def test_a_message_says_when_the_next_try_comes(numbers: dict[str, Any], says: str):
    said = message(down(), retry_delay=timedelta(seconds=30), **numbers)
    assert said.startswith("Hedra answered 503. ")
    assert f"{says} (HedraServerError, generation 7b)" in said
    assert "Temporary: try again later" not in said


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="retry policies came with Airflow 3.3")
def test_a_message_says_how_long_hedra_asked_to_wait_and_does_not_speak_for_another_retry_policy():
    from airflow.sdk import ExceptionRetryPolicy

    assert "tries again in 90 s, as Hedra asked (try 2 of 4)" in message(down(retry_after=90))
    own = message(down(retry_after=90), retry_policy=ExceptionRetryPolicy(rules=[]))
    assert "tries again as the task's retry_policy says (try 2 of 4)" in own


def test_a_remedy_of_its_own_stands_before_the_next_try():
    error = HedraRateLimitError("Hedra answered 429", retryable=True, remedy=remedy_for(None, None, 429))
    said = message(error, retry_delay=timedelta(seconds=30))
    assert "with an Airflow pool. Airflow tries again in 30 s" in said


def test_what_is_not_retryable_promises_no_try():
    said = message(HedraValueError("image is not given", remedy="Give an asset id"))
    assert said == "image is not given. Give an asset id. (HedraValueError)"


def test_outside_of_a_task_no_task_is_spoken_of():
    assert str(down()) == "Hedra answered 503. Temporary: try again later. (generation 7b)"


def test_the_log_has_the_reason_as_a_line_of_its_own(logged: Logged):
    """The line that Airflow adds begins with "Task failed with exception", and shows the reason below."""
    with pytest.raises(AirflowException) as raised, as_airflow_errors():
        raise down()
    # Airflow 3.0 logs it twice here: to logging, and to the screen.
    lines = [line for line in logged().splitlines() if "Hedra answered 503" in line]
    assert lines
    for line in lines:
        assert str(raised.value) in line
        assert "error" in line.lower()


def test_a_failure_is_one_traceback_whose_cause_can_be_found():
    def fail() -> None:
        try:
            raise OSError("reset")
        except OSError as error:
            raise down() from error

    with pytest.raises(AirflowException) as raised, as_airflow_errors():
        fail()
    lines = "".join(traceback.format_exception(raised.value))
    assert lines.count("Traceback") == 1
    assert "OSError" not in lines
    assert isinstance(hedra_error(raised.value), HedraServerError)
    assert hedra_error(ValueError()) is None


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_failed_generation_is_named_at_the_end(
    hedra_sandbox: Sandbox, portrait: str, voice: str, deferrable: bool
):
    error, _ = FAILURES["INTERNAL"]
    hedra_sandbox.faults({"on": "POST /generations", "times": 1, "generation_error": error})
    with pytest.raises(AirflowException) as raised:
        run(avatar(portrait, voice, deferrable=deferrable))
    (submission,) = hedra_sandbox.submissions
    said = str(raised.value)
    assert said.startswith("The generation failed: no luck [INTERNAL]. Airflow tries again (try 2 of 3).")
    assert said.endswith(f"(HedraGenerationError, generation {submission['generation_id']})")


@pytest.mark.parametrize("wrong", ["argument", "connection"])
def test_what_became_wrong_during_the_wait_fails_with_the_id_of_what_is_paid_for(
    hedra_sandbox: Sandbox, portrait: str, voice: str, monkeypatch: pytest.MonkeyPatch, wrong: str
):
    ti = TaskInstance()
    with pytest.raises(TaskDeferred) as deferred:
        avatar(portrait, voice, deferrable=True).execute(context_of(ti))
    event = fire(deferred.value.trigger)
    if wrong == "connection":
        edited = {"conn_type": "hedra", "password": "key", "extra": {"workspaceid": "misspelled"}}
        monkeypatch.setenv("AIRFLOW_CONN_HEDRA_DEFAULT", json.dumps(edited))
    resumed = avatar(portrait, voice, deferrable=True, max_credits="many" if wrong == "argument" else None)
    with pytest.raises(AirflowFailException) as failed:
        resumed.execute_complete(context_of(ti), event=event)
    (paid,) = hedra_sandbox.submissions
    assert f"generation {paid['generation_id']})" in str(failed.value)
