"""Real answers of API v3 against Hedra's published schema, where it is at hand."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import jsonschema
import pytest

from hedra_provider.sandbox.v3 import models
from tests.sandbox.client_v3 import AVATAR, SPEECH, by_url

if TYPE_CHECKING:
    from tests.sandbox.client_v3 import ClientV3

ROOT = Path(__file__).parents[2]
SCHEMA = Path(os.environ.get("HEDRA_OPENAPI_V3") or ROOT.parent / "shared" / "hedra" / "openapi-v3.json")

pytestmark = pytest.mark.skipif(
    not SCHEMA.exists(), reason="Hedra's schema is not here; set HEDRA_OPENAPI_V3 to openapi-v3.json"
)


@cache
def document() -> Any:
    return json.loads(SCHEMA.read_text("utf-8"))


def check(answer: httpx.Response, method: str, path: str) -> Any:
    """Validate an answer against the schema of one operation and return its body."""
    responses = document()["paths"][path][method]["responses"]
    content = responses[str(answer.status_code)]["content"]["application/json"]
    # Most operations name the schema of their errors only in words.
    schema = content.get("schema") or {"$ref": "#/components/schemas/ErrorResponse"}
    validator = jsonschema.Draft202012Validator(
        {**document(), **schema, "$schema": "https://json-schema.org/draft/2020-12/schema"},
        format_checker=jsonschema.FormatChecker(),
    )
    body = answer.json()
    errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(body)]
    assert not errors, "\n".join(errors)
    return body


def test_the_check_finds_a_mistake() -> None:
    with pytest.raises(AssertionError, match="'currency' is a required property"):
        check(httpx.Response(200, json={"balance": 1}), "get", "/balance")


def test_models_and_voices(v3: ClientV3) -> None:
    rows = check(v3.get("/models"), "get", "/models")["data"]
    assert {row["id"] for row in rows} == {*models.AVATAR_MODELS, *models.SPEECH_MODELS}
    assert check(v3.get("/models?modality=audio"), "get", "/models")["data"][0]["modality"] == "audio"
    for row in rows:
        check(v3.get(f"/models/{row['id']}"), "get", "/models/{model}")
        check(v3.get(f"/models/{row['id']}/voices"), "get", "/models/{model}/voices")
    search = v3.get(f"/models/{SPEECH}/voices/search", params={"q": "an old american", "gender": "male"})
    # The path is younger than the schema here; its answer is a list of voices, too.
    assert [voice["name"] for voice in check(search, "get", "/models/{model}/voices")["data"]] == ["Walt"]
    check(v3.get("/models/nothing"), "get", "/models/{model}")


@pytest.mark.parametrize("model", [*models.AVATAR_MODELS, *models.SPEECH_MODELS])
def test_limits_stand_in_the_input_schema_as_hedra_has_them(v3: ClientV3, model: str) -> None:
    def limits(schema: Any) -> dict[str, dict[str, Any]]:
        names = ("enum", "maximum", "minimum", "maxLength", "max_file_size_bytes", "min_duration_ms",
                 "max_duration_ms", "media_type", "role", "pattern")  # fmt: skip
        return {
            field: {name: rule[name] for name in names if name in rule}
            for field, rule in schema["properties"].items()
        }

    theirs = document()["components"]["schemas"]["Input_" + model.replace("-", "_")]
    ours = v3.get(f"/models/{model}").json()["input_schema"]
    assert limits(ours) == limits(theirs)
    assert sorted(ours["required"]) == sorted(theirs["required"])


def test_a_job_from_the_upload_to_its_end(v3: ClientV3) -> None:
    upload = v3.post("/files", files={"file": b"RIFFxxxxWAVE"})
    check(upload, "post", "/files")
    for model, job_input in ((SPEECH, v3.speech_input()), (AVATAR, v3.avatar_input())):
        answer = v3.submit(model, job_input)
        submitted = check(answer, "post", f"/models/{model}")
        assert answer.headers["Location"] == submitted["result_url"]
        v3.finish(answer)
        url = f"/jobs/{submitted['job_id']}"
        assert check(v3.get(url), "get", "/jobs/{job_id}")["status"] == "COMPLETED"
        check(v3.get(f"{url}/status"), "get", "/jobs/{job_id}/status")
        check(v3.get(f"{url}/logs"), "get", "/jobs/{job_id}/logs")
    check(v3.get("/jobs"), "get", "/jobs")
    check(v3.get(f"/models/{AVATAR}/jobs"), "get", "/models/{model}/jobs")
    v3.sandbox.advance(24 * 3600)
    assert check(v3.get(url), "get", "/jobs/{job_id}")["outputs"][0]["status"] == "EXPIRED"


def test_money_and_estimates(v3: ClientV3) -> None:
    v3.submit_speech()
    check(v3.get("/balance"), "get", "/balance")
    for group_by in ("total", "day", "model"):
        check(v3.get("/usage", params={"group_by": group_by}), "get", "/usage")
    body = {"input": v3.speech_input()}
    check(v3.post(f"/models/{SPEECH}/estimate", json=body), "post", "/models/{model}/estimate")
    body = {"input": v3.avatar_input()}
    check(v3.post(f"/models/{AVATAR}/estimate", json=body), "post", "/models/{model}/estimate")


def test_webhooks(v3: ClientV3) -> None:
    check(v3.get("/webhooks/public-key"), "get", "/webhooks/public-key")
    check(v3.get("/webhooks/default"), "get", "/webhooks/default")
    check(
        v3.http.put("/webhooks/default", json={"url": "https://receiver.invalid/"}),
        "put",
        "/webhooks/default",
    )
    check(v3.post("/webhooks/default/test"), "post", "/webhooks/default/test")
    job = v3.finish(v3.submit_speech())
    rows = []
    while not rows or rows[0]["status"] != "FAILED":
        rows = check(v3.get("/webhooks/deliveries"), "get", "/webhooks/deliveries")["data"]
    path = "/webhooks/deliveries/{job_id}/redeliver"
    check(v3.post(path.replace("{job_id}", job["job_id"])), "post", path)


@pytest.mark.hedra_sandbox(usd=0)
def test_errors(v3: ClientV3) -> None:
    path = f"/models/{AVATAR}"
    check(v3.submit(AVATAR, v3.avatar_input()), "post", path)
    check(v3.submit(AVATAR, v3.avatar_input(audio=by_url("x"), prompt=1)), "post", path)
    check(v3.submit(AVATAR, {}), "post", path)
    check(v3.get("/jobs/x"), "get", "/jobs/{job_id}")
    check(v3.get("/jobs", headers={"Authorization": "Key x"}), "get", "/jobs")
    v3.sandbox.faults({"on": "*", "status": 500}, {"on": "*", "status": 429})
    assert [check(v3.get("/jobs"), "get", "/jobs")["error"]["code"] for _ in range(2)] == [
        "INTERNAL", "RESOURCE_EXHAUSTED",
    ]  # fmt: skip


def test_a_failed_job(v3: ClientV3) -> None:
    v3.sandbox.faults({"on": "POST /v3/models/{model}", "generation_error": {"error_message": "Too dark"}})
    job = v3.finish(v3.submit_speech())
    found = check(v3.get(f"/jobs/{job['job_id']}"), "get", "/jobs/{job_id}")
    assert found["error"] == {"code": "INTERNAL", "message": "Too dark", "retryable": False}
