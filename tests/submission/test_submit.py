"""Submit once, over real HTTP: the existing generation of the id decides."""

from __future__ import annotations

import uuid

import httpx
import pytest

from hedra_provider.api import calls
from hedra_provider.api.client import HedraClient
from hedra_provider.api.errors import (
    HedraConflictError,
    HedraError,
    HedraInsufficientCreditsError,
    HedraNotFoundError,
)
from hedra_provider.submission.plan import Rule, plan_submission
from hedra_provider.submission.submit import execute_plan
from hedra_provider.testing import Sandboxes
from tests.api.accounts import Account, ids, ids_of

FAILED = {"on": "POST /generations", "generation_error": {"type": "INTERNAL", "message": "no luck"}}


def test_an_unknown_id_is_submitted(account: Account):
    done = account.submit()
    assert done.plan.rule is Rule.NEW
    assert done.generation.id == ids()(0)
    assert [row["generation_id"] for row in account.paid] == [ids()(0)]
    request = account.paid[0]["request"]
    assert (request["generation_id"], request["reserved_asset_id"]) == ids_of()(0)
    assert done.generation.asset_id == ids_of()(0)[1]


def test_the_first_attempt_polls_once_before_its_submit(account: Account):
    account.run(plan_submission(account.body(), ids_of()))
    paths = [(row["method"], row["path"]) for row in account.sandbox.ledger()["requests"][-1:]]
    assert paths == [("GET", f"/generations/{ids()(0)}/status")]


@pytest.mark.parametrize("attempt_group", ["run-1", "run-2"])
@pytest.mark.hedra_sandbox(seconds=600)
def test_what_runs_is_adopted(account: Account, attempt_group: str):
    account.submit()
    again = account.submit(attempt_group=attempt_group)
    assert again.plan.rule is Rule.SAME
    assert not again.generation.is_finished
    assert len(account.paid) == 1


def test_what_is_complete_is_adopted(account: Account):
    account.submit()
    again = account.submit()
    assert again.generation.is_complete
    assert len(account.paid) == 1


@pytest.mark.hedra_sandbox(seconds=600)
def test_a_changed_request_of_another_attempt_group_is_another_generation(account: Account):
    account.submit()
    again = account.submit(account.body("Another prompt"), attempt_group="cleared")
    assert again.plan.rule is Rule.CHANGED
    assert again.plan.differing == ("generated_video_inputs.text_prompt",)
    assert again.generation.id == ids()(1)
    assert len(account.paid) == 2
    third = account.submit(account.body("Another prompt"), attempt_group="cleared twice")
    assert third.generation.id == ids()(1)
    first = account.submit(attempt_group="cleared and edited back")
    assert first.generation.id == ids()(0)
    assert len(account.paid) == 2


@pytest.mark.hedra_sandbox(seconds=600)
def test_an_attempt_group_adopts_what_it_paid_for_despite_a_changed_request(account: Account):
    account.submit()
    again = account.submit(account.body("Rendered at 12:01"))
    assert again.plan.rule is Rule.PAID_BY_US
    assert again.plan.differing == ("generated_video_inputs.text_prompt",)
    assert len(account.paid) == 1


@pytest.mark.hedra_sandbox(seconds=600)
def test_a_retry_after_an_edit_and_a_clear_never_gives_back_the_old_one(account: Account):
    account.submit()
    account.sandbox.faults({"on": "POST /generations", "times": 9, "when": "before", "status": 403})
    with pytest.raises(HedraError):
        account.submit(account.body("Edited"), attempt_group="cleared")
    account.sandbox.faults()
    retried = account.submit(account.body("Edited, rendered again"), attempt_group="cleared")
    assert retried.generation.id == ids()(1)
    again = account.submit(account.body("Edited, and once more"), attempt_group="cleared")
    assert again.generation.id == ids()(1)
    assert len(account.paid) == 2


@pytest.mark.hedra_sandbox(seconds=600)
def test_a_404_for_a_moment_on_a_retry_gives_back_no_other_one(account: Account):
    account.submit()
    account.submit(account.body("Edited"), attempt_group="cleared")
    account.sandbox.faults(
        {"on": f"GET /generations/{ids()(1)}/status", "times": 1, "when": "before", "status": 404}
    )
    retried = account.submit(account.body("Edited, rendered again"), attempt_group="cleared")
    assert retried.generation.id == ids()(1)
    assert len(account.paid) == 2


