"""With a v3 key, each request of a task run is paid for once: the sandbox's ledger is what counts."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider.api.errors import HedraConfigurationError
from hedra_provider.hooks import HedraHook
from hedra_provider.operators import HedraGenerateOperator
from hedra_provider.sensors import HedraGenerationSensor
from hedra_provider.testing import CONNECTION_VARIABLE
from tests.airflow_names import AirflowException, AirflowFailException, TaskDeferred
from tests.operators.helpers import Logged, avatar
from tests.tasks import SensorInstance, TaskInstance, context_of, fire, run, wait

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox, Sandboxes

pytestmark = pytest.mark.hedra_sandbox(api="3", media=False)

SUBMIT = "POST /v3/models/{model}"
LOST = {"on": SUBMIT, "when": "after", "reset": True}


def charged(sandbox: Sandbox) -> list[str]:
    return [row["job_id"] for row in sandbox.submissions_v3 if row["usd"] > 0]


def test_a_lost_answer_is_sent_again_with_the_same_key_and_bytes(
    hedra_sandbox: Sandbox, portrait: str, voice: str, no_pauses: None, logged: Logged
):
    hedra_sandbox.faults(LOST)
    result = run(avatar(portrait, voice))
    assert charged(hedra_sandbox) == [result["generation_id"]]
    assert len({(row["idempotency_key"], row["body_sha256"]) for row in hedra_sandbox.submissions_v3}) == 1
    assert len(hedra_sandbox.requests("POST", "/v3/files")) == 2
    assert "is sent again" in logged()


def test_a_retry_on_another_worker_sends_the_recorded_bytes_without_the_files(
    hedra_sandbox: Sandbox, portrait: str, voice: str, no_pauses: None
):
    hedra_sandbox.faults({**LOST, "times": 9})
    with pytest.raises(AirflowException, match="may be accepted and paid for"):
        run(avatar(portrait, voice))
    hedra_sandbox.faults()
    Path(portrait).unlink()
    Path(voice).unlink()
    result = run(avatar(portrait, voice), TaskInstance(try_number=2))
    assert charged(hedra_sandbox) == [result["generation_id"]]
    assert len(hedra_sandbox.requests("POST", "/v3/files")) == 2


def test_the_same_idempotency_key_pays_once_for_two_runs(hedra_sandbox: Sandbox, portrait: str, voice: str):
    key = {"idempotency_key": "shop/row-17"}
    first = run(avatar(portrait, voice, **key), TaskInstance(run_id="a"))
    second = run(avatar(portrait, voice, **key), TaskInstance(run_id="b"))
    assert charged(hedra_sandbox) == [first["generation_id"]] == [second["generation_id"]]
    assert (first["adopted"], second["adopted"]) == (False, True)


def test_another_request_after_a_clear_is_paid_for(hedra_sandbox: Sandbox, portrait: str, voice: str):
    first = run(avatar(portrait, voice))
    retried = run(avatar(portrait, voice, text_prompt="Rain."), TaskInstance(try_number=2))
    cleared = run(avatar(portrait, voice, text_prompt="Rain."), TaskInstance(try_number=3, max_tries=4))
    assert retried["generation_id"] == first["generation_id"]
    assert charged(hedra_sandbox) == [first["generation_id"], cleared["generation_id"]]


def test_a_clear_with_on_clear_new_pays_for_another(hedra_sandbox: Sandbox, portrait: str, voice: str):
    run(avatar(portrait, voice, on_clear="new"))
    run(avatar(portrait, voice, on_clear="new"), TaskInstance(try_number=2))
    assert len(charged(hedra_sandbox)) == 1
    run(avatar(portrait, voice, on_clear="new"), TaskInstance(try_number=3, max_tries=4))
    assert len(charged(hedra_sandbox)) == 2


def test_a_rate_limited_submit_waits_in_the_triggerer_and_uploads_once(
    hedra_sandbox: Sandbox, portrait: str, voice: str, no_pauses: None
):
    hedra_sandbox.faults({"on": SUBMIT, "status": 429, "times": None, "headers": {"Retry-After": "40"}})
    operator, ti = avatar(portrait, voice, deferrable=True), TaskInstance()
    with pytest.raises(TaskDeferred) as slot:
        operator.execute(context_of(ti))
    assert slot.value.method_name == "execute_turn"
    _, stored = slot.value.trigger.serialize()
    assert hedra_sandbox.api_key not in json.dumps(stored)
    assert stored["request"] is None
    hedra_sandbox.faults()
    event = {name: stored[name] for name in ("first_id", "request", "cost", "refused_since", "in_doubt")}
    with pytest.raises(TaskDeferred) as wait_for_it:
        operator.execute_turn(context_of(ti), event={"version": 1, "outcome": "turn", **event})
    assert wait_for_it.value.trigger.generation_ids == charged(hedra_sandbox)
    assert len(hedra_sandbox.requests("POST", "/v3/files")) == 2


def test_a_named_job_is_adopted_and_nothing_is_read_or_paid(
    hedra_sandbox: Sandbox, portrait: str, voice: str
):
    first = run(avatar(portrait, voice))
    named = {"generation_id": first["generation_id"]}
    other = TaskInstance(task_id="other")
    result = run(avatar("/nowhere.png", "/nowhere.wav", **named), other)
    assert (result["generation_id"], result["adopted"]) == (first["generation_id"], True)
    mapped = {"generation_id": {"3": first["generation_id"]}}
    again = run(avatar("/nowhere.png", "/nowhere.wav", **mapped), TaskInstance(task_id="m", map_index=3))
    assert again["generation_id"] == first["generation_id"]
    assert len(charged(hedra_sandbox)) == 1


def test_a_v2_generation_is_rejected_by_name(hedra_sandbox: Sandbox, portrait: str, voice: str):
    v2 = "7d0c1f6e-3c1b-5f0a-9b51-6d1f1c4f2a90"
    with pytest.raises(AirflowFailException, match="is a generation of API v2, but the connection's key is"):
        run(avatar(portrait, voice, generation_id=v2))
    with pytest.raises(AirflowFailException, match="is a generation of API v2, but the connection's key is"):
        wait(HedraGenerationSensor(task_id="wait", generation_id=v2))
    with pytest.raises(AirflowFailException, match="is an asset of API v2"):
        run(avatar(v2, voice))
    assert hedra_sandbox.submissions_v3 == []
    assert hedra_sandbox.requests("POST") == []


@pytest.mark.hedra_sandbox(api="2", media=False)
def test_a_v3_job_is_rejected_by_name_with_a_v2_key(hedra_sandbox: Sandbox, portrait: str, voice: str):
    job = "job_7d0c1f6e-3c1b-5f0a-9b51-6d1f1c4f2a90"
    with pytest.raises(AirflowFailException, match="is a generation of API v3, but the connection's key is"):
        run(avatar(portrait, voice, generation_id=job))
    with pytest.raises(AirflowFailException, match="is a generation of API v3, but the connection's key is"):
        wait(HedraGenerationSensor(task_id="wait", generation_id=job))
    with pytest.raises(AirflowFailException, match="is an asset of API v3"):
        run(avatar("asset_1", voice))
    assert hedra_sandbox.requests("POST") == []


@pytest.fixture
def both(hedra_sandboxes: Sandboxes) -> Sandbox:
    """Both APIs of one account, and connections that share a state_path."""
    return hedra_sandboxes.get(api="both", media=False, seconds=60)


def v2_connection(sandbox: Sandbox) -> str:
    state_path = json.loads(sandbox.connection_v3)["extra"]["state_path"]
    fields = json.loads(sandbox.connection)
    return json.dumps({**fields, "extra": {**fields.get("extra", {}), "state_path": state_path}})


def finished(sandbox: Sandbox, operator: Any) -> Any:
    """Execute an operator whose generation takes a minute of the sandbox's clock."""
    ti = TaskInstance()
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context_of(ti))
    sandbox.advance(120)
    return operator.execute_complete(context_of(ti), event=fire(deferred.value.trigger))


