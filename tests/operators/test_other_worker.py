"""
A retry runs on another worker, which lacks the files of the first: what is paid for is adopted all the same,
and what this worker can't read or write is left to the retries.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider.operators import HedraDownloadOperator, HedraGenerateOperator, HedraUploadAssetOperator
from hedra_provider.storage.paths import this_worker
from tests.airflow_names import AirflowException, AirflowFailException, TaskDeferred
from tests.operators.helpers import FAILURES, avatar
from tests.tasks import TaskInstance, context_of, fire, run

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox

DIED = pytest.mark.hedra_sandbox(seconds=1)
"""The first worker dies after the charge: its try submits, and does nothing more."""


def submitted_by_worker_1(portrait: str, voice: str, **changes: Any) -> None:
    avatar(portrait, voice, wait_for_completion=False, **changes).execute(context_of(on_worker_1()))


def on_worker_1() -> TaskInstance:
    return TaskInstance(max_tries=3, hostname="worker-1")


def on_worker_2(**numbers: Any) -> TaskInstance:
    return TaskInstance(**({"try_number": 2, "max_tries": 3, "hostname": "worker-2"} | numbers))


def fails(operator: Any, ti: TaskInstance) -> AirflowException:
    with pytest.raises(AirflowException) as raised:
        run(operator, ti)
    return raised.value


@DIED
@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize("changes", [{}, {"on_clear": "new"}, {"idempotency_key": "shop/1"}], ids=str)
def test_a_paid_generation_is_adopted_without_its_sources(
    hedra_sandbox: Sandbox,
    portrait: str,
    voice: str,
    tmp_path: Path,
    deferrable: bool,
    changes: dict[str, Any],
):
    submitted_by_worker_1(portrait, voice, **changes)
    Path(portrait).unlink()
    Path(voice).unlink()
    before = len(hedra_sandbox.requests())
    ti, target = on_worker_2(), tmp_path / "a.mp4"
    result = run(avatar(portrait, voice, destination=str(target), deferrable=deferrable, **changes), ti)
    assert result["status"] == "complete"
    assert target.stat().st_size == result["bytes"]
    assert len(hedra_sandbox.submissions) == 1
    # The request is not made again: neither the catalogue nor an asset is asked for.
    asked = {row["path"].split("/")[1] for row in hedra_sandbox.requests()[before:]}
    assert asked == {"generations", "files"}


@DIED
def test_a_whole_batch_is_adopted_without_its_sources(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path
):
    batch = {"extra_request": {"batch_size": 2}}
    submitted_by_worker_1(portrait, voice, **batch)
    Path(portrait).unlink()
    run(avatar(portrait, voice, destination=f"{tmp_path}/out/", **batch), on_worker_2())
    assert len(list((tmp_path / "out").iterdir())) == len(hedra_sandbox.submissions) == 2


@DIED
def test_a_part_of_a_batch_that_is_paid_for_is_named(hedra_sandbox: Sandbox, portrait: str, voice: str):
    submitted_by_worker_1(portrait, voice)
    Path(portrait).unlink()
    error = fails(avatar(portrait, voice, extra_request={"batch_size": 2}), on_worker_2())
    assert not isinstance(error, AirflowFailException)
    (paid,) = hedra_sandbox.submissions
    assert f"Generation {paid['generation_id']} exists and may be paid for" in str(error)


@DIED
def test_a_destination_that_this_worker_cannot_write_is_left_to_the_retries(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path
):
    submitted_by_worker_1(portrait, voice)
    (tmp_path / "disk").write_text("not a folder on this worker")
    operator = avatar(portrait, voice, destination=str(tmp_path / "disk" / "a.mp4"))
    error = fails(operator, on_worker_2())
    assert not isinstance(error, AirflowFailException)
    said, (paid,) = str(error), hedra_sandbox.submissions
    assert said.startswith("destination: ")
    assert f"can't be written to on {this_worker()}" in said
    assert f"Generation {paid['generation_id']} exists and may be paid for." in said
    assert "Airflow tries again (try 3 of 4)." in said


def test_a_source_that_this_worker_lacks_is_left_to_the_retries(
    hedra_sandbox: Sandbox, portrait: str, voice: str
):
    """Nothing was submitted: the first worker died before."""
    Path(portrait).unlink()
    error = fails(avatar(portrait, voice), on_worker_2())
    assert not isinstance(error, AirflowFailException)
    assert f"can't be opened on {this_worker()}: there is no such file." in str(error)
    assert "paid for" not in str(error)
    assert "Airflow tries again (try 3 of 4)." in str(error)


def test_where_hedra_cannot_be_asked_it_is_not_said_that_nothing_is_paid_for(
    hedra_sandbox: Sandbox, portrait: str, voice: str, no_pauses: None
):
    Path(portrait).unlink()
    hedra_sandbox.faults({"on": "GET /generations/{id}/status", "skip": 1, "times": 99, "status": 503})
    said = str(fails(avatar(portrait, voice), on_worker_2()))
    assert "may be paid for" in said


def test_on_a_first_try_a_missing_source_fails_at_once(hedra_sandbox: Sandbox, portrait: str, voice: str):
    Path(portrait).unlink()
    error = fails(avatar(portrait, voice), on_worker_2(try_number=1))
    assert isinstance(error, AirflowFailException)
    assert f"on {this_worker()}" in str(error)
    assert hedra_sandbox.ledger()["requests"] == [] or hedra_sandbox.submissions == []


def test_a_destination_that_is_wrong_on_every_worker_is_not_retried(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path
):
    operator = avatar(portrait, voice, destination=f"{tmp_path}/../a.mp4")
    assert isinstance(fails(operator, on_worker_2()), AirflowFailException)


@DIED
def test_a_clear_does_not_adopt_blindly_but_names_what_is_paid_for(
    hedra_sandbox: Sandbox, portrait: str, voice: str
):
    """Without the file, nobody knows whether the request was changed."""
    submitted_by_worker_1(portrait, voice)
    Path(portrait).unlink()
    error = fails(avatar(portrait, voice), on_worker_2(try_number=3, max_tries=4))
    (paid,) = hedra_sandbox.submissions
    assert f"Generation {paid['generation_id']} exists and may be paid for." in str(error)
    assert not isinstance(error, AirflowFailException)


@DIED
def test_what_another_run_paid_for_is_not_adopted_blindly(hedra_sandbox: Sandbox, portrait: str, voice: str):
    submitted_by_worker_1(portrait, voice, idempotency_key="shop/1")
    Path(portrait).unlink()
    error = fails(avatar(portrait, voice, idempotency_key="shop/1"), on_worker_2(run_id="another"))
    assert "may be paid for" in str(error)


@DIED
def test_a_generation_that_failed_is_not_adopted(hedra_sandbox: Sandbox, portrait: str, voice: str):
    error, _ = FAILURES["INTERNAL"]
    hedra_sandbox.faults({"on": "POST /generations", "times": 1, "generation_error": error})
    fails(avatar(portrait, voice), on_worker_1())
    run(avatar(portrait, voice), on_worker_2())
    assert len(hedra_sandbox.submissions) == 2


@DIED
def test_the_second_generation_of_a_key_is_adopted_too(hedra_sandbox: Sandbox, portrait: str, voice: str):
    """The first one failed; the one that replaced it is this attempt group's as well."""
    error, _ = FAILURES["INTERNAL"]
    hedra_sandbox.faults({"on": "POST /generations", "times": 1, "generation_error": error})
    fails(avatar(portrait, voice), on_worker_1())
    avatar(portrait, voice, wait_for_completion=False).execute(context_of(on_worker_2()))
    Path(portrait).unlink()
    result = run(avatar(portrait, voice), on_worker_2(try_number=3))
    assert result["generation_id"] == hedra_sandbox.submissions[1]["generation_id"]


