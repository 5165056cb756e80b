"""Whatever happens to a submit, the ledger shows one paid generation."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from hedra_provider.api.client import HedraClient
from hedra_provider.api.errors import (
    HedraAuthenticationError,
    HedraError,
    HedraProtocolError,
    HedraRateLimitError,
    HedraTransportError,
)
from hedra_provider.submission.submit import OUTCOME_POLL_PAUSES_SECONDS, submit_once
from hedra_provider.testing import Sandboxes
from tests.api.accounts import Account, ids, ids_of

LOST = [
    {"when": "after", "reset": True},
    {"when": "after", "status": 500},
    {"when": "after", "status": 502, "body": "<html>Bad gateway</html>"},
    {"when": "after", "status": 503, "body": {"error": {"type": "UNAVAILABLE", "message": "x"}}},
    {"when": "after", "status": 409, "body": {"detail": "conflict"}},
    {"when": "after", "status": 400, "body": {"error": {"type": "ALREADY_IN_PROGRESS", "message": "x"}}},
    {"when": "after", "status": 200, "body": "not json"},
    {"when": "after", "cut_at": 5},
]


class Forgetful:
    """An API that ignores the chosen generation ids and shows no requests, but honours asset ids."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.lost = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            asked = json.loads(request.content)
            row = {"id": f"own-{len(self.rows)}", "asset_id": asked["reserved_asset_id"], "status": "queued"}
            self.rows.append(row)
            if self.lost:
                self.lost -= 1
                raise httpx.ReadTimeout("lost")
            return httpx.Response(200, json=row)
        if request.url.path.endswith("/status"):
            return httpx.Response(404)
        return httpx.Response(200, json={"data": self.rows})

    def submit(self) -> Any:
        with HedraClient("k", transport=httpx.MockTransport(self), sleep=lambda seconds: None) as client:
            return client.run(submit_once({"type": "video"}, [ids_of()]))[0]


def answering(submits: list[Any], pauses: list[float]) -> tuple[HedraClient, list[str]]:
    """A client of an API that knows no generation, and answers submits by this list."""
    seen: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.method)
        if request.method == "GET" and request.url.path.endswith("/status"):
            return httpx.Response(404)
        if request.method == "GET":
            return httpx.Response(200, json={"data": []})
        answer = submits.pop(0) if submits else 200
        if isinstance(answer, Exception):
            raise answer
        asked = json.loads(request.content)
        row = {"id": asked["generation_id"], "asset_id": asked["reserved_asset_id"], "status": "queued"}
        return httpx.Response(answer, json=row if answer == 200 else {})

    return HedraClient("k", transport=httpx.MockTransport(handler), sleep=pauses.append), seen


@pytest.mark.parametrize("fault", LOST, ids=lambda fault: "-".join(str(v)[:12] for v in fault.values()))
@pytest.mark.hedra_sandbox(seconds=600)
def test_a_generation_whose_answer_was_lost_is_polled_not_paid_again(account: Account, fault: dict[str, Any]):
    account.sandbox.faults({"on": "POST /generations", "times": 1} | fault)
    done = account.submit()
    assert done.generation.id == ids()(0)
    assert len(account.paid) == 1
    assert len(account.sandbox.requests("POST", "/generations")) == 1


@pytest.mark.hedra_sandbox(seconds=600)
def test_a_404_for_a_moment_after_a_lost_answer_is_waited_out(account: Account):
    account.sandbox.faults(
        {"on": "POST /generations", "times": 1, "when": "after", "reset": True},
        {"on": "GET /generations/{id}/status", "skip": 1, "times": 3, "when": "before", "status": 404},
    )
    account.submit()
    assert len(account.paid) == 1
    assert account.pauses == list(OUTCOME_POLL_PAUSES_SECONDS[:3])


@pytest.mark.parametrize("fault", [{"reset": True}, {"status": 500}, {"status": 503}], ids=str)
def test_unknown_for_a_minute_submits_the_same_id(account: Account, fault: dict[str, Any]):
    account.sandbox.faults({"on": "POST /generations", "times": 1, "when": "before"} | fault)
    done = account.submit()
    assert done.generation.id == ids()(0)
    assert sum(account.pauses) == 60
    assert len(account.paid) == 1


