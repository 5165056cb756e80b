"""The hook: its client, its methods, what the form shows."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from hedra_provider.api import calls
from hedra_provider.api.errors import HedraValueError
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
    assert set(CONNECTION_FIELDS) == {"workspace_id", "id_namespace", "timeout", "verify", "proxy"}
    behaviour = HedraHook.get_ui_field_behaviour()
    assert behaviour["relabeling"] == {"password": "API key (v2)", "host": "Base URL"}


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