def test_a_v3_key_after_a_v2_submit_pays_nothing(
    both: Sandbox, portrait: str, voice: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(CONNECTION_VARIABLE, v2_connection(both))
    operator, ti = avatar(portrait, voice, deferrable=True), TaskInstance()
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context_of(ti))
    monkeypatch.setenv(CONNECTION_VARIABLE, both.connection_v3)
    event = fire(deferred.value.trigger)
    assert "Put the key that submitted it back" in event["failure"]["remedy"]
    resumed = avatar(portrait, voice, deferrable=True)
    with pytest.raises(AirflowFailException, match="is a generation of API v2"):
        resumed.execute_complete(context_of(ti), event=event)
    with pytest.raises(AirflowFailException, match="submitted with a v2 key"):
        run(avatar(portrait, voice), TaskInstance(try_number=2))
    assert both.submissions_v3 == []
    monkeypatch.setenv(CONNECTION_VARIABLE, v2_connection(both))
    both.advance(60)
    result = run(avatar(portrait, voice), TaskInstance(try_number=3))
    assert [row["generation_id"] for row in both.submissions] == [result["generation_id"]]


@pytest.mark.parametrize("lost", [False, True])
def test_a_v2_key_after_a_v3_submit_pays_nothing(
    both: Sandbox, portrait: str, voice: str, monkeypatch: pytest.MonkeyPatch, no_pauses: None, lost: bool
):
    monkeypatch.setenv(CONNECTION_VARIABLE, both.connection_v3)
    both.faults(*([{**LOST, "times": None}] if lost else []))
    operator, first = avatar(portrait, voice, deferrable=True), AirflowException if lost else TaskDeferred
    with pytest.raises(first):
        operator.execute(context_of(TaskInstance()))
    both.faults()
    monkeypatch.setenv(CONNECTION_VARIABLE, v2_connection(both))
    for ti in (TaskInstance(try_number=2), TaskInstance(try_number=3, max_tries=4)):
        with pytest.raises(AirflowFailException, match="submitted with a v3 key"):
            run(avatar(portrait, voice), ti)
    assert both.submissions == []
    monkeypatch.setenv(CONNECTION_VARIABLE, both.connection_v3)
    both.advance(60)
    result = run(avatar(portrait, voice), TaskInstance(try_number=4, max_tries=4))
    assert charged(both) == [result["generation_id"]]


