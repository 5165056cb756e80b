"""The sensor in its three modes, against the sandbox."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider.hooks import HedraHook
from hedra_provider.sensors import HedraGenerationSensor
from hedra_provider.triggers import HedraCreditsTrigger, HedraTurnTrigger
from tests.airflow_names import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from tests.tasks import SensorInstance, context_of, fire, wait

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox

MODES = {"deferred": {"deferrable": True}, "poke": {}, "reschedule": {"mode": "reschedule"}}
UNKNOWN = "00000000-0000-4000-8000-000000000001"


def submitted() -> str:
    from hedra_provider.api import calls

    with HedraHook().get_conn() as client:
        voice = client.run(calls.list_voices())[0]
        body = {"type": "text_to_speech", "voice_id": voice.id, "text": "Good morning"}
        return client.run(calls.submit(body)).id


def failed(sandbox: Sandbox) -> str:
    sandbox.faults(
        {
            "on": "POST /generations",
            "times": 1,
            "generation_error": {"type": "UNAVAILABLE", "message": "no luck"},
        }
    )
    return submitted()


def sensor(generation_id: str, **changes: Any) -> HedraGenerationSensor:
    return HedraGenerationSensor(
        task_id="wait", generation_id=generation_id, **({"poke_interval": 0.05} | changes)
    )


@pytest.mark.parametrize("mode", list(MODES))
def test_it_succeeds_and_returns_the_facts(hedra_sandbox: Sandbox, mode: str):
    ti = SensorInstance()
    result = wait(sensor(submitted(), **MODES[mode]), ti)
    assert result["status"] == "complete"
    assert result["credit_cost"] > 0
    assert ti.xcoms["generation"] == result
    assert "http" not in json.dumps(result)


@pytest.mark.parametrize("mode", list(MODES))
def test_an_id_that_a_template_rendered_with_white_space(hedra_sandbox: Sandbox, mode: str):
    one = submitted()
    assert wait(sensor(f" {one}\n", timeout=30, **MODES[mode]))["generation_id"] == one


@pytest.mark.hedra_sandbox(seconds=3600)
def test_deferred_it_waits_without_a_worker(hedra_sandbox: Sandbox):
    operator = sensor(submitted(), deferrable=True)
    with pytest.raises(TaskDeferred) as raised:
        operator.execute(context_of(SensorInstance()))
    assert raised.value.method_name == "execute_complete"
    hedra_sandbox.advance(3600)
    assert fire(raised.value.trigger)["outcome"] == "finished"


@pytest.mark.parametrize("mode", list(MODES))
@pytest.mark.parametrize("soft", [False, True])
def test_a_failed_generation_fails_at_once_and_says_which_task_to_clear(
    hedra_sandbox: Sandbox, mode: str, soft: bool
):
    ti = SensorInstance()
    kind = AirflowSkipException if soft else AirflowFailException
    with pytest.raises(kind) as raised:
        wait(sensor(failed(hedra_sandbox), soft_fail=soft, **MODES[mode]), ti)
    assert ti.xcoms["generation"]["error_code"] == "UNAVAILABLE"
    if not soft:
        assert "Clear the task that submitted it" in str(raised.value)


@pytest.mark.hedra_sandbox(seconds=3600)
def test_a_deferred_wait_that_fails_later_is_soft_too(hedra_sandbox: Sandbox):
    hedra_sandbox.faults(
        {"on": "POST /generations", "times": 1, "generation_error": {"type": "INTERNAL", "message": "x"}}
    )
    operator = sensor(submitted(), deferrable=True, soft_fail=True)
    with pytest.raises(TaskDeferred) as raised:
        operator.execute(context_of(SensorInstance()))
    hedra_sandbox.advance(3600)
    event = fire(raised.value.trigger)
    assert event["generations"][0]["status"] == "error"
    with pytest.raises(AirflowSkipException):
        operator.resume_execution("execute_complete", {"event": event}, context_of(SensorInstance()))


@pytest.mark.parametrize("mode", ["deferred", "poke"])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.hedra_sandbox(seconds=3600)
def test_the_deadline(hedra_sandbox: Sandbox, mode: str, soft: bool):
    kind = AirflowSkipException if soft else AirflowSensorTimeout
    with pytest.raises(kind):
        wait(sensor(submitted(), timeout=0.1, soft_fail=soft, **MODES[mode]))


@pytest.mark.parametrize("mode", list(MODES))
def test_a_poll_that_fails_for_a_moment_is_survived(
    hedra_sandbox: Sandbox, mode: str, monkeypatch: pytest.MonkeyPatch
):
    from hedra_provider.api.client import HedraClient

    monkeypatch.setattr(HedraClient, "pause", lambda self, seconds: None)
    generation_id = submitted()
    hedra_sandbox.faults({"on": "GET /generations/{id}/status", "times": 2, "when": "before", "status": 404})
    assert wait(sensor(generation_id, **MODES[mode]))["status"] == "complete"


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.hedra_sandbox(seconds=0, media=False)
def test_rescheduled_for_long_a_404_for_a_moment_is_survived(hedra_sandbox: Sandbox):
    generation_id = submitted()
    hedra_sandbox.faults({"on": "GET /generations/{id}/status", "times": 3, "when": "before", "status": 404})
    ti = SensorInstance()
    ti.first_reschedule = datetime.now(UTC) - timedelta(seconds=300)
    assert wait(sensor(generation_id, mode="reschedule"), ti)["status"] == "complete"


@pytest.mark.parametrize("interval", [0, 0.0, timedelta(0)])
def test_a_deferred_sensor_does_not_poll_without_a_pause(interval: timedelta | float):
    assert sensor(UNKNOWN, poke_interval=interval).make_trigger(0.0).poll_interval == 1.0


@pytest.mark.usefixtures("no_pauses")
def test_rescheduled_for_long_a_404_is_final(hedra_sandbox: Sandbox):
    ti = SensorInstance()
    ti.first_reschedule = datetime.now(UTC) - timedelta(seconds=300)
    with pytest.raises(AirflowFailException, match="does not know generation"):
        wait(sensor(UNKNOWN, mode="reschedule"), ti)


@pytest.mark.parametrize("mode", list(MODES))
def test_a_rejected_key_fails_at_once(hedra_sandbox: Sandbox, mode: str):
    hedra_sandbox.change_key("another")
    with pytest.raises(AirflowException, match="Check the API key"):
        wait(sensor(UNKNOWN, **MODES[mode]))


@pytest.mark.parametrize("soft", [False, True])
def test_an_outage_that_ended_the_wait_is_left_to_the_retries(hedra_sandbox: Sandbox, soft: bool):
    failure = {"kind": "HedraServerError", "message": "down", "retryable": True, "retry_after": None}
    event = {"version": 1, "generation_ids": [UNKNOWN], "outcome": "failed", "failure": failure}
    operator = sensor(UNKNOWN, deferrable=True, soft_fail=soft)
    with pytest.raises(AirflowSkipException if soft else AirflowException) as raised:
        operator.resume_execution("execute_complete", {"event": event}, context_of(SensorInstance()))
    assert not isinstance(raised.value, AirflowFailException)


STRAY = {
    "of another generation": lambda: sensor(submitted()).make_trigger(9e9),
    "a retry slot": lambda: HedraTurnTrigger(
        resume_at=0.0, end_time=0.0, refused_since=0.0, first_id=UNKNOWN
    ),
    "credits": lambda: HedraCreditsTrigger(minimum=1, end_time=9e9),
    "no credits": lambda: HedraCreditsTrigger(minimum=10**9, end_time=0.0),
}


@pytest.mark.parametrize("stray", list(STRAY))
@pytest.mark.hedra_sandbox(seconds=3600)
def test_the_event_of_another_trigger_is_not_taken_and_gives_no_new_time(hedra_sandbox: Sandbox, stray: str):
    operator, trigger = sensor(submitted(), deferrable=True, timeout=500), STRAY[stray]()
    with pytest.raises(TaskDeferred) as first:
        operator.execute(context_of(SensorInstance()))
    hedra_sandbox.advance(3600)
    kwargs = {**first.value.kwargs, "event": fire(trigger)}
    # A timeout of the sensor that has changed meanwhile shows which one counts.
    again = sensor(operator.generation_id, deferrable=True, timeout=9000)
    with pytest.raises(TaskDeferred) as raised:
        again.resume_execution("execute_complete", kwargs, context_of(SensorInstance()))
    assert raised.value.trigger.generation_ids == [operator.generation_id]
    assert raised.value.trigger.end_time == first.value.trigger.end_time
    assert raised.value.kwargs == first.value.kwargs


@pytest.mark.parametrize("event", [None, {}, "done", {"version": 0}, {"version": 1, "outcome": "great"}])
def test_an_event_that_is_not_known_fails_loudly(hedra_sandbox: Sandbox, event: Any):
    with pytest.raises(AirflowException, match="event"):
        sensor(UNKNOWN, deferrable=True).execute_complete(context_of(SensorInstance()), event=event)
