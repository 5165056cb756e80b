"""The hook: its client, its methods, what the form shows."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hedra_provider.api import by_version, calls
from hedra_provider.api.errors import HedraNotFoundError, HedraValueError
from hedra_provider.api.methods import AsyncMethods, SyncMethods
from hedra_provider.hooks import HedraHook
from hedra_provider.provider_info import CONNECTION_FIELDS

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox


def test_one_pooled_client_per_hook_closed_and_made_again(hedra_sandbox: Sandbox):
    hook = HedraHook()
    with hook.get_conn() as client:
        client.run(calls.get_credits())
        client.run(calls.get_credits())
        assert hook.get_conn() is client
    assert client.http.is_closed
    with hook.get_conn() as another:
        assert another.run(calls.get_credits()).remaining
    connections = {row["connection"] for row in hedra_sandbox.ledger()["requests"]}
    assert len(connections) == 2


async def test_the_async_client(hedra_sandbox: Sandbox):
    async with await HedraHook().get_async_conn() as client:
        assert (await client.run(calls.get_credits())).remaining


def test_submit_once_pays_once_per_key(hedra_sandbox: Sandbox):
    hook = HedraHook()
    with hook.get_conn() as client:
        voice = client.run(calls.list_voices())[0]
    body = {"type": "text_to_speech", "voice_id": voice.id, "text": "Hello"}
    first = hook.submit_once(body, idempotency_key="greeting")
    second = hook.submit_once(body, idempotency_key="greeting")
    assert first.generation.id == second.generation.id
    assert len(hedra_sandbox.submissions) == 1
    assert hook.submit_once(body, idempotency_key="another").plan.must_submit


def test_bad_input_is_a_value_error_too():
    assert issubclass(HedraValueError, ValueError)


def test_the_key_reaches_no_log(hedra_sandbox: Sandbox, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG), HedraHook().get_conn() as client:
        client.run(calls.get_credits())
    assert hedra_sandbox.api_key not in caplog.text


def test_the_form_shows_what_is_read():
    assert set(CONNECTION_FIELDS) == {
        *("api_version", "workspace_id", "id_namespace", "timeout", "verify", "proxy"),
        *("state_path", "requests_per_minute", "idempotency", "prices", "speech_model"),
    }
    behaviour = HedraHook.get_ui_field_behaviour()
    assert behaviour["relabeling"] == {"password": "API key", "host": "Base URL"}


@pytest.mark.hedra_sandbox(workspaces={"team": 70})
def test_submit_once_bills_the_connections_workspace(hedra_sandbox: Sandbox):
    hook = HedraHook()
    with hook.get_conn() as client:
        voice = client.run(calls.list_voices())[0]
    body = {"type": "text_to_speech", "voice_id": voice.id, "text": "Hello"}
    hook.submit_once(body, idempotency_key="greeting")
    assert hedra_sandbox.submissions[0]["workspace"] == "team"


def test_submit_once_leaves_a_client_of_the_users_open(hedra_sandbox: Sandbox):
    with HedraHook() as hook:
        client = hook.get_conn()
        voice = client.run(calls.list_voices())[0]
        body = {"type": "text_to_speech", "voice_id": voice.id, "text": "Hello"}
        hook.submit_once(body, idempotency_key="greeting")
        assert client.run(calls.get_credits()).remaining
    another = HedraHook()
    another.submit_once(body, idempotency_key="greeting")
    assert another.get_conn() is not client


def test_submit_once_never_gives_one_requests_result_to_another(hedra_sandbox: Sandbox):
    hook = HedraHook()
    with hook.get_conn() as client:
        voice = client.run(calls.list_voices())[0]
    body = {"type": "text_to_speech", "voice_id": voice.id, "text": "Hello"}
    one = hook.submit_once(body, idempotency_key="k")
    other = hook.submit_once(body | {"text": "Bye"}, idempotency_key="k")
    assert one.generation.id != other.generation.id
    with pytest.raises(HedraValueError, match="generation_id"):
        hook.submit_once(body | {"generation_id": "x"}, idempotency_key="k")


# The methods that users reach for


def test_the_hook_has_a_method_for_what_users_ask(hedra_sandbox: Sandbox):
    hook = HedraHook()
    assert hook.list_voices()[0].id
    assert {model.type for model in hook.list_models(["video"])} == {"video"}
    assert hook.get_credits().remaining == 10_000
    body = {"type": "text_to_speech", "voice_id": hook.list_voices()[0].id, "text": "Hello"}
    paid = hook.submit_once(body, idempotency_key="greeting").generation
    assert hook.get_generation(paid.id).id == paid.id
    (row,) = hook.list_generations([paid.id])
    assert row.credit_cost
    assert [one.id for one in hook.list_generations(type="text_to_speech", limit=5)] == [paid.id]
    with pytest.raises(HedraNotFoundError):
        hook.get_generation("00000000-0000-4000-8000-000000000000")


def test_methods_share_a_client_in_with_and_close_their_own_outside(hedra_sandbox: Sandbox):
    with HedraHook() as hook:
        client = hook.get_conn()
        hook.list_voices()
        hook.get_credits()
        assert hook.get_conn() is client
    assert client.http.is_closed
    hook = HedraHook()
    hook.get_credits()
    assert hook._client is not None
    assert hook._client.http.is_closed
    assert len({row["connection"] for row in hedra_sandbox.ledger()["requests"]}) == 2


@pytest.mark.hedra_sandbox(seconds=0, queue_seconds=0)
def test_the_hook_uploads_once_and_downloads(hedra_sandbox: Sandbox, voice: str, tmp_path: Path):
    hook = HedraHook()
    first, again = hook.upload(voice), hook.upload(voice, asset_type="audio")
    assert again.asset_id == first.asset_id
    assert (first.reused, again.reused) == (False, True)
    assert len(hedra_sandbox.requests("POST", "/assets/{id}/upload")) == 1
    body = {"type": "text_to_speech", "voice_id": hook.list_voices()[0].id, "text": "Hello"}
    paid = hook.submit_once(body, idempotency_key="greeting").generation
    hedra_sandbox.advance(60)
    stored = hook.download(f"{tmp_path}/out/", generation_id=paid.id)
    (file,) = (tmp_path / "out").iterdir()
    assert file.stem == paid.id
    assert file.stat().st_size == stored.size > 0
    hook.download(str(tmp_path / "in.wav"), asset_id=first.asset_id, asset_type="audio")
    assert (tmp_path / "in.wav").read_bytes() == Path(voice).read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"generation_id": "a", "asset_id": "b", "asset_type": "audio"},
        {"asset_id": "b"},
        {"generation_id": ""},
    ],
)
def test_a_download_without_exactly_one_source_is_rejected(
    hedra_sandbox: Sandbox, tmp_path: Path, arguments: dict[str, str]
):
    with pytest.raises(HedraValueError):
        HedraHook().download(str(tmp_path / "a"), **arguments)
    assert hedra_sandbox.ledger()["requests"] == []


@pytest.mark.hedra_sandbox(workspaces={"team": 70, "other": 5})
def test_an_upload_belongs_to_the_connections_workspace_or_a_named_one(hedra_sandbox: Sandbox, voice: str):
    hook = HedraHook()
    assert hook.upload(voice).asset_id != hook.upload(voice, workspace_id="other").asset_id
    assert hook.upload(voice, workspace_id="team").reused


async def test_both_clients_have_the_same_methods(hedra_sandbox: Sandbox):
    with HedraHook().get_conn() as client:
        body = {"type": "text_to_speech", "voice_id": client.list_voices()[0].id, "text": "Hello"}
        paid = client.run(calls.submit(body))
        async with await HedraHook().get_async_conn() as other:
            assert [one.id for one in await other.list_voices()] == [one.id for one in client.list_voices()]
            assert await other.list_models(["video"]) == client.list_models(["video"])
            assert await other.get_credits() == client.get_credits()
            assert (await other.get_generation(paid.id)).id == client.get_generation(paid.id).id == paid.id
            assert await other.list_generations([paid.id]) == client.list_generations([paid.id])
    methods = [name for name in vars(SyncMethods) if not name.startswith("_")]
    assert methods == [name for name in vars(AsyncMethods) if not name.startswith("_")]
    of_v3 = {name for name, (version, _) in by_version.INSTEAD.items() if version == 3}
    assert {name for name in methods if name != "run"} - of_v3 <= set(vars(HedraHook))
