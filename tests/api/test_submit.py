"""Submit once, over real HTTP: whatever goes wrong, the ledger shows one paid generation."""

from __future__ import annotations

import asyncio
import io
import json
import uuid
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from hedra_provider import identity
from hedra_provider.api import calls
from hedra_provider.api.client import AsyncHedraClient, HedraClient
from hedra_provider.api.errors import (
    HedraAuthenticationError,
    HedraConflictError,
    HedraError,
    HedraInsufficientCreditsError,
    HedraNotFoundError,
    HedraRateLimitError,
    HedraTransportError,
)
from hedra_provider.api.files import SizedFile
from hedra_provider.api.submit import LOOK_AGAIN_SECONDS, Rule, carry_out, plan_submission, submit_once
from hedra_provider.api.transfer import store_asset
from tests.media import png, wav

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hedra_provider.testing import Sandbox

NAMESPACE = uuid.UUID(int=7)
AVATAR = "together/hedra-avatar"


class Account:
    """A client of the sandbox, sync or async, whose pauses are noted and not taken."""

    def __init__(self, sandbox: Sandbox, kind: str) -> None:
        self.sandbox, self.kind = sandbox, kind
        self.pauses: list[float] = []
        with self._sync() as client:
            self.image = self._store(client, png(), "image")
            self.audio = self._store(client, wav(0.5), "audio")

    def _store(self, client: HedraClient, content: bytes, kind: str) -> str:
        return client.run(store_asset(SizedFile(io.BytesIO(content), len(content), kind), kind)).asset_id

    def _sync(self) -> HedraClient:
        options = {"base_url": self.sandbox.base_url, "sleep": self.pauses.append, "timeout": 5}
        return HedraClient(self.sandbox.api_key, **options)

    def run(self, call: Any) -> Any:
        if self.kind == "sync":
            with self._sync() as client:
                return client.run(call)

        async def sleep(seconds: float) -> None:
            self.pauses.append(seconds)

        async def go() -> Any:
            options = {"base_url": self.sandbox.base_url, "sleep": sleep, "timeout": 5}
            async with AsyncHedraClient(self.sandbox.api_key, **options) as client:
                return await client.run(call)

        return asyncio.run(go())

    def body(self, prompt: str = "A person", **fields: Any) -> dict[str, Any]:
        inputs = {"text_prompt": prompt, "aspect_ratio": "9:16", "resolution": "540p"}
        body = {"type": "video", "model_slug": AVATAR}
        body |= {"start_keyframe_id": self.image, "audio_id": self.audio}
        return body | fields | {"generated_video_inputs": inputs}

    def submit(self, body: dict[str, Any] | None = None, *, key: str = "row-1", payer: str = "run-1") -> Any:
        return self.run(submit_once(body or self.body(), ids_of(key, payer)))

    @property
    def paid(self) -> list[dict[str, Any]]:
        return [row for row in self.sandbox.submissions if row["credits"]]


def ids_of(key: str = "row-1", payer: str = "run-1"):
    return identity.generation_ids(NAMESPACE, key, payer=payer)


def ids(key: str = "row-1"):
    return lambda n: ids_of(key)(n)[0]


@pytest.fixture(params=["sync", "async"])
def account(hedra_sandbox: Sandbox, request: pytest.FixtureRequest) -> Account:
    return Account(hedra_sandbox, request.param)


def test_nothing_there_submits(account: Account):
    done = account.submit()
    assert done.plan.rule is Rule.NEW
    assert done.generation.id == ids()(0)
    assert [row["generation_id"] for row in account.paid] == [ids()(0)]
    request = account.paid[0]["request"]
    assert (request["generation_id"], request["reserved_asset_id"]) == ids_of()(0)
    assert done.generation.asset_id == ids_of()(0)[1]


def test_a_first_try_looks_once_before_its_submit(account: Account):
    account.run(plan_submission(account.body(), ids_of()))
    paths = [(row["method"], row["path"]) for row in account.sandbox.ledger()["requests"][-1:]]
    assert paths == [("GET", f"/generations/{ids()(0)}/status")]


@pytest.mark.parametrize("payer", ["run-1", "run-2"])
@pytest.mark.hedra_sandbox(seconds=600)
def test_what_runs_is_adopted(account: Account, payer: str):
    account.submit()
    again = account.submit(payer=payer)
    assert again.plan.rule is Rule.SAME
    assert not again.generation.is_finished
    assert len(account.paid) == 1


def test_what_is_complete_is_adopted(account: Account):
    account.submit()
    again = account.submit()
    assert again.generation.is_complete
    assert len(account.paid) == 1