@DIED
def test_after_a_retry_slot_on_another_worker_a_missing_source_is_left_to_the_retries(
    hedra_sandbox: Sandbox, portrait: str, voice: str, no_pauses: None
):
    limited = {"on": "GET /models", "when": "before", "status": 429, "times": None}
    hedra_sandbox.faults(limited | {"headers": {"Retry-After": "600"}})
    with pytest.raises(TaskDeferred) as raised:
        avatar(portrait, voice, deferrable=True).execute(context_of(on_worker_1()))
    hedra_sandbox.faults()
    Path(portrait).unlink()
    raised.value.trigger.resume_at = 0.0
    event = fire(raised.value.trigger)
    with pytest.raises(AirflowException) as failed:
        avatar(portrait, voice, deferrable=True).execute_turn(
            context_of(on_worker_2(try_number=1)), event=event
        )
    assert not isinstance(failed.value, AirflowFailException)


@DIED
@pytest.mark.parametrize("scheme", ["gs", "unheard"])
def test_a_task_resumed_on_a_worker_without_the_package_of_its_storage_names_what_is_paid_for(
    hedra_sandbox: Sandbox, portrait: str, voice: str, scheme: str
):
    with pytest.raises(TaskDeferred) as raised:
        avatar(portrait, voice, deferrable=True).execute(context_of(on_worker_1()))
    event = fire(raised.value.trigger)
    resumed = avatar(portrait, voice, deferrable=True, destination=f"{scheme}://bucket/a.mp4")
    with pytest.raises(AirflowException) as failed:
        resumed.execute_complete(context_of(on_worker_2(try_number=1)), event=event)
    assert not isinstance(failed.value, AirflowFailException)
    said, (paid,) = str(failed.value), hedra_sandbox.submissions
    assert said.startswith(f"{scheme}://bucket/a.mp4 can't be written on {this_worker()}: ")
    assert f"Generation {paid['generation_id']} is paid for." in said


