"""The way to Hedra, where a client is made without an Airflow connection."""

from __future__ import annotations

import pytest

from hedra_provider.api.client import AsyncHedraClient, HedraClient
from hedra_provider.api.errors import HedraConfigurationError
from hedra_provider.api.network import environment_proxy

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("client", [HedraClient, AsyncHedraClient])
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"base_url": "http://a:b"}, "base_url: 'http://a:b' is not an http"),
        ({"base_url": "api.hedra.com"}, "base_url: 'api.hedra.com' is not an http"),
        ({"proxy": "http://u:p4ss@p:x"}, "The proxy can't be read as a URL"),
        ({"proxy": "socks5://p"}, "The proxy is a SOCKS proxy"),
        ({"verify": "/nowhere"}, "verify.*: /nowhere can't be used"),
    ],
)
def test_an_argument_that_can_not_work_is_named(client: type, arguments: dict[str, str], says: str):
    with pytest.raises(HedraConfigurationError, match=says) as raised:
        client("a-key", **arguments)
    assert not raised.value.retryable
    assert "p4ss" not in str(raised.value)


@pytest.mark.parametrize(
    ("variables", "url", "name"),
    [
        ({}, "https://x", None),
        ({"HTTPS_PROXY": "http://p:1"}, "https://x", "HTTPS_PROXY"),
        ({"HTTPS_PROXY": "http://p:1"}, "http://x", None),
        ({"https_proxy": "http://p:1", "HTTPS_PROXY": "http://q:1"}, "https://x", "https_proxy"),
        ({"ALL_PROXY": "http://p:1"}, "http://x", "ALL_PROXY"),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "x"}, "http://x", None),
    ],
)
def test_the_variable_whose_proxy_is_used(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str, name: str | None
):
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert environment_proxy(url) == name