def test_a_v3_job_that_failed_stops_no_v2_submit(
    both: Sandbox, portrait: str, voice: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(CONNECTION_VARIABLE, both.connection_v3)
    both.faults({"on": SUBMIT, "generation_error": {"error_message": "dark"}})
    with pytest.raises(AirflowException, match="dark"):
        finished(both, avatar(portrait, voice, deferrable=True))
    monkeypatch.setenv(CONNECTION_VARIABLE, v2_connection(both))
    with pytest.raises(TaskDeferred):
        avatar(portrait, voice, deferrable=True).execute(context_of(TaskInstance(try_number=2)))
    assert len(both.submissions) == 1


@pytest.mark.hedra_sandbox(api="3", media=False, seconds=60)
def test_no_wait_is_planned_beyond_the_life_of_the_result(hedra_sandbox: Sandbox, portrait: str, voice: str):
    operator = avatar(portrait, voice, deferrable=True, timeout=48 * 3600)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context_of(TaskInstance()))
    assert deferred.value.trigger.end_time - time.time() == pytest.approx(24 * 3600, abs=60)


def test_a_file_that_hedra_erased_is_named_with_what_it_cost(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path
):
    run(avatar(portrait, voice))
    hedra_sandbox.advance(25 * 3600)
    with pytest.raises(AirflowFailException) as failed:
        run(avatar(portrait, voice, destination=f"{tmp_path}/x.mp4"), TaskInstance(try_number=2))
    message = str(failed.value)
    assert re.search(r"no longer at Hedra.*It cost 0\.0\d+ USD", message)
    assert "adopts it without paying again" not in message


def test_a_stopped_try_says_that_something_may_be_submitted(
    hedra_sandbox: Sandbox, portrait: str, voice: str, monkeypatch: pytest.MonkeyPatch, logged: Logged
):
    operator = avatar(portrait, voice)

    def stop(*args: Any, **more: Any) -> Any:
        operator.on_kill()
        raise KeyboardInterrupt

    monkeypatch.setattr("hedra_provider.service.v3_paid_once.obtain_job", stop)
    with pytest.raises(KeyboardInterrupt):
        run(operator)
    assert "The generation, if it was submitted, runs on at Hedra" in logged()


def speech_request(**changes: Any) -> dict[str, Any]:
    voice = HedraHook().list_voices()[0].id
    return {"model": "elevenlabs-v3", "input": {"text": "Good morning.", "voice_id": voice}, **changes}


