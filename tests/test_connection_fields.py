"""What docs/reference/connection.md says of proxy, verify and timeout, on real sockets."""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider.api import calls
from hedra_provider.api.client import HedraClient
from hedra_provider.api.errors import HedraConfigurationError, HedraTransportError
from hedra_provider.api.sized_file import SizedFile
from hedra_provider.connection import open_async_client
from hedra_provider.hooks import HedraHook
from tests.fronts import (
    HOST,
    Authority,
    AuthorityWithoutKeyIdentifiers,
    Front,
    check_certificates_as_python_3_13,
)
from tests.media import wav

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hedra_provider.testing import Sandbox

    Ask = Callable[..., int]


@pytest.fixture(autouse=True)
def no_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(params=["sync", "async"])
def credits(hedra_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Ask:
    """Ask for the credits by either client of a connection with this host and these extras."""

    async def without_pause(seconds: float) -> None:
        pass

    def ask(host: str, **extra: Any) -> int:
        fields = {"host": f"{host}/web-app/public", "password": hedra_sandbox.api_key, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_HEDRA_DEFAULT", json.dumps({"conn_type": "hedra"} | fields))
        settings = HedraHook().settings
        if request.param == "sync":
            with HedraClient(**settings.client_options(), sleep=lambda seconds: None) as client:
                return client.run(calls.get_credits()).remaining

        async def go() -> int:
            async with await open_async_client(settings, sleep=without_pause) as client:
                return (await client.run(calls.get_credits())).remaining

        return asyncio.run(go())

    return ask


def origin_of(sandbox: Sandbox) -> str:
    return sandbox.base_url.removesuffix("/web-app/public")


@pytest.fixture
def proxy(hedra_sandbox: Sandbox) -> Iterator[Front]:
    with Front(origin_of(hedra_sandbox)) as front:
        yield front


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def tls(hedra_sandbox: Sandbox, authority: Authority) -> Iterator[Front]:
    """The sandbox behind TLS."""
    with Front(origin_of(hedra_sandbox), tls=authority.server_context()) as front:
        yield front


THROUGH_IT = [f"GET http://{HOST}/web-app/public/billing/credits"]


def test_the_proxy_that_the_connection_names_is_used(credits: Ask, proxy: Front):
    assert credits(f"http://{HOST}", proxy=proxy.url) == 10_000
    assert proxy.seen == THROUGH_IT


def test_without_one_the_proxy_of_the_environment_is_used(
    credits: Ask, proxy: Front, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    assert credits(f"http://{HOST}") == 10_000
    assert proxy.seen == THROUGH_IT


def test_the_connections_proxy_goes_before_that_of_the_environment(
    credits: Ask, proxy: Front, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "*")
    assert credits(f"http://{HOST}", proxy=proxy.url) == 10_000
    assert proxy.seen == THROUGH_IT


def test_a_proxy_sees_of_tls_its_host_alone(credits: Ask, tls: Front, authority: Authority):
    with Front(tls.origin, tunnel_to=("127.0.0.1", tls.server_port)) as proxy:
        assert credits(f"https://{HOST}", proxy=proxy.url, verify=str(authority.bundle)) == 10_000
    assert proxy.seen == [f"CONNECT {HOST}:443"]
    assert proxy.keys == [None]
    assert tls.seen == ["GET /web-app/public/billing/credits"]


def test_a_certificate_of_the_named_authority_is_accepted(credits: Ask, tls: Front, authority: Authority):
    assert credits(tls.url, verify=str(authority.bundle)) == 10_000


@pytest.mark.parametrize("extra", [{}, {"verify": True}, {"verify": "true"}])
def test_a_certificate_of_an_unknown_one_is_rejected(credits: Ask, tls: Front, extra: dict[str, Any]):
    with pytest.raises(HedraTransportError, match="certificate verify failed") as raised:
        credits(tls.url, **extra)
    assert not raised.value.request_sent
    assert "verify" in (raised.value.remedy or "")
    assert "CA bundle" in (raised.value.remedy or "")
    assert tls.seen == []


def test_a_certificate_that_only_python_3_13_rejects_says_what_is_wrong_and_what_to_do(
    credits: Ask, hedra_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    check_certificates_as_python_3_13(monkeypatch)
    own = AuthorityWithoutKeyIdentifiers(tmp_path)
    with Front(origin_of(hedra_sandbox), tls=own.server_context()) as tls:
        with pytest.raises(HedraTransportError, match="Missing Authority Key Identifier") as raised:
            credits(tls.url, verify=str(own.bundle))
        assert tls.seen == []
    assert not raised.value.request_sent
    remedy = raised.value.remedy or ""
    assert "Let the CA issue its own certificate and the server's again" in remedy
    assert "Python 3.12" in remedy
    assert "Authority Key Identifier" in remedy


def test_a_certificate_for_another_host_is_rejected(credits: Ask, tls: Front, authority: Authority):
    with pytest.raises(HedraTransportError, match="certificate verify failed"):
        credits(tls.url.replace("127.0.0.1", "localhost"), verify=str(authority.bundle))
    assert tls.seen == []


@pytest.mark.parametrize("verify", [False, "false"])
def test_any_certificate_is_accepted_where_none_is_verified(credits: Ask, tls: Front, verify: Any):
    assert credits(tls.url, verify=verify) == 10_000


def test_a_file_without_certificates_is_an_error_of_the_connection(credits: Ask, tls: Front, tmp_path: Path):
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate\n")
    with pytest.raises(HedraConfigurationError, match=r"verify.*empty\.pem.*CA bundle"):
        credits(tls.url, verify=str(empty))


@pytest.mark.hedra_sandbox(media=False)
@pytest.mark.parametrize(
    ("kind", "upload", "on"),
    [
        ("audio", calls.upload_file, "POST /assets/{id}/upload"),
        ("video", calls.put_file, "PUT /uploads/{id}"),
    ],
)
def test_an_upload_waits_longer_for_its_answer_than_the_timeout(
    hedra_sandbox: Sandbox, kind: str, upload: Any, on: str
):
    connection = json.loads(hedra_sandbox.connection)
    connection["extra"] = {"timeout": 0.1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_HEDRA_DEFAULT", json.dumps(connection))
        options = HedraHook().settings.client_options()
    with HedraHook().get_conn() as patient:
        created = patient.run(calls.create_asset("clip", kind))
    content = wav(0.1)
    hedra_sandbox.faults(
        {"on": on, "times": None, "when": "after", "delay_seconds": 0.3},
        {"on": "GET /billing/credits", "times": None, "delay_seconds": 0.3},
    )
    with HedraClient(**options, repeat=False) as client:
        file = SizedFile(io.BytesIO(content), len(content), "clip.wav")
        client.run(upload(created.id if kind == "audio" else created.upload_url, file))
        with pytest.raises(HedraTransportError, match="No answer"):
            client.run(calls.get_credits())