@pytest.mark.hedra_sandbox(seconds=600)
def test_two_rows_that_race_on_one_key_never_get_each_others_video(account: Account):
    account.submit(account.body("Row 1"), attempt_group="row 1")
    status = f"GET /generations/{ids()(0)}/status"
    # The second row polled before the first one had submitted.
    account.sandbox.faults({"on": status, "times": 1, "when": "before", "status": 404})
    account.sandbox.faults(
        {"on": status, "times": 1, "when": "before", "status": 404},
        {"on": "GET /generations", "times": 1, "patch": {"data": []}},
    )
    with pytest.raises(HedraConflictError, match="differs in generated_video_inputs") as raised:
        account.submit(account.body("Row 2"), attempt_group="row 2")
    assert raised.value.retryable
    account.sandbox.faults()
    assert account.submit(account.body("Row 2"), attempt_group="row 2").generation.id == ids()(1)
    assert len(account.paid) == 2


def test_a_failed_generation_is_followed_by_another(account: Account):
    account.sandbox.faults(FAILED | {"times": 1})
    assert account.submit().generation.status is not None
    again = account.submit()
    assert again.plan.rule is Rule.FAILED_BEFORE
    assert again.generation.id == ids()(1)


def test_a_rejected_submit_is_final_and_free(account: Account):
    with pytest.raises(HedraNotFoundError):
        account.submit(account.body(audio_id=str(uuid.UUID(int=1))))
    assert len(account.sandbox.requests("POST", "/generations")) == 1
    assert account.paid == []


@pytest.mark.hedra_sandbox(credits=0)
def test_no_credits_says_so(account: Account):
    with pytest.raises(HedraInsufficientCreditsError) as raised:
        account.submit()
    assert raised.value.credits_available == 0
    assert raised.value.credits_needed


@pytest.mark.parametrize("mode", ["conflict", "return", "error"])
@pytest.mark.parametrize("list_lags", [False, True])
def test_rows_that_race_on_one_key_whatever_a_duplicate_answers(
    hedra_sandboxes: Sandboxes, mode: str, list_lags: bool
):
    sandbox = hedra_sandboxes.get(duplicate_id=mode, seconds=600, media=False)
    account = Account(sandbox, "sync")
    account.submit(account.body("Row 1"), attempt_group="row 1")
    status = f"GET /generations/{ids()(0)}/status"
    faults = [{"on": status, "times": 1, "when": "before", "status": 404}]
    if list_lags and mode != "return":
        faults += [{"on": "GET /generations", "times": 9, "patch": {"data": []}}]
    # The second row polled before the first one had submitted.
    sandbox.faults(*faults)
    body, mine = account.body("Row 2"), ids_of(attempt_group="row 2")
    plan = account.run(plan_submission(body, mine))
    assert plan.must_submit
    with pytest.raises(HedraConflictError) as raised:
        account.run(execute_plan(body, [plan]))
    assert raised.value.retryable
    sandbox.faults()
    assert account.submit(account.body("Row 2"), attempt_group="row 2").generation.id == ids()(1)
    assert [row["request"]["generated_video_inputs"]["text_prompt"] for row in account.paid] == [
        "Row 1",
        "Row 2",
    ]


def test_a_status_of_another_generation_is_no_answer():
    from hedra_provider.api.errors import HedraProtocolError

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"id": "another", "status": "complete"})

    with HedraClient("k", transport=httpx.MockTransport(handler)) as client:
        with pytest.raises(HedraProtocolError, match="generation mine with another"):
            client.run(calls.get_status("mine"))


def test_what_cannot_be_compared_is_adopted(account: Account):
    account.submit()
    account.sandbox.faults({"on": "GET /generations", "times": 9, "patch": {"data": []}})
    again = account.submit(account.body("Another prompt"), attempt_group="another")
    assert again.plan.rule is Rule.NOT_COMPARABLE
    assert len(account.paid) == 1


def test_an_api_that_ignores_ids_is_searched_page_by_page(hedra_sandboxes: Sandboxes):
    sandbox = hedra_sandboxes.get(batch=False, media=False)
    account = Account(sandbox, "sync")
    account.submit()
    for n in range(120):
        account.run(calls.submit(account.body(f"Noise {n}")))
    again = account.submit(account.body("Another prompt"), attempt_group="cleared")
    assert again.plan.rule is Rule.CHANGED
    assert account.submit(attempt_group="cleared").plan.rule is Rule.SAME


def test_after_a_failed_poll_nothing_is_submitted(account: Account):
    status = "GET /generations/{id}/status"
    account.sandbox.faults({"on": status, "times": 99, "when": "before", "status": 503})
    with pytest.raises(HedraError):
        account.submit()
    assert account.sandbox.requests("POST", "/generations") == []


def test_planning_sends_one_request(account: Account):
    assert account.run(calls.get_status(ids("other")(0))) is None
    assert len(account.sandbox.requests("GET", "/generations/{id}/status")) == 1
