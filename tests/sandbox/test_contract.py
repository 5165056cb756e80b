"""Real answers of every endpoint against Hedra's published schema, where it is at hand."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import jsonschema
import pytest

from hedra_provider.testing import Sandbox
from tests.sandbox.conftest import Client

ROOT = Path(__file__).parents[2]
SCHEMA = Path(os.environ.get("HEDRA_OPENAPI") or ROOT.parent / "shared" / "hedra" / "openapi-v2.json")

pytestmark = pytest.mark.skipif(
    not SCHEMA.exists(), reason="Hedra's schema is not here; set HEDRA_OPENAPI to openapi-v2.json"
)

Check = Callable[[httpx.Response], Any]


@cache
def document() -> Any:
    return json.loads(SCHEMA.read_text("utf-8"))


def check(answer: httpx.Response, method: str, path: str, status: str = "200") -> Any:
    """Validate an answer against the schema of one operation and return its body."""
    content = document()["paths"][path][method]["responses"][status]["content"]["application/json"]
    # OpenAPI 3.1 is JSON Schema 2020-12; its references start at the root of the document.
    schema = {**document(), **content["schema"], "$schema": "https://json-schema.org/draft/2020-12/schema"}
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    body = answer.json()
    leaves = [jsonschema.exceptions.best_match([error]) for error in validator.iter_errors(body)]
    errors = [f"{'/'.join(map(str, leaf.absolute_path))}: {leaf.message}" for leaf in leaves]
    assert not errors, "\n".join(errors)
    return body


def test_the_check_finds_a_mistake() -> None:
    wrong = httpx.Response(200, json={"remaining": 1, "expiring": 0})
    with pytest.raises(AssertionError, match="'used' is a required property"):
        check(wrong, "get", "/billing/credits")


def test_models_and_voices(hedra: Client) -> None:
    models = check(hedra.get("/models"), "get", "/models")
    assert {row["type"] for row in models} == {"video", "text_to_speech"}
    only = check(hedra.get("/models", params=[("types", "image"), ("types", "video")]), "get", "/models")
    assert {row["type"] for row in only} == {"video"}
    voices = check(hedra.get("/voices"), "get", "/voices")
    assert len(voices) >= 6
    labels = [{label["name"] for label in row["asset"]["labels"]} for row in voices]
    assert all(names >= {"language", "gender", "accent", "age"} for names in labels)


@pytest.mark.hedra_sandbox(workspaces={"team": 1000}, credits=1000)
def test_credits(hedra: Client) -> None:
    hedra.submit(workspace_id="team")
    check(hedra.get("/billing/credits"), "get", "/billing/credits")


def test_assets(hedra: Client) -> None:
    request = hedra.request()
    for kind in ("image", "audio", "video"):
        created = hedra.post("/assets", json={"name": "x", "type": kind, "reserved_asset_id": str(uuid4())})
        body = check(created, "post", "/assets")
        assert (body["upload_url"] is not None) == (kind == "video")
    hedra.status(hedra.submit(request).json()["id"])
    for kind in ("image", "audio", "video", "voice"):
        assert check(hedra.get("/assets", params={"type": kind}), "get", "/assets")
    asset_id = request["audio_id"]
    upload = hedra.post(f"/assets/{asset_id}/upload", files={"file": b""})
    assert upload.status_code == 400
    check(hedra.get("/assets"), "get", "/assets", "422")
    check(hedra.get("/assets", params={"type": "opera"}), "get", "/assets", "422")
    check(hedra.post("/assets", json={"name": 1}), "post", "/assets", "422")
    check(hedra.post("/assets/x/upload"), "post", "/assets/{id}/upload", "422")


def test_an_upload(hedra: Client) -> None:
    from tests.sandbox.conftest import portrait_bytes, wav_bytes

    for kind, data in (("image", portrait_bytes()), ("audio", wav_bytes(1))):
        asset_id = hedra.post("/assets", json={"name": "x", "type": kind}).json()["id"]
        answer = hedra.post(f"/assets/{asset_id}/upload", files={"file": data})
        check(answer, "post", "/assets/{id}/upload")


def test_a_video_from_beginning_to_end() -> None:
    with Sandbox(seconds=10, queue_seconds=10) as sandbox:
        hedra = Client(sandbox)
        body = check(hedra.submit(generation_id=str(uuid4())), "post", "/generations")
        path = f"/generations/{body['id']}/status"
        for seconds in (0, 11, 8, 10):
            sandbox.advance(seconds)
            check(hedra.get(path), "get", "/generations/{generation_id}/status")
            page = check(hedra.get("/generations"), "get", "/generations")
        assert page["data"][0]["status"] == "complete"
        assert page["data"][0]["asset"]["asset"]["type"] == "generated_video"


def test_batches_speech_and_failures(hedra: Client) -> None:
    ids = [str(uuid4()), str(uuid4())]
    check(hedra.submit(batch_size=2, generation_ids=ids), "post", "/generations")
    voice = hedra.get("/voices").json()[0]["id"]
    speech = {"type": "text_to_speech", "voice_id": voice, "text": "Hello"}
    spoken = check(hedra.submit(body=speech), "post", "/generations")
    hedra.sandbox.faults(
        {"on": "POST /generations", "generation_error": {"type": "UNAVAILABLE", "message": "Busy"}},
        {"on": "POST /generations", "generation_error": {"error_message": "Broken"}},
    )
    failed = [check(hedra.submit(body=speech), "post", "/generations") for _ in range(2)]
    for row in (spoken, *failed):
        check(hedra.get(f"/generations/{row['id']}/status"), "get", "/generations/{generation_id}/status")
    check(hedra.get("/generations", params={"type": "audio"}), "get", "/generations")
    check(hedra.get("/generations", params={"limit": 0}), "get", "/generations", "422")
    check(hedra.submit(body={"type": "video"}), "post", "/generations", "422")
    path = "/generations/{generation_id}/status"
    check(hedra.get("/generations/x/status"), "get", path, "422")