def test_a_submit_that_never_gets_through_ends_and_costs_nothing(account: Account):
    account.sandbox.faults({"on": "POST /generations", "times": 99, "when": "before", "reset": True})
    with pytest.raises(HedraTransportError) as raised:
        account.submit()
    assert raised.value.retryable
    assert raised.value.generation_id == ids()(0)
    assert len(account.sandbox.requests("POST", "/generations")) == 2
    assert account.paid == []


def test_each_failure_is_notified_once_before_its_pause(account: Account):
    submit = {"on": "POST /generations", "when": "before", "times": 1}
    account.sandbox.faults(
        submit | {"status": 429},
        submit | {"status": 503},
    )
    account.submit()
    limited, unknown, again = account.notes
    assert limited[0] == 0
    assert "Too Many Requests. The submit was not accepted and cost nothing. It is repeated for" in limited[1]
    assert unknown[0] == 1
    assert unknown[1].startswith("Outcome of the submit unknown: Hedra answered 503")
    assert "for up to 60 s. If it exists, it is adopted. If not, the same id is submitted" in unknown[1]
    assert again[0] == 1 + len(OUTCOME_POLL_PAUSES_SECONDS)
    assert again[1].endswith(f"Submitting the same id again: {ids()(0)}.")


@pytest.mark.hedra_sandbox(seconds=600)
def test_a_success_is_not_notified(account: Account):
    account.submit()
    account.submit()
    assert account.notes == []


def test_a_429_is_waited_for_in_place(account: Account):
    limited = {"on": "POST /generations", "when": "before", "status": 429, "times": 2}
    account.sandbox.faults(limited | {"headers": {"Retry-After": "3"}})
    account.submit()
    assert [3 <= pause <= 6 for pause in account.pauses] == [True, True]
    assert len(account.paid) == 1


def test_a_429_for_long_is_left_to_the_task(account: Account):
    limited = {"on": "POST /generations", "when": "before", "status": 429, "times": 99}
    account.sandbox.faults(limited | {"headers": {"Retry-After": "300"}})
    with pytest.raises(HedraRateLimitError) as raised:
        account.submit()
    assert raised.value.retry_after == 300
    assert account.pauses == []


@pytest.mark.parametrize("mode", ["conflict", "return", "error"])
def test_whatever_a_duplicate_id_answers(hedra_sandboxes: Sandboxes, mode: str):
    sandbox = hedra_sandboxes.get(duplicate_id=mode, seconds=600)
    account = Account(sandbox, "sync")
    first = account.submit()
    # The second attempt does not see the first: status answers 404 once, so the id is submitted again.
    status = "GET /generations/{id}/status"
    sandbox.faults({"on": status, "times": 1, "when": "before", "status": 404})
    second = account.submit()
    assert second.generation.id == first.generation.id
    assert len(account.paid) == 1


def test_an_api_that_ignores_our_id_is_noticed_and_not_paid_again(forgetful: Account):
    done = forgetful.submit()
    assert done.id_mismatch
    assert done.generation.id == forgetful.paid[0]["generation_id"] != ids()(0)
    again = forgetful.submit()
    assert again.id_mismatch
    assert again.generation.id == done.generation.id
    assert len(forgetful.paid) == 1


@pytest.mark.parametrize("fault", LOST, ids=lambda fault: "-".join(str(v)[:12] for v in fault.values()))
def test_a_lost_answer_of_an_api_that_ignores_our_id(forgetful: Account, fault: dict[str, Any]):
    forgetful.sandbox.faults({"on": "POST /generations", "times": 1} | fault)
    done = forgetful.submit()
    assert done.id_mismatch
    assert len(forgetful.paid) == 1


READ_FAILURES = {
    "429": {"status": 429, "times": 5},
    "422": {"status": 422, "times": 1},
    "no page": {"body": {"rows": []}, "status": 200, "times": 1},
}


