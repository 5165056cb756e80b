"""What the log and the XComs say of what is paid: each generation once, by the task run that paid."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider.api.client import HedraClient
from hedra_provider.operators import HedraUploadAssetOperator
from hedra_provider.sensors import HedraGenerationSensor
from tests.airflow_names import AirflowException, AirflowFailException, TaskDeferred
from tests.media import wav
from tests.operators.helpers import FAILURES, Logged, avatar
from tests.tasks import SensorInstance, TaskInstance, context_of, fire, run, wait

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox

LOST = {"on": "POST /generations", "times": 1, "when": "after", "reset": True}


def billed(sandbox: Sandbox) -> int:
    credits = sandbox.ledger()["credits"]
    return int(credits["used"])


def paid(result: dict[str, Any]) -> tuple[bool, int]:
    return result["adopted"], result["credits_paid"]


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize("key", [None, "shop/1"])
def test_the_result_says_who_paid_over_retries_clears_and_runs(
    hedra_sandbox: Sandbox, portrait: str, voice: str, deferrable: bool, key: str | None, logged: Logged
):
    def result(**numbers: Any) -> dict[str, Any]:
        operator = avatar(portrait, voice, deferrable=deferrable, idempotency_key=key)
        return run(operator, TaskInstance(**numbers))

    first = result()
    cost = billed(hedra_sandbox)
    assert paid(first) == (False, cost)
    logged()
    # Its XCom replaces that of the first try.
    assert paid(result(try_number=2)) == (True, cost)
    assert f"cost {cost} credits, paid once, by an earlier try." in logged()
    # With a key of the user's, a clear can't know whether it paid earlier itself or another run did.
    assert paid(result(try_number=3, max_tries=4)) == (True, 0 if key else cost)
    if key:
        logged()
        assert paid(result(run_id="another")) == (True, 0)
        assert f"cost {cost} credits, paid by another task: 0 credits here." in logged()
    assert billed(hedra_sandbox) == cost


def test_a_sum_over_runs_is_what_was_billed(hedra_sandbox: Sandbox, portrait: str, voice: str):
    """Some adopt, some pay, one lost its answer, one is replaced, one is submitted for a sensor."""
    results = [
        run(avatar(portrait, voice, idempotency_key="shared"), TaskInstance(run_id=run_id))
        for run_id in ("monday", "tuesday", "wednesday")
    ]
    hedra_sandbox.faults(LOST)
    results.append(run(avatar(portrait, voice), TaskInstance(run_id="lost")))
    hedra_sandbox.faults({"on": "POST /generations", "times": 1, "generation_error": FAILURES["INTERNAL"][0]})
    with pytest.raises(AirflowException):
        run(avatar(portrait, voice), TaskInstance(run_id="failed"))
    results.append(run(avatar(portrait, voice), TaskInstance(run_id="failed", try_number=2)))
    submitted = run(avatar(portrait, voice, wait_for_completion=False), TaskInstance(run_id="step by step"))
    ti = SensorInstance()
    wait(HedraGenerationSensor(task_id="s", generation_id=submitted["generation_id"], poke_interval=0.05), ti)
    results += [submitted, ti.xcoms["generation"]]
    assert sum(one["credits_paid"] for one in results) == billed(hedra_sandbox) > 0
    assert [one["adopted"] for one in results] == [False, True, True, False, False, False, True]


def test_an_unknown_cost_is_not_counted_as_nothing(
    hedra_sandbox: Sandbox, portrait: str, voice: str, logged: Logged
):
    hedra_sandbox.faults({"on": "GET /generations", "times": 9, "when": "before", "status": 400})
    result = run(avatar(portrait, voice))
    assert f"The cost of generation {result['generation_id']} could not be read: " in logged()
    assert (result["credit_cost"], result["credits_paid"]) == (None, None)


def test_the_last_line_begins_with_where_the_file_is(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Any, logged: Logged
):
    result = run(avatar(portrait, voice, destination=str(tmp_path / "a.mp4")))
    cost, size = billed(hedra_sandbox), result["bytes"]
    said = (
        f"Stored {result['uri']} ({size} bytes). Generation {result['generation_id']}, cost {cost} credits."
    )
    assert said in logged()


def assets(portrait: str, voice: str) -> tuple[str, str]:
    def upload(file: str) -> str:
        return str(run(HedraUploadAssetOperator(task_id="u", source=file))["asset_id"])

    return upload(portrait), upload(voice)


def test_a_submit_of_asset_ids_logs_estimate_and_cost(
    hedra_sandbox: Sandbox, portrait: str, voice: str, logged: Logged
):
    """Step by step: the submit neither uploads nor waits."""
    image, audio = assets(portrait, voice)
    ti = TaskInstance()
    before = len(hedra_sandbox.requests())
    run(avatar(image, audio, wait_for_completion=False), ti)
    cost, log = billed(hedra_sandbox), logged()
    assert f"By Hedra's published prices this costs {cost} credits." in log
    assert f"costs {cost} credits. This task does not wait for it." in log
    assert ti.xcoms["credit_estimate"]["high"] == cost
    # One request for the length of the audio, and none more for the estimate.
    paths = [f"{row['method']} {row['path']}" for row in hedra_sandbox.requests()[before:]]
    assert paths.count("GET /assets") == paths.count("GET /models") == 1


def test_an_estimate_without_a_limit_fails_nothing(
    hedra_sandbox: Sandbox, portrait: str, voice: str, logged: Logged, no_pauses: None
):
    image, audio = assets(portrait, voice)
    hedra_sandbox.faults({"on": "GET /assets", "times": None, "status": 500})
    assert run(avatar(image, audio))["status"] == "complete"
    assert "could not be estimated" in logged()
    with pytest.raises(AirflowException):
        run(avatar(image, audio, max_credits=9), TaskInstance(run_id="limited"))
    assert len(hedra_sandbox.submissions) == 1


def test_the_first_lost_answer_is_logged_before_the_minute_of_waiting(
    hedra_sandbox: Sandbox, portrait: str, voice: str, monkeypatch: pytest.MonkeyPatch, logged: Logged
):
    logged_before: list[str] = []
    monkeypatch.setattr(HedraClient, "pause", lambda self, seconds: logged_before.append(logged()))
    hedra_sandbox.faults({"on": "POST /generations", "times": 1, "when": "before", "status": 503})
    result = run(avatar(portrait, voice))
    first = logged_before[0]
    assert "Outcome of the submit unknown: Hedra answered 503" in first
    assert "up to 60 s" in first
    assert "the same id is submitted again" in first
    assert result["generation_id"] in first
    assert "Submitting the same id again" in "".join(logged_before) + logged()


def test_a_rate_limited_submit_is_logged(
    hedra_sandbox: Sandbox, portrait: str, voice: str, logged: Logged, no_pauses: None
):
    limited = {"on": "POST /generations", "when": "before", "status": 429, "times": 2}
    hedra_sandbox.faults(limited | {"headers": {"Retry-After": "3"}})
    run(avatar(portrait, voice))
    assert "The submit was not accepted and cost nothing." in logged()


@pytest.mark.hedra_sandbox(seconds=3600)
def test_what_hedra_does_not_know_is_not_called_paid_for(hedra_sandbox: Sandbox, portrait: str, voice: str):
    event: dict[str, Any] = {
        "version": 1,
        "outcome": "failed",
        "generations": [],
        "failure": {"kind": "HedraNotFoundError", "retryable": False},
    }
    ti = TaskInstance()
    operator = avatar(portrait, voice, deferrable=True)
    with pytest.raises(TaskDeferred) as raised:
        operator.execute(context_of(ti))
    (one,) = raised.value.trigger.generation_ids
    event["generation_ids"] = [one]
    event["failure"] |= {"message": f"Hedra does not know generation {one}.", "generation_id": one}
    with pytest.raises(AirflowFailException) as failed:
        operator.execute_complete(context_of(ti), event=event)
    assert "paid for" not in str(failed.value)
    assert "submits the same id only if Hedra still does not know it" in str(failed.value)


@pytest.mark.hedra_sandbox(seconds=60)
def test_who_paid_survives_a_deferral_in_another_process(hedra_sandbox: Sandbox, portrait: str, voice: str):
    operators = [avatar(portrait, voice, deferrable=True, idempotency_key="shared") for _ in range(2)]
    runs = [TaskInstance(run_id="monday"), TaskInstance(run_id="tuesday")]
    triggers = []
    for operator, ti in zip(operators, runs, strict=True):
        with pytest.raises(TaskDeferred) as raised:
            operator.execute(context_of(ti))
        triggers.append(raised.value.trigger)
    hedra_sandbox.advance(60)
    results = [
        avatar(portrait, voice, idempotency_key="shared").execute_complete(
            context_of(ti), event=fire(trigger)
        )
        for ti, trigger in zip(runs, triggers, strict=True)
    ]
    assert [paid(result) for result in results] == [(False, billed(hedra_sandbox)), (True, 0)]


def test_a_run_that_was_created_again_counts_what_the_deleted_one_paid(
    hedra_sandbox: Sandbox, portrait: str, voice: str
):
    """The XComs of the deleted run are gone, so it is counted once."""
    results = []
    for began in ("monday", "tuesday"):
        context = context_of(TaskInstance()) | {"dag_run": SimpleNamespace(start_date=began)}
        results.append(avatar(portrait, voice).execute(context))
    assert paid(results[1]) == (True, billed(hedra_sandbox))


def test_a_limit_counts_the_audio_that_is_submitted_not_the_file_that_it_replaces(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Any
):
    """``extra_request`` overrules ``audio``: the video is as long as that audio, and is billed for it."""
    (tmp_path / "long.wav").write_bytes(wav(60.0))
    _, long = assets(portrait, str(tmp_path / "long.wav"))
    operator = avatar(portrait, voice, max_credits=5, extra_request={"audio_id": long})
    with pytest.raises(AirflowFailException, match="max_credits is 5"):
        run(operator)
    assert hedra_sandbox.submissions == []


def test_a_model_of_extra_request_is_the_only_one_that_the_request_names(
    hedra_sandbox: Sandbox, portrait: str, voice: str
):
    """With two names Hedra chooses the model, and the estimate may be that of the other one."""
    character_3 = "d1dd37a3-e39a-4854-a298-6510289f9cf2"
    run(avatar(portrait, voice, extra_request={"ai_model_id": character_3}, wait_for_completion=False))
    (paid,) = hedra_sandbox.submissions
    assert paid["request"]["ai_model_id"] == character_3
    assert "model_slug" not in paid["request"]