@pytest.mark.parametrize("try_number", [1, 2])
def test_a_step_that_only_uploads_is_left_to_the_retries_too(
    hedra_sandbox: Sandbox, portrait: str, try_number: int
):
    error = fails(
        HedraUploadAssetOperator(task_id="upload", source=f"{portrait}.png"),
        on_worker_2(task_id="upload", try_number=try_number),
    )
    assert isinstance(error, AirflowFailException) is (try_number == 1)
    assert f"can't be opened on {this_worker()}" in str(error)
    assert ("Airflow tries again (try 3 of 4)." in str(error)) is (try_number == 2)


@DIED
def test_a_step_that_only_downloads_is_left_to_the_retries_too(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path
):
    submitted_by_worker_1(portrait, voice)
    (paid,) = hedra_sandbox.submissions
    (tmp_path / "disk").write_text("not a folder on this worker")
    error = fails(
        HedraDownloadOperator(
            task_id="fetch", generation_id=paid["generation_id"], destination=f"{tmp_path}/disk/a.mp4"
        ),
        on_worker_2(task_id="fetch"),
    )
    assert not isinstance(error, AirflowFailException)
    for words in (f"can't be written to on {this_worker()}", "Another worker may", paid["generation_id"]):
        assert words in str(error)


@DIED
def test_the_row_of_the_list_says_who_paid_where_the_status_does_not(
    hedra_sandbox: Sandbox, portrait: str, voice: str
):
    submitted_by_worker_1(portrait, voice)
    Path(portrait).unlink()
    hedra_sandbox.faults(
        {"on": "GET /generations/{id}/status", "times": 1, "patch": {"asset_id": None}},
    )
    run(avatar(portrait, voice), on_worker_2())
    assert len(hedra_sandbox.submissions) == 1


def test_any_request_is_adopted_without_the_catalogue(hedra_sandbox: Sandbox, portrait: str, voice: str):
    submitted_by_worker_1(portrait, voice)
    request = hedra_sandbox.submissions[0]["request"]
    body = {k: v for k, v in request.items() if k not in ("generation_id", "reserved_asset_id")}
    for number in (1, 2):
        operator = HedraGenerateOperator(task_id="generic", request=body, wait_for_completion=False)
        before = len(hedra_sandbox.requests("GET", "/models"))
        operator.execute(context_of(TaskInstance(task_id="generic", try_number=number)))
    assert len(hedra_sandbox.requests("GET", "/models")) == before
    assert len(hedra_sandbox.submissions) == 2