@pytest.mark.parametrize("failure", READ_FAILURES)
def test_a_read_that_fails_after_the_submit_does_not_submit_again(forgetful: Account, failure: str):
    """A generation was made with other ids; its request can't be read for a moment."""
    rows = {"on": "GET /generations", "when": "before", "skip": 1}
    forgetful.sandbox.faults(rows | READ_FAILURES[failure])
    with pytest.raises(HedraError, match="may be running and paid for") as raised:
        forgetful.submit()
    assert raised.value.outcome_unknown
    assert [raised.value.generation_id] == [row["generation_id"] for row in forgetful.paid]
    assert forgetful.submit().generation.id == raised.value.generation_id
    assert len(forgetful.paid) == 1


def test_an_unreadable_list_is_not_an_empty_list(forgetful: Account):
    forgetful.submit()
    forgetful.sandbox.faults({"on": "GET /generations", "times": 1, "status": 200, "body": {"rows": []}})
    with pytest.raises(HedraProtocolError):
        forgetful.submit()
    assert len(forgetful.paid) == 1


def test_a_429_that_is_not_retryable_is_not_waited_out(account: Account):
    body = {"error": {"type": "INSUFFICIENT_BALANCE", "message": "Too many for your balance"}}
    account.sandbox.faults({"on": "POST /generations", "times": 9, "status": 429, "body": body})
    with pytest.raises(HedraRateLimitError):
        account.submit()
    assert account.pauses == []


@pytest.mark.parametrize("retry_after", ["0", "0.01"])
def test_a_429_without_a_wait_still_backs_off(account: Account, retry_after: str):
    limited = {"on": "POST /generations", "when": "before", "status": 429, "times": 999}
    account.sandbox.faults(limited | {"headers": {"Retry-After": retry_after}})
    with pytest.raises(HedraRateLimitError):
        account.submit()
    assert len(account.sandbox.requests("POST", "/generations")) < 10


def test_a_429_and_then_a_lost_answer(account: Account):
    account.sandbox.faults(
        {"on": "POST /generations", "when": "before", "status": 429, "times": 1},
        {"on": "POST /generations", "when": "before", "status": 500, "times": 1},
    )
    account.submit()
    assert len(account.paid) == 1


def test_a_failed_poll_after_a_lost_answer_warns_of_a_possible_payment(account: Account):
    status = "GET /generations/{id}/status"
    account.sandbox.faults(
        {"on": "POST /generations", "times": 1, "when": "after", "reset": True},
        {"on": status, "skip": 1, "times": 99, "when": "before", "status": 401},
    )
    with pytest.raises(HedraAuthenticationError, match="may be running and paid for"):
        account.submit()


@pytest.mark.parametrize("lost", [0, 1])
def test_an_api_that_keeps_to_asset_ids_alone_is_paid_once(lost: int):
    api = Forgetful()
    api.lost = lost
    assert api.submit().generation.id == "own-0"
    assert api.submit().generation.id == "own-0"
    assert len(api.rows) == 1


def test_the_outcome_of_a_408_is_unknown():
    pauses: list[float] = []
    client, seen = answering([408], pauses)
    client.run(submit_once({"type": "video"}, [ids_of()]))
    assert sum(pauses) == 60
    assert seen.count("POST") == 2


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("no route"), httpx.ConnectTimeout("slow")], ids=["no route", "slow"]
)
def test_the_outcome_without_a_connection_is_known(error: Exception):
    pauses: list[float] = []
    client, seen = answering([error], pauses)
    client.run(submit_once({"type": "video"}, [ids_of()]))
    assert 1 <= sum(pauses) < 2
    assert seen.count("POST") == 2


@pytest.mark.parametrize("last", [429, 503])
def test_an_error_says_that_the_outcome_of_an_earlier_submit_is_unknown(last: int):
    """After a retry slot the task searches for what the earlier submit may have made."""
    client, _ = answering([httpx.ReadTimeout("lost"), *[last] * 99], [])
    with client, pytest.raises(HedraError) as raised:
        client.run(submit_once({"type": "video"}, [ids_of()]))
    assert raised.value.status_code == last
    assert raised.value.outcome_unknown


def test_a_rate_limited_submit_alone_has_a_known_outcome():
    client, _ = answering([429] * 99, [])
    with client, pytest.raises(HedraRateLimitError) as raised:
        client.run(submit_once({"type": "video"}, [ids_of()]))
    assert not raised.value.outcome_unknown
