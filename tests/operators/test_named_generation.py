"""``generation_id`` adopts a generation in place of a submit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider.operators import HedraGenerateOperator
from tests.airflow_names import AirflowException, AirflowFailException
from tests.operators.helpers import FAILURES, NOBODY, Logged, avatar
from tests.tasks import TaskInstance, context_of, run

if TYPE_CHECKING:
    from pathlib import Path

    from hedra_provider.testing import Sandbox

JOB = "job_0f3a5f0e-5b8c-4b8e-9c7a-2f2f6f9d7a11"


@pytest.fixture
def paid(hedra_sandbox: Sandbox, portrait: str, voice: str) -> dict[str, Any]:
    """A generation that another task paid for."""
    made: dict[str, Any] = run(avatar(portrait, voice), TaskInstance(task_id="other"))
    return made


def submits(sandbox: Sandbox) -> int:
    return len(sandbox.requests("POST", "/generations"))


@pytest.mark.parametrize("deferrable", [False, True])
def test_it_is_fetched_and_nothing_is_submitted(
    hedra_sandbox: Sandbox, paid: dict[str, Any], tmp_path: Path, logged: Logged, deferrable: bool
):
    # No worker has these files any more.
    gone = str(tmp_path / "gone")
    operator = avatar(
        f"{gone}.png",
        f"{gone}.wav",
        generation_id=paid["generation_id"],
        destination=str(tmp_path / "again.mp4"),
        deferrable=deferrable,
    )
    result = run(operator)
    assert (tmp_path / "again.mp4").stat().st_size == result["bytes"]
    assert (result["generation_id"], result["adopted"]) == (paid["generation_id"], True)
    # Another task paid, and its XCom counts the payment.
    assert (result["credit_cost"], result["credits_paid"]) == (paid["credit_cost"], 0)
    assert submits(hedra_sandbox) == 1
    assert "generation_id names it. Nothing is submitted." in logged()


def test_what_the_task_itself_paid_stays_its_payment(hedra_sandbox: Sandbox, portrait: str, voice: str):
    made = run(avatar(portrait, voice))
    again = run(avatar(portrait, voice, generation_id=made), TaskInstance(try_number=3, max_tries=5))
    assert again["credits_paid"] == made["credits_paid"] > 0


@pytest.mark.parametrize("form", [lambda one: {"generation_id": one}, str.upper, lambda one: f" {one} "])
def test_an_id_in_each_form(hedra_sandbox: Sandbox, paid: dict[str, Any], form: Any):
    request = {"type": "video"}
    operator = HedraGenerateOperator(
        task_id="a", request=request, generation_id=form(paid["generation_id"]), validate=False
    )
    assert run(operator)["generation_id"] == paid["generation_id"]
    assert submits(hedra_sandbox) == 1


@pytest.mark.parametrize("key", [2, "2"])
def test_a_mapped_task_takes_the_id_of_its_index(
    hedra_sandbox: Sandbox, paid: dict[str, Any], portrait: str, voice: str, key: Any
):
    ids = {key: {"generation_id": paid["generation_id"]}}
    adopted = run(avatar(portrait, voice, generation_id=ids), TaskInstance(map_index=2))
    assert (adopted["generation_id"], submits(hedra_sandbox)) == (paid["generation_id"], 1)
    made = run(avatar(portrait, voice, generation_id=ids), TaskInstance(map_index=1))
    assert made["generation_id"] != paid["generation_id"]
    assert submits(hedra_sandbox) == 2


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (NOBODY, "Hedra does not know generation"),
        (JOB, "is a generation of API v3, but the connection's key is for API v2"),
        ("tomorrow", "is not a UUID"),
        ({2: "tomorrow"}, "generation_id[2]"),
    ],
)
def test_a_wrong_one_fails_the_task_and_submits_nothing(
    hedra_sandbox: Sandbox, portrait: str, voice: str, wrong: Any, says: str
):
    with pytest.raises(AirflowFailException) as failed:
        avatar(portrait, voice, generation_id=wrong).execute(context_of(TaskInstance()))
    assert says in str(failed.value)
    assert submits(hedra_sandbox) == 0
    assert hedra_sandbox.requests("POST", "/assets") == []


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_failed_one_is_not_retried(hedra_sandbox: Sandbox, portrait: str, voice: str, deferrable: bool):
    body, kind = FAILURES["INTERNAL"]
    hedra_sandbox.faults({"on": "POST /generations", "generation_error": body})
    ti = TaskInstance(task_id="other")
    with pytest.raises(kind):
        run(avatar(portrait, voice), ti)
    again = avatar(portrait, voice, generation_id=ti.xcoms["generation_id"], deferrable=deferrable)
    with pytest.raises(AirflowFailException, match="generation_id names it"):
        run(again)
    assert submits(hedra_sandbox) == 1


def test_an_error_after_it_was_found_is_left_to_the_retries(
    hedra_sandbox: Sandbox, paid: dict[str, Any], portrait: str, voice: str, tmp_path: Path
):
    hedra_sandbox.faults({"on": "GET /files/{id}", "times": 99, "when": "before", "status": 500})
    stored = str(tmp_path / "a.mp4")
    operator = avatar(portrait, voice, generation_id=paid["generation_id"], destination=stored)
    with pytest.raises(AirflowException) as failed:
        run(operator)
    # Its id is not made from this task run, yet a retry finds it: generation_id names it.
    assert not isinstance(failed.value, AirflowFailException)
    assert "A retry or a clear of this task adopts it without paying again" in str(failed.value)
