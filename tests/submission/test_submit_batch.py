"""Submit a batch once: each variation is paid for once, whatever becomes of the others."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from hedra_provider.api.client import HedraClient
from hedra_provider.api.errors import HedraProtocolError, HedraServerError, HedraValueError
from hedra_provider.api.requests import batch_size
from hedra_provider.submission import identity
from hedra_provider.submission.plan import Rule
from hedra_provider.submission.submit import submit_once
from hedra_provider.testing import Sandboxes
from tests.api.accounts import NAMESPACE, Account
from tests.submission.test_submit_outcome_unknown import LOST

SUBMIT = "POST /generations"


def ids_of_each(size: int, key: str = "row-1", attempt_group: str = "run-1") -> list[Any]:
    return [
        identity.generation_ids(NAMESPACE, key, variation, attempt_group=attempt_group)
        for variation in range(size)
    ]


def ids(size: int, n: int = 0) -> list[str]:
    return [ids_of(n)[0] for ids_of in ids_of_each(size)]


def submit(
    account: Account, size: int, *, body: dict[str, Any] | None = None, attempt_group: str = "run-1"
) -> Any:
    body = (body or account.body()) | {"batch_size": size}
    return account.run(submit_once(body, ids_of_each(size, attempt_group=attempt_group)))


def found(submissions: list[Any]) -> list[str]:
    return [submission.generation.id for submission in submissions]


@pytest.mark.hedra_sandbox(seconds=600)
def test_a_batch_is_one_request_with_an_id_for_each(account: Account):
    done = submit(account, 3)
    assert found(done) == ids(3)
    assert [submission.answered for submission in done] == [True] * 3
    (posted,) = account.sandbox.requests("POST", "/generations")
    assert posted["status"] == 200
    assert [row["generation_id"] for row in account.paid] == ids(3)
    request = account.paid[0]["request"]
    assert request["batch_size"] == 3
    assert request["generation_ids"] == ids(3)
    assert request["reserved_asset_ids"] == [ids_of(0)[1] for ids_of in ids_of_each(3)]
    assert "generation_id" not in request


@pytest.mark.parametrize("attempt_group", ["run-1", "run-2"])
@pytest.mark.hedra_sandbox(seconds=600)
def test_what_runs_is_adopted(account: Account, attempt_group: str):
    submit(account, 3)
    again = submit(account, 3, attempt_group=attempt_group)
    assert found(again) == ids(3)
    assert {submission.plan.rule for submission in again} == {Rule.SAME}
    assert len(account.paid) == 3


@pytest.mark.hedra_sandbox(seconds=600)
def test_a_larger_batch_pays_for_what_it_has_more(account: Account):
    submit(account, 1)
    assert found(submit(account, 3, attempt_group="cleared")) == ids(3)
    assert found(submit(account, 2, attempt_group="cleared twice")) == ids(2)
    assert [row["generation_id"] for row in account.paid] == ids(3)


@pytest.mark.hedra_sandbox(seconds=600)
def test_only_the_variation_that_failed_is_replaced(account: Account):
    failed = {"type": "INTERNAL", "message": "no luck"}
    account.sandbox.faults({"on": SUBMIT, "times": 1, "generation_error": failed})
    submit(account, 1)
    account.sandbox.faults()
    account.sandbox.advance(600)
    assert found(submit(account, 3)) == [*ids(1, n=1), *ids(3)[1:]]
    assert found(submit(account, 3)) == [*ids(1, n=1), *ids(3)[1:]]
    assert len(account.paid) == 4


@pytest.mark.hedra_sandbox(seconds=600)
def test_another_request_is_another_batch(account: Account):
    submit(account, 2)
    again = submit(account, 2, body=account.body("Another prompt"), attempt_group="cleared")
    assert found(again) == ids(2, n=1)
    assert {submission.plan.rule for submission in again} == {Rule.CHANGED}
    retried = submit(account, 2, body=account.body("Rendered again"), attempt_group="cleared")
    assert found(retried) == ids(2, n=1)
    assert {submission.plan.rule for submission in retried} == {Rule.PAID_BY_US}
    assert len(account.paid) == 4


@pytest.mark.parametrize("fault", LOST, ids=lambda fault: "-".join(str(v)[:12] for v in fault.values()))
@pytest.mark.hedra_sandbox(seconds=600)
def test_a_generation_whose_answer_was_lost_is_polled_not_paid_again(account: Account, fault: dict[str, Any]):
    account.sandbox.faults({"on": SUBMIT, "times": 1} | fault)
    assert found(submit(account, 3)) == ids(3)
    assert len(account.paid) == 3
    assert len(account.sandbox.requests("POST", "/generations")) == 1


def test_unknown_for_a_minute_submits_the_same_ids(account: Account):
    account.sandbox.faults({"on": SUBMIT, "times": 1, "when": "before", "reset": True})
    assert found(submit(account, 3)) == ids(3)
    assert sum(account.pauses) == 60
    assert len(account.paid) == 3


@pytest.mark.parametrize("mode", ["conflict", "return", "error"])
def test_one_variation_that_stays_hidden_is_not_paid_again(hedra_sandboxes: Sandboxes, mode: str):
    sandbox = hedra_sandboxes.get(duplicate_id=mode, seconds=600, media=False)
    account = Account(sandbox, "sync")
    sandbox.faults(
        {"on": SUBMIT, "times": 1, "when": "after", "reset": True},
        {"on": f"GET /generations/{ids(3)[1]}/status", "times": 8, "when": "before", "status": 404},
        {"on": "GET /generations", "times": 1, "patch": {"data": []}},
    )
    assert found(submit(account, 3)) == ids(3)
    assert len(account.paid) == 3


@pytest.mark.hedra_sandbox(seconds=600)
def test_a_variation_that_is_hidden_for_a_moment_is_not_taken_for_another(account: Account):
    submit(account, 3)
    for hidden in ids(3):
        account.sandbox.faults(
            {"on": f"GET /generations/{hidden}/status", "times": 1, "when": "before", "status": 404}
        )
        assert found(submit(account, 3)) == ids(3)
    assert len(account.paid) == 3


def test_an_api_that_ignores_our_ids_is_noticed_and_not_paid_again(forgetful: Account):
    first = submit(forgetful, 3)
    assert all(submission.id_mismatch for submission in first)
    assert sorted(found(first)) == sorted(row["generation_id"] for row in forgetful.paid)
    again = submit(forgetful, 3)
    assert sorted(found(again)) == sorted(found(first))
    assert len(forgetful.paid) == 3


@pytest.mark.parametrize("fault", LOST, ids=lambda fault: "-".join(str(v)[:12] for v in fault.values()))
def test_a_lost_answer_of_an_api_that_ignores_our_ids(forgetful: Account, fault: dict[str, Any]):
    forgetful.sandbox.faults({"on": SUBMIT, "times": 1} | fault)
    done = submit(forgetful, 3)
    assert len(set(found(done))) == 3
    assert len(forgetful.paid) == 3


class OwnIds:
    """An API that gives ids of its own, lists the newest first, and lets the second of all fail."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def handle(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET" and request.url.path.endswith("/status"):
            return httpx.Response(404)
        if request.method == "GET":
            wanted = request.url.params.get("ids", "").split(",")
            rows = [row for row in reversed(self.rows) if wanted == [""] or row["id"] in wanted]
            return httpx.Response(200, json={"data": rows})
        asked = json.loads(request.content)
        made = [
            {"id": f"own-{len(self.rows) + n}", "status": "queued", "input": asked}
            for n in range(asked.get("batch_size", 1))
        ]
        if not self.rows:
            made[1]["status"] = "error"
        self.rows += made
        return httpx.Response(200, json=made[0] | {"batch_results": made})

    def submit(self, size: int) -> list[str]:
        with HedraClient(
            "k", transport=httpx.MockTransport(self.handle), sleep=lambda seconds: None
        ) as client:
            return found(client.run(submit_once({"type": "video"}, ids_of_each(size))))


