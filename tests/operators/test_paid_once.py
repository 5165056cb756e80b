"""A task run pays for one generation, and not more than it may."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider.operators import (
    HedraGenerateOperator,
)
from tests.airflow_names import AirflowException, AirflowFailException, TaskDeferred
from tests.media import wav
from tests.tasks import TaskInstance, context_of, fire, run

if TYPE_CHECKING:
    from pathlib import Path

    from hedra_provider.testing import Sandbox
from tests.operators.helpers import FAILURES, Logged, avatar


def test_the_id_is_there_before_the_submit(hedra_sandbox: Sandbox, portrait: str, voice: str):
    hedra_sandbox.faults({"on": "POST /generations", "times": 9, "when": "before", "status": 403})
    ti = TaskInstance()
    with pytest.raises(AirflowFailException):
        run(avatar(portrait, voice), ti)
    assert ti.pushed[-1] == "generation_id"
    assert "generation" not in ti.pushed


def test_a_key_made_of_another_field_is_made_of_what_that_became(portrait: str, voice: str):
    """Airflow 3.0 renders templates with the task as it was before: all rows would share one key."""
    changes = {"name": "row-{{ 6 + 1 }}", "idempotency_key": "shop/{{ task.name }}"}
    written = avatar(portrait, voice, **changes, destination="/{{ task.name }}.mp4")
    rendered = written.prepare_for_execution()
    rendered.render_template_fields({"task": written})
    assert (rendered.idempotency_key, rendered.destination) == ("shop/row-7", "/row-7.mp4")


@pytest.mark.hedra_sandbox(seconds=3600)
def test_a_retry_adopts_what_the_first_try_submitted(hedra_sandbox: Sandbox, portrait: str, voice: str):
    first = avatar(portrait, voice, deferrable=True)
    with pytest.raises(TaskDeferred):
        first.execute(context_of(TaskInstance()))
    with pytest.raises(TaskDeferred):
        avatar(portrait, voice, deferrable=True).execute(context_of(TaskInstance(try_number=2)))
    assert len(hedra_sandbox.submissions) == 1
    # The same bytes are one asset each.
    assert len(hedra_sandbox.requests("POST", "/assets")) == 2


@pytest.mark.hedra_sandbox(seconds=3600)
def test_a_clear_adopts_unless_new_is_asked_for(hedra_sandbox: Sandbox, portrait: str, voice: str):
    def submit(**facts: Any) -> str:
        ti = TaskInstance(**facts)
        avatar(portrait, voice, wait_for_completion=False, on_clear=on_clear).execute(context_of(ti))
        return ti.xcoms["generation_id"]

    on_clear = "adopt"
    assert submit() == submit(try_number=3, max_tries=4)
    on_clear = "new"
    assert submit() == submit(try_number=2)
    assert submit() != submit(try_number=3, max_tries=4)


@pytest.mark.hedra_sandbox(seconds=3600)
def test_an_idempotency_key_is_shared_by_runs(hedra_sandbox: Sandbox, portrait: str, voice: str):
    for run_id in ("monday", "tuesday"):
        operator = avatar(portrait, voice, wait_for_completion=False, idempotency_key="shop/row-1")
        operator.execute(context_of(TaskInstance(run_id=run_id)))
    assert len(hedra_sandbox.submissions) == 1


@pytest.mark.hedra_sandbox(seconds=3600)
def test_an_idempotency_key_pays_once_though_a_template_renders_again(
    hedra_sandbox: Sandbox, portrait: str, voice: str
):
    for try_number in (1, 2):
        operator = avatar(
            portrait,
            voice,
            wait_for_completion=False,
            idempotency_key="k",
            text_prompt=f"At 12:0{try_number}",
        )
        operator.execute(context_of(TaskInstance(try_number=try_number)))
    assert len(hedra_sandbox.submissions) == 1


@pytest.mark.parametrize("tries", [1, 3])
@pytest.mark.hedra_sandbox(seconds=3600)
def test_a_retry_after_an_edit_and_a_clear_makes_the_edited_one(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tries: int
):
    def submit(prompt: str, **facts: Any) -> str:
        ti = TaskInstance(**facts)
        avatar(portrait, voice, wait_for_completion=False, text_prompt=prompt).execute(context_of(ti))
        return hedra_sandbox.submissions[-1]["request"]["generated_video_inputs"]["text_prompt"]

    assert submit("Old") == "Old"
    for try_number in range(3, 3 + tries):
        assert submit(f"New, try {try_number}", try_number=try_number, max_tries=4) == "New, try 3"
    assert len(hedra_sandbox.submissions) == 2


@pytest.mark.hedra_sandbox(duplicate_id="ignore")
def test_an_api_that_ignores_our_ids_is_paid_once(
    hedra_sandbox: Sandbox, portrait: str, voice: str, logged: Logged
):
    ti = TaskInstance()
    result = run(avatar(portrait, voice), ti)
    assert (
        ti.xcoms["generation_id"] == result["generation_id"] == hedra_sandbox.submissions[0]["generation_id"]
    )
    assert "does not use our ids" in logged()
    run(avatar(portrait, voice), TaskInstance(try_number=2))
    assert len(hedra_sandbox.submissions) == 1


@pytest.mark.hedra_sandbox(duplicate_id="ignore", seconds=3600)
@pytest.mark.parametrize("deferrable", [True, False])
def test_what_a_retry_could_not_find_again_is_not_retried(
    hedra_sandbox: Sandbox, portrait: str, voice: str, deferrable: bool
):
    with pytest.raises(AirflowFailException, match="Not retried"):
        run(avatar(portrait, voice, deferrable=deferrable, timeout=0.2))


@pytest.mark.hedra_sandbox(workspaces={"conn": 90, "body": 90, "own": 90})
def test_the_workspace_that_is_named_closest_pays(hedra_sandbox: Sandbox):
    def bill(**arguments: Any) -> str:
        request = {"type": "text_to_speech", "voice_id": voice, "text": "Hi"} | arguments.pop("request", {})
        run(HedraGenerateOperator(task_id=f"t{len(hedra_sandbox.submissions)}", request=request, **arguments))
        return hedra_sandbox.submissions[-1]["workspace"]

    from hedra_provider.api import calls
    from hedra_provider.hooks import HedraHook

    with HedraHook().get_conn() as client:
        voice = client.run(calls.list_voices())[0].id
    assert bill(idempotency_key="a") == "conn"
    assert bill(idempotency_key="b", request={"workspace_id": "body"}) == "body"
    assert bill(idempotency_key="c", request={"workspace_id": "body"}, workspace_id="own") == "own"


@pytest.mark.parametrize("key", [0, "", None])
def test_a_key_of_zero_is_a_key(hedra_sandbox: Sandbox, portrait: str, voice: str, key: Any):
    for run_id in ("monday", "tuesday"):
        run(avatar(portrait, voice, idempotency_key=key), TaskInstance(run_id=run_id))
    assert len(hedra_sandbox.submissions) == (1 if key == 0 else 2)


def test_a_limit_is_kept_before_anything_is_spent(hedra_sandbox: Sandbox, portrait: str, voice: str):
    with pytest.raises(AirflowFailException, match=r"may cost \d+ credits, max_credits is 0"):
        run(avatar(portrait, voice, max_credits=0))
    assert hedra_sandbox.submissions == []
    assert run(avatar(portrait, voice, max_credits="10"))["status"] == "complete"
    # What is paid for already costs nothing more.
    assert run(avatar(portrait, voice, max_credits=0))["status"] == "complete"


def test_a_limit_rejects_a_request_of_unknown_cost(hedra_sandbox: Sandbox):
    request = {"type": "image", "text_prompt": "A house", "model_slug": "no/such-model"}
    with pytest.raises(AirflowFailException, match="can't be estimated"):
        run(HedraGenerateOperator(task_id="t", request=request, max_credits=10))
    assert hedra_sandbox.requests("POST") == []


def test_inline_speech_is_compared_by_its_upper_bound(hedra_sandbox: Sandbox, portrait: str):
    from hedra_provider.api import calls
    from hedra_provider.hooks import HedraHook

    with HedraHook().get_conn() as client:
        voice = client.run(calls.list_voices())[0].id
    ti = TaskInstance()
    run(avatar(portrait, None, text="Good morning, everybody. " * 5, voice_id=voice), ti)
    estimate, cost = ti.xcoms["credit_estimate"], ti.xcoms["generation"]["credit_cost"]
    assert estimate["low"] <= cost <= estimate["high"]


@pytest.mark.hedra_sandbox(credits=2)
def test_a_402_says_who_was_to_pay(hedra_sandbox: Sandbox, portrait: str, tmp_path: Path):
    audio = tmp_path / "long.wav"
    audio.write_bytes(wav(20))
    with pytest.raises(AirflowFailException, match="The key's default workspace was to pay"):
        run(avatar(portrait, str(audio)))


@pytest.mark.hedra_sandbox(seconds=3600)
def test_mapped_tasks_pay_one_by_one(hedra_sandbox: Sandbox, portrait: str, voice: str):
    for index in range(3):
        operator = avatar(portrait, voice, wait_for_completion=False)
        operator.execute(context_of(TaskInstance(map_index=index)))
    assert len({row["generation_id"] for row in hedra_sandbox.submissions}) == 3


@pytest.mark.hedra_sandbox(seconds=3600)
def test_a_killed_task_says_what_runs_on_and_costs(
    hedra_sandbox: Sandbox, portrait: str, voice: str, logged: Logged
):
    operator = avatar(portrait, voice, wait_for_completion=False)
    operator.on_kill()
    assert "It has submitted nothing" in logged()
    operator.execute(context_of(TaskInstance()))
    operator.on_kill()
    (submission,) = hedra_sandbox.submissions
    log = logged()
    assert f"Generation {submission['generation_id']}, if it was submitted, runs on" in log
    assert f"costs {submission['credits']} credits" in log
    assert "A retry or a clear of the task adopts it" in log


@pytest.mark.hedra_sandbox(seconds=3600)
def test_a_killed_task_whose_clear_pays_does_not_say_that_a_clear_is_free(
    hedra_sandbox: Sandbox, portrait: str, voice: str, logged: Logged
):
    operator = avatar(portrait, voice, wait_for_completion=False, on_clear="new")
    operator.execute(context_of(TaskInstance()))
    operator.on_kill()
    log = logged()
    assert "A retry adopts it without paying again. A clear pays for another" in log
    assert "or a clear" not in log


@pytest.mark.hedra_sandbox(workspaces={"team": 4}, credits=9999, seconds=3600)
def test_a_low_balance_warns(hedra_sandbox: Sandbox, portrait: str, logged: Logged, tmp_path: Path):
    (tmp_path / "long.wav").write_bytes(wav(20))
    with pytest.raises(AirflowFailException, match="Workspace team was to pay"):
        run(avatar(portrait, str(tmp_path / "long.wav"), max_credits=500))
    assert "Workspace team has 4 credits; this may cost" in logged()


@pytest.mark.hedra_sandbox(seconds=3600)
def test_a_run_that_was_created_again_is_another_attempt_group(
    hedra_sandbox: Sandbox, portrait: str, voice: str
):
    def submit(prompt: str, began: str) -> str:
        ti = TaskInstance()
        context = context_of(ti) | {"dag_run": SimpleNamespace(start_date=began)}
        avatar(portrait, voice, wait_for_completion=False, text_prompt=prompt).execute(context)
        return ti.xcoms["generation_id"]

    first = submit("Old", "monday")
    assert submit("Rendered again", "monday") == first
    assert submit("Old", "tuesday") == first
    assert submit("New", "tuesday") != first
    assert len(hedra_sandbox.submissions) == 2


@pytest.mark.hedra_sandbox(duplicate_id="ignore")
def test_a_failed_generation_with_a_foreign_id_is_retried(hedra_sandbox: Sandbox, portrait: str, voice: str):
    hedra_sandbox.faults({"on": "POST /generations", "times": 1, "generation_error": FAILURES["INTERNAL"][0]})
    with pytest.raises(AirflowException) as raised:
        run(avatar(portrait, voice))
    assert not isinstance(raised.value, AirflowFailException)


@pytest.mark.hedra_sandbox(seconds=60)
def test_the_event_of_another_trigger_is_not_taken(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path
):
    target = tmp_path / "a.mp4"
    operators = [
        avatar(portrait, voice, text_prompt=f"Round {n}", deferrable=True, destination=str(target))
        for n in (1, 2)
    ]
    rounds = [TaskInstance(), TaskInstance(try_number=3, max_tries=4)]
    triggers = []
    for operator, ti in zip(operators, rounds, strict=True):
        with pytest.raises(TaskDeferred) as raised:
            operator.execute(context_of(ti))
        triggers.append(raised.value.trigger)
    hedra_sandbox.advance(60)
    old, new = (fire(trigger) for trigger in triggers)
    with pytest.raises(TaskDeferred) as raised:
        operators[1].execute_complete(context_of(rounds[1]), event=old)
    assert raised.value.trigger.generation_ids == new["generation_ids"] != old["generation_ids"]
    assert not target.exists()
    result = operators[1].execute_complete(context_of(rounds[1]), event=new)
    assert [result["generation_id"]] == new["generation_ids"]
    assert target.exists()
