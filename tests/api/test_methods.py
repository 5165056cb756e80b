"""The clients' methods: the same names on both versions, and what an error names where one is missing."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import httpx
import pytest

from hedra_provider.api import by_version
from hedra_provider.api.client import AsyncHedraClient, HedraClient
from hedra_provider.api.errors import HedraNotFoundError, HedraValueError

KEYS = {2: "sk_hedra_123456", 3: "the-key-id:the-secret"}
JOB = "job_00000000-0000-0000-0000-000000000001"
ARGUMENTS: dict[str, tuple[Any, ...]] = {"get_job": (JOB,), "estimate": ("m", {})}


class Both:
    """Calls a method of both clients and returns what both say; notes the paths of the requests."""

    def __init__(self, version: int, status: int, body: Any) -> None:
        self.paths: list[str] = []
        self.key = KEYS[version]

        def answer(request: httpx.Request) -> httpx.Response:
            self.paths.append(request.url.raw_path.decode())
            return httpx.Response(status, json=body)

        self.transport = httpx.MockTransport(answer)

    def call(self, name: str, *args: Any, **options: Any) -> Any:
        with HedraClient(self.key, transport=self.transport) as client:
            found = getattr(client, name)(*args, **options)

        async def go() -> Any:
            async with AsyncHedraClient(self.key, transport=self.transport) as other:
                return await getattr(other, name)(*args, **options)

        assert asyncio.run(go()) == found
        return found


@pytest.mark.parametrize("name", by_version.INSTEAD)
def test_a_method_of_the_other_version_names_the_one_to_use(name: str):
    needed, instead = by_version.INSTEAD[name]
    both = Both(5 - needed, 200, {})
    with pytest.raises(HedraValueError, match=f"{name} is a method of v{needed}") as caught:
        both.call(name, *ARGUMENTS.get(name, ()))
    assert instead.rstrip(".") in str(caught.value)
    assert both.paths == []


def test_what_an_error_names_exists():
    named = {word.strip(":,.") for _, text in by_version.INSTEAD.values() for word in text.split()}
    methods = {name for name, _ in inspect.getmembers(HedraClient, inspect.isfunction)}
    assert {"get_balance", "get_credits", "list_jobs", "get_job"} <= named & methods


@pytest.mark.parametrize(
    ("name", "args", "path", "body"),
    [
        ("get_balance", (), "/v3/balance", {"balance": 1, "currency": "USD"}),
        ("get_usage", ("2026-11-01", None, "day"), "/v3/usage?start=2026-11-01&group_by=day", {}),
        ("list_jobs", (), "/v3/jobs?limit=100", {"data": []}),
        ("get_job", (JOB,), f"/v3/jobs/{JOB}", {"job_id": JOB}),
        ("get_generation", (JOB,), f"/v3/jobs/{JOB}", {"job_id": JOB}),
        ("estimate", ("m", {"a": 1}), "/v3/models/m/estimate", {"cost": 0.1}),
        ("list_deliveries", (), "/v3/webhooks/deliveries?limit=100", {"data": []}),
        ("list_voices", (), "/v3/models/elevenlabs-v3/voices", {"data": []}),
        ("list_voices", ("other",), "/v3/models/other/voices", {"data": []}),
        ("list_models", (), "/v3/models", {"data": []}),
        ("list_models", (["video"],), "/v3/models?modality=video", {"data": []}),
    ],
)
def test_the_methods_of_v3(name: str, args: tuple[Any, ...], path: str, body: Any):
    both = Both(3, 200, body)
    both.call(name, *args)
    assert both.paths == [path, path]


def test_models_of_several_modalities():
    rows = [{"id": name, "modality": name} for name in ("image", "video", "audio")]
    found = Both(3, 200, {"data": rows}).call("list_models", ["image", "audio"])
    assert [model.id for model in found] == ["image", "audio"]


def test_voices_have_labels():
    row = {
        "id": "voice_1",
        "name": "Ann",
        "labels": {"language": "en", "age": None},
        "preview_url": "https://x/?s=1",
    }
    (voice,) = Both(3, 200, {"data": [row]}).call("list_voices")
    assert (voice.name, voice.labels) == ("Ann", {"language": "en"})
    assert "https" not in repr(voice)


def test_v2_has_one_list_of_voices():
    with pytest.raises(HedraValueError, match="one list of voices"):
        Both(2, 200, []).call("list_voices", "elevenlabs-v3")


@pytest.mark.parametrize("name", ["get_job", "get_generation"])
def test_a_job_that_hedra_does_not_know_is_an_error(name: str):
    with pytest.raises(HedraNotFoundError, match=JOB):
        Both(3, 404, {"error": {"code": "NOT_FOUND", "message": "no"}}).call(name, JOB)
