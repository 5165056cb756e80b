"""The calls of v3: what they send, what they read, and the provider's own records of the answers."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from hedra_provider import records
from hedra_provider.api import calls as v2
from hedra_provider.api.errors import HedraNotFoundError, HedraProtocolError, HedraServerError
from hedra_provider.api.sized_file import SizedFile
from hedra_provider.api.v3 import calls

if TYPE_CHECKING:
    from tests.api.conftest import Driver

KEY = "the-key-id:the-secret"
JOB = "job_00000000-0000-0000-0000-000000000001"
DATE = {"Date": "Sat, 28 Nov 2026 12:00:00 GMT"}
NOON = 1795867200.0


def run(driver: Driver, call: Any, *answers: httpx.Response, **settings: Any) -> Any:
    left = list(answers)
    return driver.run(call, lambda request: left.pop(0) if len(left) > 1 else left[0], key=KEY, **settings)


def test_a_key_with_a_colon_calls_v3_and_is_sent_as_authorization(driver: Driver):
    balance = run(driver, calls.get_balance(), httpx.Response(200, json={"balance": 12.5, "currency": "USD"}))
    assert (balance.balance, balance.record().currency) == (Decimal("12.5"), "USD")
    (request,) = driver.requests
    assert str(request.url) == "https://api.hedra.com/v3/balance"
    assert request.headers["Authorization"] == f"Key {KEY}"
    assert "X-API-Key" not in request.headers


@pytest.mark.parametrize(("place", "in_header"), [("header", True), ("both", True), ("body", False)])
def test_a_submit_sends_the_exact_bytes_and_the_idempotency_key_once(
    driver: Driver, place: Any, in_header: bool
):
    body = b'{"input": {"prompt":  "two  spaces"}}'
    answer = httpx.Response(202, json={"job_id": JOB, "status": "IN_QUEUE", "model": "m"}, headers=DATE)
    job = run(driver, calls.submit_job("hedra-avatar", body, idempotency_key="k-1", place=place), answer)
    (request,) = driver.requests
    assert (request.method, request.url.path) == ("POST", "/v3/models/hedra-avatar")
    assert (request.content, request.headers["Content-Type"]) == (body, "application/json")
    assert request.headers.get("Idempotency-Key") == ("k-1" if in_header else None)
    assert (job.job_id, job.answered_at, job.record().status) == (JOB, NOON, "queued")


def test_a_submit_is_sent_once_whatever_the_answer(driver: Driver):
    with pytest.raises(HedraServerError):
        run(driver, calls.submit_job("m", b"{}", idempotency_key="k"), httpx.Response(503))
    assert len(driver.requests) == 1


def test_an_upload_returns_a_handle_that_no_repr_shows():
    from tests.api.conftest import Driver

    driver = Driver("sync")
    url = "https://files.example/x?sig=secret-signature"
    answer = {"url": url, "content_type": "image/png", "expires_at": "2026-11-28T13:00:00Z"}
    file = SizedFile(io.BytesIO(b"pixels"), 6, "face.png")
    handle = run(driver, calls.upload_file(file), httpx.Response(201, json=answer))
    assert (handle.url, handle.expires_at_epoch) == (url, NOON + 3600)
    assert "files.example" not in repr(handle)
    (request,) = driver.requests
    assert request.url.path == "/v3/files"
    assert b'name="file"; filename="face.png"' in request.content


def test_a_status_becomes_the_words_of_v2(driver: Driver):
    answer = {"job_id": JOB, "status": "IN_PROGRESS", "progress": 0.5,
              "estimated_completion_at": "2026-11-28T12:01:30Z"}  # fmt: skip
    status = run(driver, calls.get_status(JOB), httpx.Response(200, json=answer, headers=DATE))
    assert status.record() == records.Generation(id=JOB, status="processing", progress=0.5, eta_sec=90.0)


@pytest.mark.parametrize(
    ("theirs", "ours", "running"),
    [("IN_QUEUE", "queued", True), ("IN_PROGRESS", "processing", True), ("COMPLETED", "complete", False),
     ("FAILED", "error", False), ("PAUSED", "PAUSED", True)],
)  # fmt: skip
def test_an_unknown_status_counts_as_running(driver: Driver, theirs: str, ours: str, running: bool):
    answer = httpx.Response(200, json={"job_id": JOB, "status": theirs})
    generation = run(driver, calls.get_status(JOB), answer).record()
    assert (generation.status, not generation.is_finished) == (ours, running)


def test_a_result_has_its_url_cost_and_size(driver: Driver):
    output = {"status": "COMPLETED", "asset_id": "a1", "url": "https://cdn.example/v.mp4?sig=s",
              "content_type": "video/mp4", "width": 1280, "height": 720, "duration_ms": 5000,
              "expires_at": "2026-11-29T11:00:00Z"}  # fmt: skip
    answer = {"job_id": JOB, "model": "hedra-avatar", "status": "COMPLETED", "outputs": [output],
              "cost": 0.42, "currency": "USD"}  # fmt: skip
    job = run(driver, calls.get_job(JOB), httpx.Response(200, json=answer))
    generation = job.record()
    assert generation == records.Generation(
        id=JOB, status="complete", type="video", asset_id="a1", file_url="https://cdn.example/v.mp4?sig=s",
        cost=Decimal("0.42"), currency="USD", expires_at="2026-11-29T11:00:00Z", model="hedra-avatar",
        width=1280, height=720, duration_ms=5000,
    )  # fmt: skip
    assert "cdn.example" not in repr(job) + repr(generation)


def test_a_job_that_hedra_does_not_know_is_none(driver: Driver):
    missing = httpx.Response(404, json={"error": {"code": "NOT_FOUND", "message": "no such job"}})
    assert run(driver, calls.get_status(JOB), missing) is None
    assert run(driver, calls.get_job(JOB), missing) is None


def test_the_answer_about_another_job_is_an_error(driver: Driver):
    with pytest.raises(HedraProtocolError, match="job_other"):
        run(driver, calls.get_job(JOB), httpx.Response(200, json={"job_id": "job_other"}))


def test_a_page_of_jobs_of_one_model(driver: Driver):
    answer = {"data": [{"job_id": JOB, "model": "m", "status": "COMPLETED",
                        "created_at": "2026-11-28T12:00:00+00:00"}], "next_cursor": "c2"}  # fmt: skip
    page = run(driver, calls.list_jobs(model="m", cursor="c1", limit=7), httpx.Response(200, json=answer))
    assert str(driver.requests[0].url) == "https://api.hedra.com/v3/models/m/jobs?limit=7&cursor=c1"
    assert (page.next_cursor, page.data[0].record().expires_at) == ("c2", "2026-11-29T12:00:00+00:00")


def test_a_404_of_a_v2_call_with_a_v3_key_stays_an_error(driver: Driver):
    with pytest.raises(HedraNotFoundError):
        run(driver, v2.get_credits(), httpx.Response(404, content=json.dumps({"detail": "x"})))
