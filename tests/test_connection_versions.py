"""A connection is for v2 or v3 of Hedra's API: by its key, or by its extra ``api_version``."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import redact
from airflow.sdk import Connection
from airflow.sdk.execution_time import task_runner

from hedra_provider.api.errors import HedraConfigurationError
from hedra_provider.connection import read_async, read_sync
from hedra_provider.connection_fields import parse_connection
from hedra_provider.hooks import HedraHook

if TYPE_CHECKING:
    from hedra_provider.connection_fields import HedraSettings

V2_KEY = "sk_hedra_abcdef0123456789"
V3_KEY = "key-id-1234:the-secret-5678"


def settings(extra: Any = None, **fields: Any) -> HedraSettings:
    text = extra if extra is None or isinstance(extra, str) else json.dumps(extra)
    return parse_connection(
        Connection(conn_id="c", conn_type="hedra", extra=text, **({"password": V3_KEY} | fields))
    )


def rejection(extra: Any = None, **fields: Any) -> str:
    with pytest.raises(HedraConfigurationError) as raised:
        settings(extra, **fields)
    assert not raised.value.retryable
    return str(raised.value)


@pytest.mark.parametrize(
    ("key", "extra", "version"),
    [
        (V2_KEY, {}, 2),
        ("a-key-of-another-form", {}, 2),
        (V3_KEY, {}, 3),
        (f" {V3_KEY}\n", {}, 3),
        (V3_KEY, {"api_version": ""}, 3),
        (V3_KEY, {"api_version": None}, 3),
        # The form of keys is observed, not documented: the extra decides.
        *[(V3_KEY, {"api_version": value}, 2) for value in (2, "2", " 2 ")],
        *[(V2_KEY, {"api_version": value}, 3) for value in (3, "3")],
    ],
)
def test_the_version_is_the_named_one_else_that_of_the_key(key: str, extra: dict[str, Any], version: int):
    found = settings(extra, password=key)
    assert found.api_version == version
    assert found.api_key == key.strip()


@pytest.mark.parametrize("value", [1, 4, 2.0, "v3", "two", True, [2], {"v": 2}, "9" * 5000])
def test_another_version_is_an_error(value: Any):
    assert '"API version" is ' in rejection({"api_version": value})


@pytest.mark.parametrize(
    ("key", "host", "base_url"),
    [
        (V2_KEY, "https://gateway.example", "https://gateway.example/web-app/public"),
        (V3_KEY, "https://gateway.example", "https://gateway.example/v3"),
        (V3_KEY, "https://gateway.example/", "https://gateway.example/v3"),
        (V3_KEY, "https://api.hedra.com/v3/", "https://api.hedra.com/v3"),
        (V3_KEY, "https://gateway.example/hedra", "https://gateway.example/hedra"),
        (V3_KEY, None, None),
    ],
)
def test_a_host_without_a_path_gets_the_path_of_the_version(key: str, host: str | None, base_url: str | None):
    assert settings(password=key, host=host).base_url == base_url


@pytest.mark.parametrize(
    ("key", "path", "says"),
    [
        (V2_KEY, "/v3", "has the path of Hedra's v3 API, /v3, but the connection is for v2"),
        (V3_KEY, "/web-app/public", "has the path of Hedra's v2 API, /web-app/public, but the connection is"),
        (V3_KEY, "/web-app/public/", "Leave the path out, or put a v2 key"),
    ],
)
def test_the_path_of_the_other_version_is_an_error(key: str, path: str, says: str):
    message = rejection(password=key, host=f"https://api.hedra.com{path}")
    assert message.startswith('"Base URL" ')
    assert says in message


def test_the_extra_that_names_the_version_decides_the_path():
    named = settings({"api_version": 2}, host="https://api.hedra.com/web-app/public")
    assert named.base_url == "https://api.hedra.com/web-app/public"


def test_a_workspace_of_a_v3_key_is_an_error():
    message = rejection({"workspace_id": "team"})
    assert "\"Workspace ID\" is 'team', but a v3 key belongs to one workspace. Leave it empty" in message
    assert settings({"workspace_id": ""}).workspace_id is None
    assert settings({"workspace_id": "team"}, password=V2_KEY).workspace_id == "team"


def test_an_id_namespace_makes_the_ids_of_both_versions():
    shared = {"id_namespace": "production"}
    assert settings(shared).namespace == settings(shared, password=V2_KEY).namespace
    assert settings().namespace != settings(password=V2_KEY).namespace


def test_the_extras_of_v3_may_stand_beside_a_v2_key():
    assert settings({"state_path": "/shared"}, password=V2_KEY).state_path == "/shared"


DEFAULTS = {
    "state_path": None,
    "requests_per_minute": None,
    "idempotency": "header",
    "prices": {},
    "speech_model": "elevenlabs-v3",
}


@pytest.mark.parametrize("extra", [{}, dict.fromkeys(DEFAULTS), dict.fromkeys(DEFAULTS, " ")])
def test_extras_that_are_left_empty(extra: dict[str, Any]):
    found = settings(extra)
    assert {name: getattr(found, name) for name in DEFAULTS} == DEFAULTS


PRICES = {"hedra-avatar": {"540p": Decimal("0.025"), "720p": Decimal("0.05")}}


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("state_path", "/mnt/shared/hedra", "/mnt/shared/hedra"),
        ("state_path", " s3://my_conn@bucket/hedra ", "s3://my_conn@bucket/hedra"),
        ("state_path", "gs://bucket", "gs://bucket"),
        ("state_path", "file:///mnt/shared", "file:///mnt/shared"),
        ("state_path", "/mnt/a..b", "/mnt/a..b"),
        ("requests_per_minute", 1, 1),
        ("requests_per_minute", "10000", 10_000),
        ("idempotency", "Both", "both"),
        ("idempotency", "body", "body"),
        ("prices", {"hedra-avatar": {"540p": 0.025, "720p": "0.05"}}, PRICES),
        ("prices", '{"hedra-avatar": {"540p": 0.025, "720p": 0.050}}', PRICES),
        ("prices", {"m": {"1080p": 1}}, {"m": {"1080p": Decimal(1)}}),
        ("prices", {}, {}),
        ("speech_model", "elevenlabs-flash-v2", "elevenlabs-flash-v2"),
    ],
)
def test_extras_of_v3_that_work(name: str, value: Any, read: Any):
    assert getattr(settings({name: value}), name) == read


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("state_path", "shared/hedra", "\"State path\" is 'shared/hedra', which is no absolute path"),
        ("state_path", "~/hedra", "which is no absolute path"),
        ("state_path", "/mnt/../etc", "holds '..'"),
        ("state_path", "s3://bucket/a/..", "holds '..'"),
        ("state_path", "s3:///hedra", "names no bucket"),
        ("state_path", "s3://", "names no bucket"),
        ("state_path", "s3://bucket?x=1", "holds more than"),
        ("state_path", "s3://key:p4ss@bucket/hedra", "holds a password"),
        ("state_path", "://bucket", "is not a URI"),
        ("state_path", "s3://[bucket", "is not a URI"),
        ("state_path", "file://", "is no absolute path"),
        ("state_path", "/mnt/a\nb", "can't be printed"),
        ("state_path", ["/mnt"], '"State path" is no text'),
        *[
            ("requests_per_minute", value, '"Requests per minute" is ')
            for value in (0, -1, 10_001, 1.5, 60.0, "many", "1.5", True, [60])
        ],
        ("idempotency", "url", "\"Idempotency key in\" is 'url'. Give header, body or both"),
        ("idempotency", True, '"Idempotency key in" is True'),
        ("prices", "cheap", '"Prices (USD per second)" is no JSON.'),
        ("prices", "[1]", '"Prices (USD per second)" is no JSON object'),
        ("prices", 1, '"Prices (USD per second)" is no JSON object'),
        ("prices", {"hedra-avatar": 0.05}, "has no JSON object of resolutions for the model 'hedra-avatar'"),
        ("prices", {"hedra-avatar": {}}, "has no JSON object of resolutions"),
        ("prices", {"": {"720p": 1}}, "has no JSON object of resolutions"),
        *[
            ("prices", {"m": {"720p": value}}, " for 'm' at '720p'. Give USD per second")
            for value in (0, -0.05, "0", "free", "NaN", "Infinity", True, None, [1])
        ],
        ("prices", '{"m": {"720p": NaN}}', "has the price "),
        ("speech_model", "a/b", "\"Speech model\" is 'a/b'"),
        ("speech_model", "../models", '"Speech model" is '),
        ("speech_model", 3, '"Speech model" is 3'),
    ],
)
def test_an_extra_of_v3_that_can_not_work_is_named(name: str, value: Any, says: str):
    message = rejection({name: value})
    assert says in message
    assert "p4ss" not in message


def test_one_poller_serves_connections_that_differ_in_nothing_it_uses():
    same = settings({"prices": {"m": {"720p": 1}}, "state_path": "/shared"})
    assert same.fingerprint == settings().fingerprint
    others = [{"api_version": 2}, {"requests_per_minute": 30}, {"timeout": 5}]
    assert len({settings(extra).fingerprint for extra in [{}, *others]}) == 4


@pytest.mark.parametrize(
    "value",
    [
        json.dumps({"conn_type": "hedra", "password": V3_KEY, "extra": {"requests_per_minute": 30}}),
        json.dumps({"conn_type": "hedra", "password": V3_KEY, "extra": '{"requests_per_minute": "30"}'}),
        f"hedra://:{V3_KEY.replace(':', '%3A')}@?requests_per_minute=30",
        f"hedra://:{V3_KEY}@?requests_per_minute=30",
    ],
)
def test_a_v3_key_in_an_environment_variable(monkeypatch: pytest.MonkeyPatch, value: str):
    monkeypatch.setenv("AIRFLOW_CONN_HEDRA_DEFAULT", value)
    found = HedraHook().settings
    assert (found.api_key, found.api_version, found.requests_per_minute) == (V3_KEY, 3, 30)


def test_a_uri_with_the_id_as_its_user_says_how_to_write_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW_CONN_HEDRA_DEFAULT", f"hedra://{V3_KEY}@")
    with pytest.raises(HedraConfigurationError, match=r"Login.*hedra://:ID%3ASECRET@") as raised:
        _ = HedraHook().settings
    assert not [part for part in V3_KEY.split(":") if part in str(raised.value)]


VARIABLE = "AIRFLOW_CONN_HEDRA_DEFAULT"


def define(patch: pytest.MonkeyPatch, key: str, **extra: Any) -> None:
    patch.setenv(VARIABLE, json.dumps({"conn_type": "hedra", "password": key, "extra": extra}))


class Supervisor:
    """Airflow's process beside a task or the triggers, which writes their logs."""

    def __init__(self) -> None:
        self.masked: list[Any] = []

    def send(self, message: Any) -> None:
        self.masked.append(message.value)

    async def asend(self, message: Any) -> None:
        self.send(message)