@pytest.mark.hedra_sandbox(seconds=600)
def test_a_changed_request_of_another_payer_is_another_generation(account: Account):
    account.submit()
    again = account.submit(account.body("Another prompt"), payer="cleared")
    assert again.plan.rule is Rule.CHANGED
    assert again.plan.differing == ("generated_video_inputs.text_prompt",)
    assert again.generation.id == ids()(1)
    assert len(account.paid) == 2
    third = account.submit(account.body("Another prompt"), payer="cleared twice")
    assert third.generation.id == ids()(1)
    first = account.submit(payer="cleared and edited back")
    assert first.generation.id == ids()(0)
    assert len(account.paid) == 2


@pytest.mark.hedra_sandbox(seconds=600)
def test_a_payer_adopts_what_it_paid_for_though_it_renders_anew(account: Account):
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
        account.submit(account.body("Edited"), payer="cleared")
    account.sandbox.faults()
    retried = account.submit(account.body("Edited, rendered anew"), payer="cleared")
    assert retried.generation.id == ids()(1)
    again = account.submit(account.body("Edited, and once more"), payer="cleared")
    assert again.generation.id == ids()(1)
    assert len(account.paid) == 2


@pytest.mark.hedra_sandbox(seconds=600)
def test_a_404_for_a_moment_on_a_retry_gives_back_no_other_one(account: Account):
    account.submit()
    account.submit(account.body("Edited"), payer="cleared")
    account.sandbox.faults(
        {"on": f"GET /generations/{ids()(1)}/status", "times": 1, "when": "before", "status": 404}
    )
    retried = account.submit(account.body("Edited, rendered anew"), payer="cleared")
    assert retried.generation.id == ids()(1)
    assert len(account.paid) == 2


@pytest.mark.hedra_sandbox(seconds=600)
def test_two_rows_that_race_on_one_key_never_get_each_others_video(account: Account):
    account.submit(account.body("Row 1"), payer="row 1")
    status = f"GET /generations/{ids()(0)}/status"
    # The second row looked before the first one had submitted.
    account.sandbox.faults({"on": status, "times": 1, "when": "before", "status": 404})
    account.sandbox.faults(
        {"on": status, "times": 1, "when": "before", "status": 404},
        {"on": "GET /generations", "times": 1, "patch": {"data": []}},
    )
    with pytest.raises(HedraConflictError, match="differs in generated_video_inputs") as raised:
        account.submit(account.body("Row 2"), payer="row 2")
    assert raised.value.retryable
    account.sandbox.faults()
    assert account.submit(account.body("Row 2"), payer="row 2").generation.id == ids()(1)
    assert len(account.paid) == 2


FAILED = {"on": "POST /generations", "generation_error": {"type": "INTERNAL", "message": "no luck"}}


def test_a_failed_generation_is_followed_by_another(account: Account):
    account.sandbox.faults(FAILED | {"times": 1})
    assert account.submit().generation.status is not None
    again = account.submit()
    assert again.plan.rule is Rule.FAILED_BEFORE
    assert again.generation.id == ids()(1)


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


@pytest.mark.parametrize("fault", LOST, ids=lambda fault: "-".join(str(v)[:12] for v in fault.values()))
@pytest.mark.hedra_sandbox(seconds=600)
def test_a_lost_answer_is_looked_for_not_paid_again(account: Account, fault: dict[str, Any]):
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
    assert account.pauses == list(LOOK_AGAIN_SECONDS[:3])


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


def test_a_429_is_waited_for_in_place(account: Account):
    limited = {"on": "POST /generations", "when": "before", "status": 429, "times": 2}
    account.sandbox.faults(limited | {"headers": {"Retry-After": "3"}})
    account.submit()
    assert [3 <= pause <= 3.75 for pause in account.pauses] == [True, True]
    assert len(account.paid) == 1


def test_a_429_for_long_is_left_to_the_task(account: Account):
    limited = {"on": "POST /generations", "when": "before", "status": 429, "times": 99}
    account.sandbox.faults(limited | {"headers": {"Retry-After": "300"}})
    with pytest.raises(HedraRateLimitError) as raised:
        account.submit()
    assert raised.value.retry_after == 300
    assert account.pauses == []


def test_a_refusal_is_final_and_free(account: Account):
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
def test_whatever_a_duplicate_id_answers(mode: str):
    from hedra_provider.testing import Sandbox

    with Sandbox(duplicate_id=mode, seconds=600) as sandbox:
        account = Account(sandbox, "sync")
        first = account.submit()
        # A try that lost sight of the first: status answers 404 once, so the same id is submitted again.
        status = "GET /generations/{id}/status"
        sandbox.faults({"on": status, "times": 1, "when": "before", "status": 404})
        second = account.submit()
        assert second.generation.id == first.generation.id
        assert len(account.paid) == 1


@pytest.fixture
def forgetful() -> Iterator[Account]:
    """An account of an API that gives every generation an id of its own."""
    from hedra_provider.testing import Sandbox

    with Sandbox(duplicate_id="ignore") as sandbox:
        yield Account(sandbox, "sync")


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


