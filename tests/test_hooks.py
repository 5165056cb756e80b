"""The hook: what a connection says, what the form and the test button show."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import Connection

from hedra_provider.api import calls
from hedra_provider.api.errors import HedraConfigurationError, HedraValueError
from hedra_provider.hooks import HedraHook, read_settings
from hedra_provider.provider_info import CONNECTION_FIELDS

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox


def settings(extra: dict[str, Any] | None = None, **fields: Any) -> Any:
    connection = Connection(conn_id="c", conn_type="hedra", **({"password": "k"} | fields))
    return read_settings("c", connection, extra or {})


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({}, None),
        ({"host": "https://api.hedra.com/web-app/public"}, "https://api.hedra.com/web-app/public"),
        ({"host": "https://proxy.example/hedra/"}, "https://proxy.example/hedra"),
        ({"host": "127.0.0.1", "port": 81, "schema": "http"}, "http://127.0.0.1:81/web-app/public"),
        ({"host": "http://127.0.0.1:81"}, "http://127.0.0.1:81/web-app/public"),
        ({"host": "api.example"}, "https://api.example/web-app/public"),
    ],
)
def test_the_host_is_the_base_url(fields: dict[str, Any], base_url: str | None):
    assert settings(**fields).base_url == base_url


@pytest.mark.parametrize(
    "host", ["ftp://x", "file:///etc/passwd", "https://", "https://u:p@x", "https://x/?a=1"]
)
def test_a_host_that_is_none(host: str):
    with pytest.raises(HedraConfigurationError, match="'c': its host"):
        settings(host=host)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({}, (None, True, None)),
        ({"timeout": "30", "verify": "false", "proxy": ""}, (30.0, False, None)),
        ({"timeout": 2.5, "verify": __file__, "proxy": "http://p:1"}, (2.5, __file__, "http://p:1")),
        ({"timeout": "", "verify": True}, (None, True, None)),
        ({"timeout": None, "verify": None}, (None, True, None)),
        ({"verify": "True"}, (None, True, None)),
        ({"verify": ""}, (None, True, None)),
    ],
)
def test_the_extras_mean_what_they_mean_on_an_http_connection(
    extra: dict[str, Any], expected: tuple[Any, ...]
):
    found = settings(extra)
    assert (found.timeout, found.verify, found.proxy) == expected


@pytest.mark.parametrize("timeout", ["soon", "-1", 0, "nan", "inf"])
def test_a_timeout_that_is_none(timeout: Any):
    with pytest.raises(HedraConfigurationError, match="timeout"):
        settings({"timeout": timeout})


@pytest.mark.parametrize(
    "extra",
    [{"proxy": "user:sekret@proxy:1"}, {"proxy": "socks5://sekret@p"}, {"verify": "/nowhere/sekret.pem"}],
)
def test_a_proxy_or_bundle_that_is_none(extra: dict[str, Any]):
    with pytest.raises(HedraConfigurationError) as raised:
        settings(extra)
    assert "proxy" not in extra or "sekret" not in str(raised.value)


def test_neither_key_nor_proxy_shows_in_the_settings():
    shown = repr(settings({"proxy": "http://user:pass@proxy"}, password="very-secret"))
    assert "very-secret" not in shown
    assert "user:pass" not in shown


def test_the_namespace_is_the_keys_or_ones_own():
    assert settings(password="a").namespace != settings(password="b").namespace
    shared = {"id_namespace": "team"}
    assert settings(shared, password="a").namespace == settings(shared, password="b").namespace


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


@pytest.mark.hedra_sandbox(workspaces={"team": 70})
def test_the_test_button_tells_workspace_and_balance(hedra_sandbox: Sandbox):
    assert HedraHook().test_connection() == (True, "Connected; 70 credits available in workspace team.")


def test_the_test_button_without_a_workspace(hedra_sandbox: Sandbox):
    works, says = HedraHook().test_connection()
    assert works
    assert "10000 credits remaining" in says


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"password": "wrong"}, "Check the API key"),
        ({"password": "id:secret"}, "v3 key"),
        ({"extra": {"workspace_id": "nobodys"}}, "no workspace nobodys. Its workspaces: none"),
        ({"host": "http://127.0.0.1:1"}, "No answer to GET /billing/credits"),
    ],
)
@pytest.mark.usefixtures("no_pauses")
def test_the_test_button_says_what_is_wrong(
    hedra_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], says: str
):
    connection = json.loads(hedra_sandbox.connection) | changes
    monkeypatch.setenv("AIRFLOW_CONN_HEDRA_DEFAULT", json.dumps(connection))
    works, said = HedraHook().test_connection()
    assert not works
    assert says in said


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