READERS = {"in a task": read_sync, "in a trigger": lambda conn_id: asyncio.run(read_async(conn_id))}


@pytest.mark.parametrize("reader", READERS)
def test_airflow_masks_each_part_of_a_v3_key(monkeypatch: pytest.MonkeyPatch, reader: str):
    # Not readable words: the masker of this process may know a part of one from another test.
    key_id, secret = uuid.uuid4().hex, uuid.uuid4().hex
    define(monkeypatch, f"{key_id}:{secret}")
    supervisor = Supervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    READERS[reader]("hedra_default")
    assert {key_id, secret} <= set(supervisor.masked)
    assert redact(f"Basic {secret} of {key_id}.") == "Basic *** of ***."


@pytest.mark.parametrize("reader", READERS)
def test_a_part_that_can_not_be_masked_fails_no_task(monkeypatch: pytest.MonkeyPatch, reader: str):
    class Busy(Supervisor):
        def send(self, message: Any) -> None:
            super().send(message)
            if message.value in V3_KEY.split(":"):
                raise RuntimeError("got Future attached to a different loop")

    define(monkeypatch, V3_KEY)
    supervisor = Busy()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    READERS[reader]("hedra_default")
    assert set(V3_KEY.split(":")) <= set(supervisor.masked)


@pytest.mark.parametrize(("key", "named"), [(V3_KEY, 2), (V2_KEY, 3)])
def test_a_task_says_that_the_named_version_contradicts_the_key(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, key: str, named: int
):
    define(monkeypatch, key, api_version=named)
    with caplog.at_level(logging.WARNING):
        read_sync("hedra_default")
    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("hedra_provider")]
    assert f'"API key" has the form of a v{5 - named} key, but "API version" is {named}' in line
    assert 'clear "API version"' in line
    assert key not in line


@pytest.mark.parametrize(("key", "extra"), [(V3_KEY, {"api_version": 3}), (V3_KEY, {}), (V2_KEY, {})])
def test_nothing_is_said_where_key_and_version_agree(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, key: str, extra: dict[str, Any]
):
    define(monkeypatch, key, **extra)
    with caplog.at_level(logging.WARNING):
        read_sync("hedra_default")
    assert caplog.text == ""