@pytest.mark.parametrize("retry_after", ["0", "0.01"])
def test_a_429_that_asks_for_no_wait_is_not_taken_at_its_word(account: Account, retry_after: str):
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


def test_a_look_that_fails_after_a_lost_answer_says_that_it_may_cost(account: Account):
    status = "GET /generations/{id}/status"
    account.sandbox.faults(
        {"on": "POST /generations", "times": 1, "when": "after", "reset": True},
        {"on": status, "skip": 1, "times": 99, "when": "before", "status": 401},
    )
    with pytest.raises(HedraAuthenticationError, match="may be running and paid for"):
        account.submit()


@pytest.mark.parametrize("mode", ["conflict", "return", "error"])
@pytest.mark.parametrize("list_lags", [False, True])
def test_rows_that_race_on_one_key_whatever_a_duplicate_answers(mode: str, list_lags: bool):
    from hedra_provider.testing import Sandbox

    with Sandbox(duplicate_id=mode, seconds=600, media=False) as sandbox:
        account = Account(sandbox, "sync")
        account.submit(account.body("Row 1"), payer="row 1")
        status = f"GET /generations/{ids()(0)}/status"
        faults = [{"on": status, "times": 1, "when": "before", "status": 404}]
        if list_lags and mode != "return":
            faults += [{"on": "GET /generations", "times": 9, "patch": {"data": []}}]
        # The second row looked before the first one had submitted.
        sandbox.faults(*faults)
        body, mine = account.body("Row 2"), ids_of(payer="row 2")
        plan = account.run(plan_submission(body, mine))
        assert plan.must_submit
        with pytest.raises(HedraConflictError) as raised:
            account.run(carry_out(body, plan))
        assert raised.value.retryable
        sandbox.faults()
        assert account.submit(account.body("Row 2"), payer="row 2").generation.id == ids()(1)
        assert [row["request"]["generated_video_inputs"]["text_prompt"] for row in account.paid] == [
            "Row 1",
            "Row 2",
        ]


class Forgetful:
    """An API that gives its own ids and does not tell what was asked of it, but keeps to asset ids."""

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
            return client.run(submit_once({"type": "video"}, ids_of()))


@pytest.mark.parametrize("lost", [0, 1])
def test_an_api_that_keeps_to_asset_ids_alone_is_paid_once(lost: int):
    api = Forgetful()
    api.lost = lost
    assert api.submit().generation.id == "own-0"
    assert api.submit().generation.id == "own-0"
    assert len(api.rows) == 1


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


def test_a_408_is_doubtful():
    pauses: list[float] = []
    client, seen = answering([408], pauses)
    client.run(submit_once({"type": "video"}, ids_of()))
    assert sum(pauses) == 60
    assert seen.count("POST") == 2


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("refused"), httpx.ConnectTimeout("slow")], ids=["refused", "slow"]
)
def test_a_connection_that_never_came_about_is_not(error: Exception):
    pauses: list[float] = []
    client, seen = answering([error], pauses)
    client.run(submit_once({"type": "video"}, ids_of()))
    assert 1 <= sum(pauses) < 2
    assert seen.count("POST") == 2


def test_a_status_of_another_generation_is_no_answer():
    from hedra_provider.api.errors import HedraProtocolError

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"id": "another", "status": "complete"})

    with HedraClient("k", transport=httpx.MockTransport(handler)) as client:
        with pytest.raises(HedraProtocolError, match="answered with another"):
            client.run(calls.get_status("mine"))


def test_what_cannot_be_compared_is_adopted(account: Account):
    account.submit()
    account.sandbox.faults({"on": "GET /generations", "times": 9, "patch": {"data": []}})
    again = account.submit(account.body("Another prompt"), payer="another")
    assert again.plan.rule is Rule.NOT_COMPARABLE
    assert len(account.paid) == 1


def test_an_api_that_ignores_ids_is_searched_page_by_page():
    from hedra_provider.testing import Sandbox

    with Sandbox(batch=False, media=False) as sandbox:
        account = Account(sandbox, "sync")
        account.submit()
        for n in range(120):
            account.run(calls.submit(account.body(f"Noise {n}")))
        again = account.submit(account.body("Another prompt"), payer="cleared")
        assert again.plan.rule is Rule.CHANGED
        assert account.submit(payer="cleared").plan.rule is Rule.SAME


def test_a_look_that_fails_submits_nothing(account: Account):
    status = "GET /generations/{id}/status"
    account.sandbox.faults({"on": status, "times": 99, "when": "before", "status": 503})
    with pytest.raises(HedraError):
        account.submit()
    assert account.sandbox.requests("POST", "/generations") == []


def test_the_look_is_one_request(account: Account):
    assert account.run(calls.get_status(ids("other")(0))) is None
    assert len(account.sandbox.requests("GET", "/generations/{id}/status")) == 1