def test_a_variation_that_failed_is_not_taken_for_another_that_is_complete():
    api = OwnIds()
    api.submit(2)
    for _ in range(2):
        assert set(api.submit(2)) == {"own-0", "own-2"}
    assert len(api.rows) == 3


def answered(results: Any, status: int = 404) -> Any:
    """Submit a batch of two to an API that answers it with these results."""

    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "GET" and request.url.path.endswith("/status"):
            return httpx.Response(status)
        if request.method == "GET":
            return httpx.Response(200, json={"data": []})
        asked = json.loads(request.content)
        first = {"id": asked["generation_ids"][0], "status": "queued", "batch_results": results}
        return httpx.Response(200, json=first)

    with HedraClient("k", transport=httpx.MockTransport(handler), sleep=lambda seconds: None) as client:
        return client.run(submit_once({"type": "video"}, ids_of_each(2)))


def test_a_variation_that_failed_at_once_has_no_id():
    one, two = answered([{"status": "error", "error": "moderated"}, {"id": ids(2)[0], "status": "queued"}])
    assert (one.generation.id, one.generation.is_failed) == (ids(2)[0], False)
    assert (two.generation.id, two.generation.is_failed) == (ids(2)[1], True)
    assert two.generation.error == "moderated"


@pytest.mark.parametrize(
    "results", [None, [], "nonsense", [{"status": "queued"}], [{"id": ids(2)[0]}, {"id": ids(2)[0]}]]
)
def test_an_answer_that_lacks_a_variation_is_an_error(results: Any):
    with pytest.raises(HedraProtocolError, match="failed twice, and Hedra does not know the generation"):
        answered(results)


def test_a_batch_that_is_never_accepted_costs_nothing(account: Account):
    account.sandbox.faults({"on": SUBMIT, "times": 99, "when": "before", "status": 500})
    with pytest.raises(HedraServerError):
        submit(account, 2)
    assert account.paid == []


@pytest.mark.parametrize("asked", [0, 9, -1, "two", 1.5, True, [], {}])
def test_a_batch_size_that_hedra_does_not_accept(asked: Any):
    with pytest.raises(HedraValueError, match="whole number from 1 to 8") as raised:
        batch_size({"batch_size": asked})
    assert raised.value.param == "batch_size"


@pytest.mark.parametrize(("asked", "size"), [({}, 1), ({"batch_size": None}, 1), ({"batch_size": " 3 "}, 3)])
def test_a_batch_size_as_it_is_rendered(asked: dict[str, Any], size: int):
    assert batch_size(asked) == size
