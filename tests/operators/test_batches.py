"""A request with a batch_size: every variation is paid for, adopted, stored and replaced for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider.operators import HedraGenerateOperator
from tests.airflow_names import AirflowException, AirflowFailException, TaskDeferred
from tests.operators.helpers import FAILURES, RESULT_KEYS, Logged, avatar
from tests.tasks import TaskInstance, context_of, fire, run

if TYPE_CHECKING:
    from pathlib import Path

    from hedra_provider.testing import Sandbox

SUBMIT = "POST /generations"


def batch(portrait: str, voice: str, size: Any = 3, **changes: Any) -> Any:
    return avatar(portrait, voice, extra_request={"batch_size": size}, **changes)


def paid(sandbox: Sandbox) -> list[str]:
    return [row["generation_id"] for row in sandbox.submissions if row["credits"]]


@pytest.mark.parametrize("deferrable", [True, False])
def test_every_variation_is_stored_and_logged(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path, deferrable: bool
):
    ti, folder = TaskInstance(), tmp_path / "out"
    result = run(batch(portrait, voice, "3", destination=f"{folder}/", deferrable=deferrable), ti)
    assert len(hedra_sandbox.requests("POST", "/generations")) == 1
    ids = paid(hedra_sandbox)
    assert len(set(ids)) == 3
    assert ti.xcoms["generation_ids"] == ids
    assert ti.pushed.index("generation_ids") < ti.pushed.index("generations")
    rows = ti.xcoms["generations"]
    assert [row["generation_id"] for row in rows] == ids
    assert all(set(row) == RESULT_KEYS and row["status"] == "complete" for row in rows)
    assert [row["uri"] for row in rows] == [f"file://{folder}/{one}.mp4" for one in ids]
    assert {path.stem for path in folder.iterdir()} == set(ids)
    assert result == ti.xcoms["generation"] == rows[0]


def test_one_file_for_several_is_rejected_before_anything_is_spent(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path
):
    with pytest.raises(AirflowFailException, match="a batch makes several"):
        run(batch(portrait, voice, destination=str(tmp_path / "a.mp4")))
    assert paid(hedra_sandbox) == []


@pytest.mark.parametrize("size", [0, 9, "many"])
def test_a_size_that_hedra_does_not_take_is_rejected(
    hedra_sandbox: Sandbox, portrait: str, voice: str, size: Any
):
    with pytest.raises(AirflowFailException, match="batch_size"):
        run(batch(portrait, voice, size))
    assert hedra_sandbox.ledger()["requests"] == []


@pytest.mark.hedra_sandbox(seconds=3600)
def test_a_retry_adopts_them_all(hedra_sandbox: Sandbox, portrait: str, voice: str):
    hedra_sandbox.faults({"on": SUBMIT, "when": "after", "reset": True})
    for try_number in (1, 2):
        with pytest.raises(TaskDeferred) as raised:
            batch(portrait, voice, deferrable=True).execute(context_of(TaskInstance(try_number=try_number)))
        assert raised.value.trigger.generation_ids == paid(hedra_sandbox)
    assert len(paid(hedra_sandbox)) == 3


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_retry_replaces_only_what_failed(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path, deferrable: bool
):
    folder = tmp_path / "out"
    options = {"destination": f"{folder}/", "deferrable": deferrable}
    hedra_sandbox.faults(
        {"on": SUBMIT, "times": 1, "generation_error": FAILURES["INTERNAL"][0]},
    )
    # The first variation alone fails: it was made by a batch of one.
    with pytest.raises(AirflowException):
        run(batch(portrait, voice, 1, **options))
    ti = TaskInstance(try_number=2)
    run(batch(portrait, voice, 3, **options), ti)
    first, *rest = paid(hedra_sandbox)
    assert len(rest) == 3
    assert first not in ti.xcoms["generation_ids"]
    assert {path.stem for path in folder.iterdir()} == set(rest)


def test_what_is_complete_is_kept_where_others_failed(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path
):
    error, _ = FAILURES["MODERATION_LIKENESS"]
    folder, ti = tmp_path / "out", TaskInstance(try_number=2)
    run(batch(portrait, voice, 1))
    hedra_sandbox.faults({"on": SUBMIT, "times": 1, "generation_error": error})
    with pytest.raises(AirflowFailException, match="2 of 3 variations failed"):
        run(batch(portrait, voice, 3, destination=f"{folder}/"), ti)
    assert [row["status"] for row in ti.xcoms["generations"]] == ["complete", "error", "error"]
    assert ti.xcoms["generation"] == ti.xcoms["generations"][0]
    assert [row["error_code"] for row in ti.xcoms["generations"]][1:] == ["MODERATION_LIKENESS"] * 2
    assert [path.stem for path in folder.iterdir()] == [paid(hedra_sandbox)[0]]


def test_the_limit_is_for_all_that_is_submitted(hedra_sandbox: Sandbox, portrait: str, voice: str):
    ti = TaskInstance()
    run(batch(portrait, voice, 1, max_credits=3), ti)
    one = ti.xcoms["credit_estimate"]["high"]
    with pytest.raises(AirflowFailException, match=f"may cost {2 * one} credits"):
        run(batch(portrait, voice, 3, max_credits=2 * one - 1))
    assert len(paid(hedra_sandbox)) == 1
    run(batch(portrait, voice, 3, max_credits=2 * one))
    assert len(paid(hedra_sandbox)) == 3


def test_a_batch_of_images(hedra_sandbox: Sandbox, portrait: str, voice: str):
    """The generic operator knows batches as well."""
    from hedra_provider.api import calls
    from hedra_provider.hooks import HedraHook

    request = {"type": "video", "model_slug": "together/hedra-avatar", "batch_size": 2}
    request |= {"generated_video_inputs": {"text_prompt": "p", "aspect_ratio": "9:16", "resolution": "540p"}}
    with HedraHook().get_conn() as client:
        speaker = client.run(calls.list_voices())[0].id
    ti = TaskInstance()
    run(avatar(portrait, voice), ti)
    image = hedra_sandbox.submissions[0]["request"]["start_keyframe_id"]
    speech = {"type": "text_to_speech", "voice_id": speaker, "text": "Hi"}
    request |= {"start_keyframe_id": image, "audio_generation": speech}
    ti = TaskInstance(task_id="generic")
    run(HedraGenerateOperator(task_id="generic", request=request, poll_interval=0.05), ti)
    assert ti.xcoms["generation_ids"] == paid(hedra_sandbox)[1:]
    assert len(ti.xcoms["generations"]) == 2


@pytest.mark.hedra_sandbox(seconds=60)
def test_an_event_of_another_batch_is_not_taken(hedra_sandbox: Sandbox, portrait: str, voice: str):
    """Both have the same first variation."""
    triggers, operators, rounds = [], [], []
    for size in (2, 3):
        operators.append(batch(portrait, voice, size, deferrable=True))
        rounds.append(TaskInstance())
        with pytest.raises(TaskDeferred) as raised:
            operators[-1].execute(context_of(rounds[-1]))
        triggers.append(raised.value.trigger)
    hedra_sandbox.advance(60)
    old, new = (fire(trigger) for trigger in triggers)
    with pytest.raises(TaskDeferred):
        operators[1].execute_complete(context_of(rounds[1]), event=old)
    operators[1].execute_complete(context_of(rounds[1]), event=new)
    assert len(rounds[1].xcoms["generations"]) == 3


@pytest.mark.hedra_sandbox(seconds=3600)
def test_a_killed_task_names_all_that_runs_on(
    hedra_sandbox: Sandbox, portrait: str, voice: str, logged: Logged
):
    operator = batch(portrait, voice, 2, wait_for_completion=False)
    operator.execute(context_of(TaskInstance()))
    operator.on_kill()
    log = logged()
    assert f"Generation {', '.join(paid(hedra_sandbox))}, if it was submitted, runs on" in log


@pytest.mark.hedra_sandbox(duplicate_id="ignore")
def test_an_api_that_ignores_our_ids_is_paid_once(hedra_sandbox: Sandbox, portrait: str, voice: str):
    ti = TaskInstance()
    run(batch(portrait, voice, 2), ti)
    assert sorted(ti.xcoms["generation_ids"]) == sorted(paid(hedra_sandbox))
    run(batch(portrait, voice, 2), TaskInstance(try_number=2))
    assert len(paid(hedra_sandbox)) == 2


@pytest.mark.hedra_sandbox(seconds=3600)
def test_the_hook_submits_a_batch_once(hedra_sandbox: Sandbox, portrait: str, voice: str):
    from hedra_provider.api.errors import HedraValueError
    from hedra_provider.hooks import HedraHook

    run(avatar(portrait, voice, wait_for_completion=False))
    sent = hedra_sandbox.submissions[0]["request"]
    request = {k: v for k, v in sent.items() if k not in ("generation_id", "reserved_asset_id")}
    hook = HedraHook()
    for size in (2, 2, 3):
        made = hook.submit_batch_once(request | {"batch_size": size}, idempotency_key="shop/1")
        assert len({one.generation.id for one in made}) == size
    assert len(paid(hedra_sandbox)) == 1 + 3
    with pytest.raises(HedraValueError, match="submit_batch_once"):
        hook.submit_once(request | {"batch_size": 2}, idempotency_key="shop/1")