@pytest.mark.parametrize("deferrable", [False, True])
def test_any_request_is_made_and_paid_once(hedra_sandbox: Sandbox, tmp_path: Path, deferrable: bool):
    def task() -> HedraGenerateOperator:
        return HedraGenerateOperator(
            task_id="avatar",
            request=speech_request(),
            destination=f"{tmp_path}/",
            deferrable=deferrable,
            poll_interval=0.05,
        )

    result = run(task())
    again = run(task(), TaskInstance(try_number=2))
    assert charged(hedra_sandbox) == [result["generation_id"]] == [again["generation_id"]]
    assert (result["type"], result["speech"]) == ("audio", None)
    assert list(tmp_path.iterdir()) == [tmp_path / Path(result["uri"]).name]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"type": "video"}, "that is the form of API v2"),
        ({"model": "nothing", "input": {}}, "Hedra has no model 'nothing'"),
        ({"model": "elevenlabs-v3", "input": {"text": "x", "speed": 9}}, "input.speed|speed: 9 is too high"),
    ],
)
def test_a_wrong_request_costs_nothing(hedra_sandbox: Sandbox, request_: Any, message: str):
    with pytest.raises(AirflowFailException, match=message):
        run(HedraGenerateOperator(task_id="avatar", request=request_))
    assert hedra_sandbox.requests("POST") == []


def test_a_hook_submits_once_and_reads_with_both_kinds_of_methods(hedra_sandbox: Sandbox, tmp_path: Path):
    hook = HedraHook()
    first = hook.submit_once(speech_request(), idempotency_key="a")
    again = hook.submit_once(speech_request(), idempotency_key="a")
    other = hook.submit_once(speech_request(), idempotency_key="b")
    assert first.generation.id == again.generation.id
    assert charged(hedra_sandbox) == [first.generation.id, other.generation.id]
    assert (first.answered, again.answered) == (True, False)
    assert hook.get_generation(first.generation.id).is_complete
    assert hook.download(f"{tmp_path}/", generation_id=first.generation.id).size > 0
    balance = hook.get_balance()
    assert (balance.currency, balance.available < 100) == ("USD", True)
    assert {model.id for model in hook.list_models(["video"])} >= {"hedra-avatar"}


def test_a_hook_without_state_path_submits_nothing(hedra_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch):
    request = speech_request()
    fields = json.loads(hedra_sandbox.connection)
    del fields["extra"]["state_path"]
    monkeypatch.setenv(CONNECTION_VARIABLE, json.dumps(fields))
    with pytest.raises(HedraConfigurationError, match="state_path"):
        HedraHook().submit_once(request, idempotency_key="a")
    assert hedra_sandbox.submissions_v3 == []


def test_what_v3_lacks_is_named(hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path):
    with pytest.raises(ValueError, match="keeps an uploaded file for one hour only"):
        HedraHook().upload(portrait)
    with pytest.raises(ValueError, match="Give generation_id"):
        HedraHook().download(f"{tmp_path}/", asset_id="asset_1", asset_type="video")
    for given, message in (
        ({"workspace_id": "team"}, "workspace_id: API v3"),
        ({"extra_request": {"batch_size": 2}}, "batch_size"),
        ({"audio_start_ms": 500}, "audio_start_ms"),
        ({"seed": 7}, "seed"),
        ({"model": "omnia"}, "does not have 'omnia'"),
        ({"resolution": "4k"}, "resolution: hedra-avatar does not accept '4k'"),
    ):
        with pytest.raises(AirflowFailException, match=message):
            run(avatar(portrait, voice, **given))
    assert hedra_sandbox.requests("POST") == []


@pytest.mark.parametrize("deferrable", [False, True])
def test_the_sensor_waits_for_a_job(hedra_sandbox: Sandbox, deferrable: bool):
    job = HedraHook().submit_once(speech_request(), idempotency_key="a").generation.id
    sensor = HedraGenerationSensor(
        task_id="wait", generation_id={"generation_id": job}, poke_interval=0.05, deferrable=deferrable
    )
    result = wait(sensor, SensorInstance(task_id="wait"))
    assert (result["generation_id"], result["status"]) == (job, "complete")
