"""What each field of a connection, and each variable of the environment, may hold.

What can't work is a HedraConfigurationError that names the field by the form's label, or the variable: in a
worker, in a trigger and by the test button alike, before anything is sent, and never retried.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import Connection

from hedra_provider import connection as connections
from hedra_provider.api import network
from hedra_provider.api.errors import HedraConfigurationError
from hedra_provider.api.network import ssl_context
from hedra_provider.connection_fields import parse_connection
from hedra_provider.hooks import HedraHook
from hedra_provider.poller import wait_for_generation
from tests.fronts import Authority

if TYPE_CHECKING:
    from collections.abc import Callable

    from hedra_provider.connection_fields import HedraSettings
    from hedra_provider.testing import Sandbox

VARIABLE = "AIRFLOW_CONN_HEDRA_DEFAULT"


def settings(extra: Any = None, **fields: Any) -> HedraSettings:
    text = extra if extra is None or isinstance(extra, str) else json.dumps(extra)
    return parse_connection(
        Connection(conn_id="c", conn_type="hedra", extra=text, **({"password": "k"} | fields))
    )


def rejection(extra: Any = None, **fields: Any) -> str:
    with pytest.raises(HedraConfigurationError) as raised:
        settings(extra, **fields)
    assert not raised.value.retryable
    return str(raised.value)


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({}, None),
        ({"port": 443}, None),
        ({"schema": "https"}, None),
        ({"host": "https://api.hedra.com/web-app/public"}, "https://api.hedra.com/web-app/public"),
        ({"host": "https://api.hedra.com/x", "port": 443}, "https://api.hedra.com:443/x"),
        ({"host": "https://proxy.example/hedra/"}, "https://proxy.example/hedra"),
        ({"host": "127.0.0.1", "port": 81, "schema": "http"}, "http://127.0.0.1:81/web-app/public"),
        ({"host": "http://127.0.0.1:81"}, "http://127.0.0.1:81/web-app/public"),
        ({"host": "http://127.0.0.1:81", "port": 81}, "http://127.0.0.1:81/web-app/public"),
        ({"host": " api.example\n"}, "https://api.example/web-app/public"),
        ({"host": "api.example/hedra"}, "https://api.example/hedra"),
        ({"host": "bücher.example"}, "https://bücher.example/web-app/public"),
        ({"host": "[::1]", "port": 81, "schema": "http"}, "http://[::1]:81/web-app/public"),
    ],
)
def test_host_port_and_schema_are_the_base_url(fields: dict[str, Any], base_url: str | None):
    assert settings(**fields).base_url == base_url


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"host": "ftp://x"}, '"Base URL" is .ftp://x., which is not an http'),
        ({"host": "file:///etc/passwd"}, '"Base URL" is .*not an http'),
        ({"host": "https://"}, '"Base URL" is .*not an http'),
        ({"host": "https://user:p4ss@x"}, '"Base URL" is .*more than scheme, host, port and path'),
        ({"host": "https://x/?a=1"}, '"Base URL" is .*more than'),
        ({"host": "https://x/?"}, '"Base URL" is .*more than'),
        ({"host": "https://x/#a"}, '"Base URL" is .*more than'),
        ({"host": "api hedra.com"}, '"Base URL" is '),
        ({"host": "https://api.hedra.com/web app"}, '"Base URL" is .*white space'),
        ({"host": "a..b"}, '"Base URL" is .*not a URL'),
        ({"host": "http://x:99999"}, '"Base URL" is .*not a URL'),
        ({"host": "http://x:eighty"}, '"Base URL" is .*not a URL'),
        ({"host": "http://[::1"}, '"Base URL" is .*not a URL'),
        ({"host": "x", "port": 99999}, '"Port" is 99999'),
        ({"host": "x", "port": -1}, '"Port" is -1'),
        ({"port": 8080}, '"Port" is 8080, but "Base URL" is empty'),
        ({"host": "https://x:81", "port": 82}, '"Port" is 82, but "Base URL" names port 81'),
        ({"host": "x", "schema": "ftp"}, '"Schema" is .ftp.'),
        ({"schema": "http"}, '"Schema" is http, but "Base URL" is empty'),
        ({"host": "https://x", "schema": "http"}, '"Schema" is http, but "Base URL" begins with https'),
        ({"login": "me"}, '"Login" is not empty'),
        ({"login": "key", "password": None}, '"Login" is not empty.*goes whole into "API key'),
        ({"password": None}, '"API key" is empty'),
        ({"password": " \n"}, '"API key" is empty'),
        *[
            ({"password": key}, '"API key" has a colon, as a v3 key, but is not <id>:<secret>')
            for key in ("id:", ":p4ss", "id:p4ss:more", ":")
        ],
        ({"password": "Key id:p4ss"}, '"API key" begins with a word of an HTTP header'),
        ({"password": "Bearer abc"}, '"API key" begins with a word of an HTTP header'),
        ({"password": "X-API-Key: abc"}, '"API key" begins with a word of an HTTP header'),
        ({"password": "'abc'"}, '"API key" holds quotation marks'),
        ({"password": "ab\nc"}, '"API key" holds white space'),
        ({"password": "ab c"}, '"API key" holds white space'),
        ({"password": "abc\u200b"}, '"API key" holds .*characters that no key has'),
    ],
)
def test_a_standard_field_that_can_not_work_is_named(fields: dict[str, Any], says: str):
    message = rejection(**fields)
    assert re.search(says, message), message
    assert "p4ss" not in message
    assert message.rstrip().endswith((".", ")"))


def test_white_space_around_the_key_is_no_part_of_it():
    assert settings(password=" abc\n").api_key == "abc"


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (None, (None, True, None)),
        ("", (None, True, None)),
        ({}, (None, True, None)),
        ({"timeout": "30", "verify": "false", "proxy": ""}, (30.0, False, None)),
        ({"timeout": 2.5, "verify": __file__, "proxy": "http://p:1"}, (2.5, __file__, "http://p:1")),
        ({"timeout": "", "verify": True}, (None, True, None)),
        ({"timeout": None, "verify": None, "proxy": None}, (None, True, None)),
        ({"verify": "True"}, (None, True, None)),
        ({"verify": ""}, (None, True, None)),
        ({"verify": 0}, (None, False, None)),
        ({"verify": 1, "proxy": "HTTPS://u:p%2F@p/"}, (None, True, "HTTPS://u:p%2F@p/")),
    ],
)
def test_extras_that_work(extra: Any, expected: tuple[Any, ...]):
    found = settings(extra)
    assert (found.timeout, found.verify, found.proxy) == expected


@pytest.mark.parametrize(
    ("value", "read"), [("team", "team"), (" team ", "team"), ("", None), (None, None), (7, "7")]
)
def test_a_workspace_is_a_text_or_a_whole_number(value: Any, read: str | None):
    assert settings({"workspace_id": value}).workspace_id == read
    if read:
        assert settings({"id_namespace": value}).namespace == settings({"id_namespace": read}).namespace


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ("workspace_id=team", '"Extra Fields JSON" is no JSON'),
        ("{'workspace_id': 'team'}", '"Extra Fields JSON" is no JSON'),
        ('{"workspace_id": "team"', '"Extra Fields JSON" is no JSON'),
        ('{"workspace_id": "a"} {"workspace_id": "b"}', '"Extra Fields JSON" is no JSON'),
        ("[1]", '"Extra Fields JSON" is no JSON object'),
        ('"team"', '"Extra Fields JSON" is no JSON object'),
        ("null", '"Extra Fields JSON" is no JSON object'),
        ("[" * 100_000, '"Extra Fields JSON" is no JSON'),
        ('{"workspace_id": "a", "workspace_id": "b"}', '"Extra Fields JSON" holds a name twice'),
        (
            {"workspaceid": "team"},
            '"Extra Fields JSON" holds the unknown name \'workspaceid\'. Was "workspace_id" meant',
        ),
        ({"Workspace-ID": "team"}, 'Was "workspace_id" meant'),
        (
            {"owner": "me"},
            "holds the unknown name 'owner'. Correct or remove it; the names are api_version, ",
        ),
        ({"workspace_id": {"id": "team"}}, '"Workspace ID" is {'),
        ({"workspace_id": ["team"]}, '"Workspace ID" is ['),
        ({"workspace_id": True}, '"Workspace ID" is True'),
        ({"workspace_id": 1.5}, '"Workspace ID" is 1.5'),
        ({"workspace_id": "a b"}, "\"Workspace ID\" is 'a b'"),
        ({"workspace_id": "a\nb"}, '"Workspace ID" is '),
        ({"id_namespace": {}}, '"ID namespace" is {}'),
        *[
            ({"timeout": value}, '"Timeout (seconds)" is ')
            for value in ("abc", "60s", 0, -1, "-1", True, [60], {})
        ],
        *[({"timeout": value}, '"Timeout (seconds)" is ') for value in ("inf", "nan", 1e300, "1" * 400)],
        ('{"timeout": Infinity}', '"Timeout (seconds)" is inf'),
        ('{"timeout": NaN}', '"Timeout (seconds)" is nan'),
        ({"verify": "/nowhere/ca.pem"}, "\"Verify TLS\" is '/nowhere/ca.pem', which is no file on "),
        ({"verify": "/tmp"}, "\"Verify TLS\" is '/tmp', which is a folder"),
        ({"verify": "a\0b"}, '"Verify TLS" is '),
        ({"verify": 2}, '"Verify TLS" is 2'),
        ({"verify": 1.0}, '"Verify TLS" is 1.0'),
        ({"verify": ["/ca.pem"]}, '"Verify TLS" is ['),
        ({"proxy": "proxy.example:3128"}, '"Proxy" names no scheme. Put http:// before it'),
        ({"proxy": "user:p4ss@proxy:1"}, '"Proxy" names no scheme'),
        ({"proxy": "ftp://p4ss@p"}, '"Proxy" is not an http(s) URL'),
        ({"proxy": "socks5://p4ss@p:1080"}, '"Proxy" is a SOCKS proxy, which needs the package socksio'),
        ({"proxy": "http://u:p4ss@p:99999"}, '"Proxy" has a port that is not between 1 and 65535'),
        ({"proxy": "http://u:p4ss@p:0"}, '"Proxy" has a port'),
        ({"proxy": "http://u:p4ss@p:x"}, '"Proxy" can\'t be read as a URL'),
        ({"proxy": "http://u:1p4ss/ret@p:31"}, '"Proxy" can\'t be read as a URL'),
        ({"proxy": "http://u:12/p4ss@p:31"}, '"Proxy" can\'t be read as a URL'),
        ({"proxy": "http://p p4ss"}, '"Proxy" can\'t be read as a URL'),
        ({"proxy": "http://"}, '"Proxy" can\'t be read as a URL'),
        ({"proxy": 3128}, '"Proxy" is no text'),
        ({"proxy": {"https": "http://p4ss@p"}}, '"Proxy" is no text'),
    ],
)
def test_an_extra_that_can_not_work_is_named(extra: Any, says: str):
    message = rejection(extra)
    assert says in message
    assert "p4ss" not in message


def test_neither_key_nor_proxy_shows_in_the_settings():
    shown = repr(settings({"proxy": "http://user:pass@proxy"}, password="very-secret"))
    assert "very-secret" not in shown
    assert "user:pass" not in shown


def test_the_namespace_is_the_keys_or_ones_own():
    assert settings(password="a").namespace != settings(password="b").namespace
    shared = {"id_namespace": "team"}
    assert settings(shared, password="a").namespace == settings(shared, password="b").namespace


# The same words wherever the connection is read


def in_worker() -> str:
    with pytest.raises(HedraConfigurationError) as raised, HedraHook().get_conn():
        pass
    assert not raised.value.retryable
    return str(raised.value)


def in_trigger() -> str:
    wait = wait_for_generation(
        "hedra_default",
        "an-id",
        deadline=9e9,
        poll_interval=1.0,
        log=None,
        warn=print,  # type: ignore[arg-type]
    )
    with pytest.raises(HedraConfigurationError) as raised:
        asyncio.run(wait)  # type: ignore[arg-type]
    assert not raised.value.retryable
    return str(raised.value)


def by_test_button() -> str:
    works, message = HedraHook().test_connection()
    assert not works
    assert "hedra_default" not in message
    return message


EVERYWHERE = pytest.mark.parametrize("read", [in_worker, in_trigger, by_test_button])


def define(patch: pytest.MonkeyPatch, sandbox: Sandbox, **changes: Any) -> None:
    patch.setenv(VARIABLE, json.dumps(json.loads(sandbox.connection) | changes))


@EVERYWHERE
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        # Airflow 3.0 finds it itself, and names no field.
        ({"extra": "workspace_id=team"}, "is no JSON"),
        ({"extra": {"workspaceid": "team"}}, '"workspace_id" meant'),
        ({"extra": {"timeout": "abc"}}, "\"Timeout (seconds)\" is 'abc'"),
        ({"extra": {"proxy": "socks5://p"}}, '"Proxy" is a SOCKS proxy'),
        ({"schema": "ftp"}, "\"Schema\" is 'ftp'"),
        ({"password": ""}, '"API key" is empty'),
    ],
)
def test_a_field_is_rejected_before_anything_is_sent(
    hedra_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, read: Callable[[], str], changes: Any, says: str
):
    define(monkeypatch, hedra_sandbox, **changes)
    message = read()
    assert says in message
    assert read is by_test_button or "hedra_default" in message.lower()
    assert hedra_sandbox.ledger()["requests"] == []


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"):
        monkeypatch.delenv(name, raising=False)


@EVERYWHERE
@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("HTTP_PROXY", "http://u:p4ss@p:x", "HTTP_PROXY can't be read as a URL"),
        ("http_proxy", "u:p4ss@p:99999", "http_proxy has a port"),
        ("HTTPS_PROXY", "ftp://p4ss@p", "HTTPS_PROXY is not an http(s) URL"),
        ("ALL_PROXY", "socks5h://p", "ALL_PROXY is a SOCKS proxy, which needs the package socksio"),
        ("NO_PROXY", "localhost:80x", "NO_PROXY can't be read"),
        ("NO_PROXY", "10.0.0.0/8,fe80::/10", "NO_PROXY can't be read"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "SSL_CERT_FILE: /nowhere/ca.pem can't be used: No such file"),
        ("SSL_CERT_FILE", "{empty}", "SSL_CERT_FILE: "),
        ("SSL_CERT_FILE", "{folder}", "SSL_CERT_FILE: "),
        ("SSL_CERT_DIR", "/nowhere", "SSL_CERT_DIR: /nowhere can't be used: No such file"),
        ("SSL_CERT_DIR", "{folder}", "SSL_CERT_DIR: "),
        ("SSLKEYLOGFILE", "/nowhere/keys", "SSLKEYLOGFILE: /nowhere/keys can't be used"),
    ],
)
@pytest.mark.usefixtures("no_variables")
def test_a_variable_that_can_not_be_read_is_named(
    hedra_sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    read: Callable[[], str],
    name: str,
    value: str,
    says: str,
):
    empty = tmp_path / "empty.pem"
    empty.touch()
    network._context.cache_clear()
    monkeypatch.setenv(name, value.format(empty=empty, folder=tmp_path))
    message = read()
    assert says in message
    assert "p4ss" not in message
    assert hedra_sandbox.ledger()["requests"] == []


@pytest.mark.usefixtures("no_variables")
def test_a_connections_own_proxy_and_bundle_need_no_readable_variable(
    hedra_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    bundle = Authority(tmp_path).bundle
    define(monkeypatch, hedra_sandbox, extra={"proxy": "http://127.0.0.1:1", "verify": str(bundle)})
    monkeypatch.setenv("HTTP_PROXY", "http://p:x")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    with HedraHook().get_conn():
        pass


@EVERYWHERE
@pytest.mark.parametrize("content", ["no certificate\n", "", "-----BEGIN CERTIFICATE-----\nabc\n"])
def test_a_bundle_without_certificates(
    hedra_sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    read: Callable[[], str],
    content: str,
):
    bundle = tmp_path / "ca.pem"
    bundle.write_text(content)
    define(monkeypatch, hedra_sandbox, extra={"verify": str(bundle)})
    assert f"Verify TLS (verify): {bundle} can't be used" in read()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_bundle_that_can_not_be_read(
    hedra_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    bundle = Authority(tmp_path).bundle
    bundle.chmod(0)
    define(monkeypatch, hedra_sandbox, extra={"verify": str(bundle)})
    assert "Permission denied" in in_worker()


def test_a_bundle_that_was_replaced_is_read_again(tmp_path: Path):
    bundle = Authority(tmp_path).bundle
    before = ssl_context(str(bundle))
    assert ssl_context(str(bundle)) is before
    other = tmp_path / "other"
    other.mkdir()
    bundle.write_bytes(Authority(other).bundle.read_bytes() + b"\n")
    assert ssl_context(str(bundle)) is not before


# What Airflow finds, or doesn't


@EVERYWHERE
@pytest.mark.parametrize("value", ["{not json", "[]", '{"conn_type": "hedra", "port": "p4ss"}', "p4ss"])
def test_a_connection_of_the_environment_that_airflow_can_not_read(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[], str], value: str
):
    """Airflow says of it that it isn't defined, or gives a connection without a key."""
    monkeypatch.setenv(VARIABLE, value)
    message = read()
    assert "p4ss" not in message
    if read is not by_test_button:
        assert VARIABLE in message or "API key" in message


async def test_a_connection_that_triggerers_lack_is_said_to_be_missing_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(HedraConfigurationError) as raised:
        await connections.read_connection("hedra_default")
    # Airflow says so while its API server is away, too.
    assert raised.value.retryable
    for words in ("'hedra_default' was not found in the triggerer", "every triggerer", VARIABLE):
        assert words in str(raised.value)
