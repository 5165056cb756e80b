"""Every answer that Hedra's published v3 schema shows or allows is read, where the schema is at hand."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest

from hedra_provider.api.client import HedraClient
from hedra_provider.api.error_bodies import read_error_body
from hedra_provider.api.errors import RETRYABLE_CODES
from hedra_provider.api.v3 import calls
from hedra_provider.api.v3.responses import STATUSES

ROOT = Path(__file__).parents[2]
SCHEMA = Path(os.environ.get("HEDRA_OPENAPI_V3") or ROOT.parent / "shared" / "hedra" / "openapi-v3.json")
if not SCHEMA.exists():
    SCHEMA = ROOT.parents[1] / "shared" / "hedra" / "openapi-v3.json"

pytestmark = pytest.mark.skipif(
    not SCHEMA.exists(), reason="Hedra's schema is not here; set HEDRA_OPENAPI_V3 to openapi-v3.json"
)

JOB = "job_00000000-0000-0000-0000-000000000001"
CALLS: dict[tuple[str, str], Any] = {
    ("get", "/jobs"): lambda: calls.list_jobs(),
    ("get", "/models/{model}/jobs"): lambda: calls.list_jobs(model="m"),
    ("get", "/jobs/{job_id}"): lambda: calls.get_job(JOB),
    ("get", "/jobs/{job_id}/status"): lambda: calls.get_status(JOB),
    ("post", "/models/{model}"): lambda: calls.submit_job("m", b"{}", idempotency_key="k"),
    ("post", "/models/{model}/estimate"): lambda: calls.estimate("m", {}),
    ("get", "/models"): lambda: calls.list_models(),
    ("get", "/models/{model}"): lambda: calls.get_model("m"),
    ("get", "/models/{model}/voices"): lambda: calls.list_voices("m"),
    ("get", "/balance"): lambda: calls.get_balance(),
    ("get", "/usage"): lambda: calls.get_usage(),
    ("get", "/webhooks/deliveries"): lambda: calls.list_deliveries(),
    ("post", "/webhooks/deliveries/{job_id}/redeliver"): lambda: calls.redeliver(JOB),
    ("get", "/webhooks/public-key"): lambda: calls.get_public_key(),
}
SAMPLES = {"string": "text", "integer": 7, "number": 0.25, "boolean": True, "object": {}, "null": None}


@cache
def document() -> Any:
    return json.loads(SCHEMA.read_text("utf-8"))


def sample(schema: dict[str, Any], *, whole: bool) -> Any:
    """Return a value of a schema: with every field, or with the required ones alone, null where allowed."""
    if "$ref" in schema:
        return sample(document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]], whole=whole)
    if "anyOf" in schema:
        return sample(schema["anyOf"][0 if whole else -1], whole=whole)
    if "enum" in schema:
        return schema["enum"][-1]
    if schema.get("format") == "date-time":
        return "2026-11-28T12:00:00Z"
    if schema.get("type") == "array":
        return [sample(schema["items"], whole=whole)]
    if "properties" in schema:
        wanted = schema["properties"] if whole else schema.get("required", [])
        return {name: sample(schema["properties"][name], whole=whole) for name in wanted}
    return SAMPLES[schema.get("type", "object")]


def operation(method: str, path: str) -> tuple[int, Any]:
    """Return the status and the body of an operation's success."""
    answers = document()["paths"][path][method]["responses"]
    status = next(one for one in answers if one.startswith("2"))
    return int(status), answers[status]["content"]["application/json"]


def read(make_call: Any, status: int, body: Any) -> Any:
    transport = httpx.MockTransport(lambda request: httpx.Response(status, json=body))
    with HedraClient("the-key-id:the-secret", transport=transport) as client:
        return client.run(make_call())


@pytest.mark.parametrize("whole", [True, False], ids=["every field", "required fields"])
@pytest.mark.parametrize("where", CALLS, ids=" ".join)
def test_an_answer_of_the_schema_is_read(where: tuple[str, str], whole: bool):
    status, content = operation(*where)
    body = sample(content["schema"], whole=whole)
    if "job_id" in body:
        body["job_id"] = JOB
    found = read(CALLS[where], status, body)
    rows, sent = (found, body["data"]) if isinstance(found, list) else ([found], [body])
    for row, source in zip(rows, sent, strict=True):
        for name, value in source.items():
            # A field that is read is not lost: a mistyped model would make it None.
            if name in type(row).model_fields and value is not None:
                assert getattr(row, name) is not None, name
        if hasattr(row, "record"):
            row.record()


def test_every_status_and_code_of_the_schema_is_known():
    schemas = document()["components"]["schemas"]
    assert set(schemas["JobStatus"]["enum"]) <= set(STATUSES)
    assert set(schemas["ErrorCode"]["enum"]) <= set(RETRYABLE_CODES)


def test_every_example_of_an_error_is_read():
    found = 0
    for path in document()["paths"].values():
        for entry in path.values():
            for answer in entry.get("responses", {}).values():
                content = answer.get("content", {}).get("application/json", {})
                for example in content.get("examples", {}).values():
                    error = (example["value"] or {}).get("error")
                    if not isinstance(error, dict):
                        continue
                    found += 1
                    facts = read_error_body(example["value"])
                    assert facts.code == error["code"]
                    assert facts.retryable == error.get("retryable")
                    assert facts.replaced_by == error.get("replaced_by")
                    assert len(facts.violations) == len(error.get("details") or ())
                    assert bool(facts.billing) == bool(error.get("billing"))
    assert found > 100
