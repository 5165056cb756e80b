"""What a wait says in the log of its task and in its error, by triggers, sensors and operators alike."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider.deferral import time_limit
from hedra_provider.operators import HedraGenerateOperator
from hedra_provider.sensors import HedraCreditsSensor, HedraGenerationSensor
from hedra_provider.triggers import (
    HedraCreditsTrigger,
    HedraGenerationTrigger,
    HedraTurnTrigger,
)
from tests.airflow_names import AirflowException, AirflowFailException, AirflowSensorTimeout, TaskDeferred
from tests.operators.conftest import logged  # noqa: F401  a fixture
from tests.polling.over_http import submit
from tests.tasks import SensorInstance, TaskInstance, context_of, fire, run, wait

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox
    from tests.operators.helpers import Logged

STATUS = "GET /generations/{id}/status"
MODES = {"deferred": {"deferrable": True}, "poke": {}, "reschedule": {"mode": "reschedule"}}


def sensor(generation_id: str, **changes: Any) -> HedraGenerationSensor:
    return HedraGenerationSensor(
        task_id="wait", generation_id=generation_id, **({"poke_interval": 0.05} | changes)
    )


def speech(**changes: Any) -> HedraGenerateOperator:
    from hedra_provider.api import calls
    from hedra_provider.hooks import HedraHook

    with HedraHook().get_conn() as client:
        voice = client.run(calls.list_voices())[0]
    body = {"type": "text_to_speech", "voice_id": voice.id, "text": "Good morning"}
    return HedraGenerateOperator(task_id="speech", request=body, **({"poll_interval": 0.05} | changes))


# A clear, a mark, a hand-over: Airflow calls on_kill of triggers for all of them, and does not say which

TRIGGERS = {
    "generation": lambda: HedraGenerationTrigger(generation_ids=["g-1"], end_time=9e9, cost="7 credits"),
    "retry slot": lambda: HedraTurnTrigger(resume_at=0.0, end_time=9e9, refused_since=0.0, first_id="g-1"),
    "retry slot, submit lost": lambda: HedraTurnTrigger(
        resume_at=0.0, end_time=9e9, refused_since=0.0, first_id="g-1", in_doubt=True
    ),
}


@pytest.mark.parametrize("name", list(TRIGGERS))
def test_a_trigger_that_is_handed_over_raises_no_false_alarm(logged: Logged, name: str):  # noqa: F811
    asyncio.run(TRIGGERS[name]().on_kill())
    text = logged()
    assert "cleared or marked, or another triggerer took it over" in text
    assert "warning" not in text.lower()
    # Neither is true of a hand-over.
    assert "is being stopped" not in text
    assert "Clear the task" not in text
    if name == "generation":
        assert "Generation" in text or "generation g-1" in text
        assert "7 credits" in text


# execution_timeout


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"timeout": 500}, "timeout (500 s)"),
        ({"timeout": 500, "execution_timeout": timedelta(seconds=100)}, "execution_timeout (100 s)"),
        ({"timeout": 50, "execution_timeout": timedelta(seconds=100)}, "timeout (50 s)"),
    ],
)
@pytest.mark.hedra_sandbox(seconds=3600, media=False)
def test_the_name_of_the_time_limit_reaches_the_triggerer(
    hedra_sandbox: Sandbox, limits: dict[str, Any], expected: str
):
    tasks = [
        speech(deferrable=True, **limits),
        sensor(submit(1)[0], deferrable=True, **limits),
        HedraCreditsSensor(task_id="credits", minimum=10**9, deferrable=True, **limits),
    ]
    for task in tasks:
        assert time_limit(task) == expected
        with pytest.raises(TaskDeferred) as deferred:
            task.execute(context_of(SensorInstance()))
        assert deferred.value.trigger.time_limit == expected
        _, kwargs = deferred.value.trigger.serialize()
        assert kwargs["time_limit"] == expected


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.hedra_sandbox(seconds=3600, media=False)
def test_after_execution_timeout_the_operator_says_so(hedra_sandbox: Sandbox, deferrable: bool):
    task = speech(deferrable=deferrable, timeout=500, execution_timeout=timedelta(seconds=0.3))
    with pytest.raises(AirflowException) as raised:
        run(task)
    text = str(raised.value)
    assert "The task's execution_timeout (0 s) ended the wait" in text
    assert "raise execution_timeout (0 s) to wait longer" in text
    assert "raise timeout" not in text


@pytest.mark.hedra_sandbox(seconds=3600, media=False)
def test_after_execution_timeout_the_deferred_sensors_say_so(hedra_sandbox: Sandbox):
    limits: dict[str, Any] = {"timeout": 500, "execution_timeout": timedelta(seconds=0.3), "deferrable": True}
    for task in (
        sensor(submit(1)[0], **limits),
        HedraCreditsSensor(task_id="credits", minimum=10**9, poke_interval=0.05, **limits),
    ):
        with pytest.raises(AirflowSensorTimeout, match=r"raise execution_timeout \(0 s\) to wait longer"):
            wait(task)


def test_a_trigger_that_an_older_version_stored_still_works():
    kwargs = {"end_time": 1.0, "hedra_conn_id": "hedra_default", "poll_interval": 15.0}
    older = HedraGenerationTrigger(generation_ids=["g"], cost=None, **kwargs)  # type: ignore[arg-type]
    assert older.time_limit is None
    assert HedraCreditsTrigger(minimum=1, workspace_id=None, **kwargs).time_limit is None  # type: ignore[arg-type]


@pytest.mark.hedra_sandbox(seconds=3600, media=False)
def test_without_a_time_limit_a_time_out_speaks_of_timeout(hedra_sandbox: Sandbox):
    event = fire(HedraGenerationTrigger(generation_ids=submit(1), end_time=time.time() - 1))
    assert "raise timeout to wait longer" in event["failure"]["remedy"]


# What it cost


@pytest.mark.parametrize("mode", list(MODES))
def test_the_sensor_says_at_the_end_what_the_generation_cost(
    hedra_sandbox: Sandbox,
    logged: Logged,  # noqa: F811
    mode: str,
):
    (one,) = submit(1)
    before = len(hedra_sandbox.requests("GET", "/generations"))
    result = wait(sensor(one, **MODES[mode]))
    cost = result["credit_cost"]
    assert f"Generation {one} is complete; it cost {cost} credit{'s' if cost != 1 else ''}." in logged()
    # One request for that.
    assert len(hedra_sandbox.requests("GET", "/generations")) == before + 1


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("mode", list(MODES))
def test_a_cost_that_cannot_be_read_fails_no_sensor(
    hedra_sandbox: Sandbox,
    logged: Logged,  # noqa: F811
    mode: str,
):
    (one,) = submit(1)
    hedra_sandbox.faults({"on": "GET /generations", "times": None, "status": 503})
    assert wait(sensor(one, **MODES[mode]))["status"] == "complete"
    text = logged()
    assert "could not be read" in text
    assert f"Generation {one} is complete; it cost an unknown number of credits." in text


# Statuses that nobody documented, and 404s


@pytest.mark.parametrize("mode", ["deferred", "poke"])
def test_the_sensor_warns_of_an_unknown_status_at_once(
    hedra_sandbox: Sandbox,
    logged: Logged,  # noqa: F811
    mode: str,
):
    (one,) = submit(1)
    hedra_sandbox.faults({"on": STATUS, "times": 5, "patch": {"status": "moderated"}})
    assert wait(sensor(one, **MODES[mode]))["status"] == "complete"
    # Once for five polls. Deferred, the sensor and its trigger warn: different processes. Airflow 3.0 writes
    # each line twice here.
    assert 1 <= logged().count("does not know: moderated") <= 4


@pytest.mark.parametrize("mode", list(MODES))
def test_an_unknown_status_with_an_error_fails_the_sensor_at_once(hedra_sandbox: Sandbox, mode: str):
    (one,) = submit(1)
    odd = {"status": "moderated", "error": {"type": "MODERATION_FAILED", "message": "not this"}}
    hedra_sandbox.faults({"on": STATUS, "times": None, "patch": odd})
    ti = SensorInstance()
    with pytest.raises(AirflowFailException, match="not this"):
        wait(sensor(one, **MODES[mode]), ti)
    assert len(hedra_sandbox.requests("GET", "/generations/{id}/status")) == 1
    assert ti.xcoms["generation"]["status"] == "moderated"
    assert ti.xcoms["generation"]["error_code"] == "MODERATION_FAILED"


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.hedra_sandbox(seconds=3600, media=False)
def test_a_time_out_names_the_unknown_status(hedra_sandbox: Sandbox, deferrable: bool):
    task = speech(deferrable=deferrable, timeout=0.3)
    hedra_sandbox.faults({"on": STATUS, "times": None, "skip": 1, "patch": {"status": "moderated"}})
    with pytest.raises(AirflowException, match=r"had not ended.*does not know its status \(moderated\)"):
        run(task, TaskInstance())


@pytest.mark.parametrize("mode", ["deferred", "poke"])
def test_a_404_is_logged_at_once(
    hedra_sandbox: Sandbox,
    logged: Logged,  # noqa: F811
    mode: str,
):
    (one,) = submit(1)
    hedra_sandbox.faults({"on": STATUS, "times": 2, "when": "before", "status": 404})
    assert wait(sensor(one, **MODES[mode]))["status"] == "complete"
    text = logged()
    assert f"Hedra answers 404 for generation {one}" in text
    assert "Next poll in" in text
