"""The entrance of API v3: keys, the rate limit, the shape of errors, faults, and the start of the sandbox."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from hedra_provider.testing import Sandbox
from tests.sandbox.client_v3 import ClientV3, error_of
from tests.sandbox.conftest import HERE

if TYPE_CHECKING:
    from tests.sandbox.conftest import Client


@pytest.mark.parametrize(
    ("header", "prefix"), [("Authorization", "Key "), ("Authorization", "Bearer "), ("X-API-Key", "")]
)
def test_a_key_is_taken_in_three_ways(hedra_sandbox: Sandbox, header: str, prefix: str) -> None:
    client = ClientV3(hedra_sandbox, **{header: prefix + hedra_sandbox.api_key_v3})
    assert client.get("/balance").json() == {"balance": 100, "spent": None, "currency": "USD"}
    assert hedra_sandbox.requests("GET", "/v3/balance")[0]["has_key"] is True


def test_a_key_of_one_api_is_none_of_the_other(hedra: Client, v3: ClientV3) -> None:
    sandbox = hedra.sandbox
    moved = hedra.get("/models", headers={"X-API-Key": sandbox.api_key_v3})
    assert (moved.status_code, "moved" in moved.text) == (403, True)
    wrong = v3.get("/balance", headers={"Authorization": f"Key {sandbox.api_key}"})
    none = httpx.get(f"{sandbox.base_url_v3}/balance", **HERE)
    for answer in (wrong, none):
        assert (answer.status_code, error_of(answer)["code"]) == (401, "UNAUTHORIZED")
    # The schema asks for no key where models are listed.
    assert httpx.get(f"{sandbox.base_url_v3}/models", **HERE).status_code == 200


def test_a_changed_key_is_that_of_its_api(hedra: Client, v3: ClientV3) -> None:
    hedra.sandbox.change_key("new:secret")
    assert v3.get("/balance").status_code == 401
    assert v3.get("/balance", headers={"Authorization": "Key new:secret"}).status_code == 200
    assert hedra.get("/billing/credits").status_code == 200
    hedra.sandbox.reset()
    assert v3.get("/balance").status_code == 200


def test_every_answer_has_its_ids_and_every_error_one_shape(v3: ClientV3) -> None:
    v3.sandbox.faults({"on": "GET /v3/balance", "status": 503})
    answers = [
        v3.get("/models"), v3.get("/balance"), v3.get("/nothing"), v3.get("/jobs/job_x"),
        v3.http.put("/models"), v3.post("/files"), v3.post("/models/hedra-avatar", content=b"{"),
    ]  # fmt: skip
    assert [one.status_code for one in answers] == [200, 503, 404, 404, 405, 400, 400]
    for answer in answers:
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Trace-Id"])
        assert answer.headers["X-Request-Id"]
        if answer.status_code != 200:
            assert answer.json()["trace_id"] == answer.headers["X-Trace-Id"]
            assert {"code", "message", "retryable"} <= error_of(answer).keys()
    assert (error_of(answers[1])["code"], error_of(answers[1])["retryable"]) == ("UNAVAILABLE", True)


@pytest.mark.hedra_sandbox(requests_per_window=3)
def test_requests_beyond_the_window_are_rate_limited_until_it_ends(v3: ClientV3) -> None:
    left = [v3.get("/balance").headers["X-RateLimit-Remaining"] for _ in range(3)]
    answer = v3.get("/balance")
    assert (left, answer.status_code) == (["2", "1", "0"], 429)
    assert error_of(answer)["code"] == "RESOURCE_EXHAUSTED"
    wait = int(answer.headers["Retry-After"])
    assert (answer.headers["X-RateLimit-Limit"], error_of(answer)["retry_after"]) == ("3", wait)
    v3.sandbox.advance(wait)
    assert v3.get("/balance").status_code == 200


@pytest.mark.hedra_sandbox(requests_per_window=0)
def test_without_a_limit_no_header_names_one(v3: ClientV3) -> None:
    assert not [name for name in v3.get("/balance").headers if name.startswith("x-ratelimit")]


def test_faults_and_requests_name_paths_with_their_version(hedra: Client, v3: ClientV3) -> None:
    v3.sandbox.faults({"on": "GET /v3/jobs/{id}/status", "status": 418}, {"on": "GET /models", "status": 419})
    assert v3.get("/jobs/job_1/status").status_code == 418
    assert v3.get("/models").status_code == 200
    assert hedra.get("/models").status_code == 419
    assert len(v3.sandbox.requests("GET", "/v3/jobs/{id}/status")) == 1
    assert len(v3.sandbox.requests("GET", "/models")) == 1


@pytest.mark.hedra_sandbox(api=3, media=False)
def test_api_3_alone(hedra_sandbox: Sandbox) -> None:
    sandbox = hedra_sandbox
    assert (sandbox.base_url, sandbox.api_key) == (sandbox.base_url_v3, sandbox.api_key_v3)
    assert sandbox.connection == sandbox.connection_v3
    connection = json.loads(sandbox.connection)
    folder = Path(connection["extra"]["state_path"])
    assert (connection["host"], connection["password"], folder.is_dir()) == (
        sandbox.base_url_v3, sandbox.api_key_v3, True,
    )  # fmt: skip
    old = sandbox.base_url.replace("/v3", "/web-app/public")
    assert httpx.get(f"{old}/models", headers={"X-API-Key": "sk"}, **HERE).status_code == 401


def test_api_2_alone_has_no_v3(tmp_path: Path) -> None:
    with Sandbox(api=2, media=False) as sandbox:
        with pytest.raises(RuntimeError, match="api"):
            _ = sandbox.api_key_v3
        url = sandbox.base_url.replace("/web-app/public", "/v3")
        assert httpx.get(f"{url}/balance", headers={"X-API-Key": "a:b"}, **HERE).status_code == 401


def test_the_folder_for_records_lasts_as_long_as_the_sandbox_and_a_reset_empties_it() -> None:
    with Sandbox(media=False) as sandbox:
        folder = Path(json.loads(sandbox.connection_v3)["extra"]["state_path"])
        (folder / "record.json").write_text("{}")
        sandbox.reset()
        assert (json.loads(sandbox.connection_v3)["extra"]["state_path"], list(folder.iterdir())) == (
            str(folder), [],
        )  # fmt: skip
    assert not folder.exists()


def test_the_state_file_keeps_jobs_keys_money_and_the_api_key(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    with Sandbox(state=state, seconds=60) as sandbox:
        client = ClientV3(sandbox)
        handle = client.upload(b"RIFF")
        client.http.put("/webhooks/default", json={"url": "http://127.0.0.1:1/"})
        first = client.submit_speech("key").json()
        before = (sandbox.api_key_v3, sandbox.submissions_v3, client.balance())
        public_key = client.get("/webhooks/public-key").json()
    with Sandbox(state=state, seconds=60) as sandbox:
        client = ClientV3(sandbox)
        assert (sandbox.api_key_v3, sandbox.submissions_v3, client.balance()) == before
        assert client.submit_speech("key").json() == first
        assert client.get("/webhooks/public-key").json() == public_key
        assert len(client.get("/webhooks/deliveries").json()["data"]) == 1
        sandbox.advance(60)
        assert client.finish(client.submit_speech("key"))["status"] == "COMPLETED"
        answer = client.submit(
            "hedra-avatar", client.avatar_input(start_image={"source": "url", "url": handle})
        )
        assert error_of(answer)["details"][0]["reason"] == "content_type"
