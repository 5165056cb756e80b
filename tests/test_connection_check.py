"""The form's test button says in the form's own words what to change, whatever goes wrong."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from hedra_provider.hooks import HedraHook
from hedra_provider.provider_info import CONNECTION_FIELDS
from tests.fronts import (
    Authority,
    AuthorityWithoutKeyIdentifiers,
    Front,
    check_certificates_as_python_3_13,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hedra_provider.testing import Sandbox

    Press = Callable[..., tuple[bool, str]]

NOT_OF_THE_FORM = ("retries", "s password", "hedra_default", "the task", "workspace_id", "extra")
"""Words that no reader of the form knows."""


@pytest.fixture
def press(hedra_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Press:
    """Press the button on a form with these fields."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)

    def pressed(**changes: Any) -> tuple[bool, str]:
        fields = json.loads(hedra_sandbox.connection) | changes
        monkeypatch.setenv("AIRFLOW_CONN_HEDRA_DEFAULT", json.dumps(fields))
        works, message = HedraHook().test_connection()
        assert not [word for word in NOT_OF_THE_FORM if word in message]
        assert hedra_sandbox.api_key not in message
        assert message.endswith(".")
        return works, message

    return pressed


def raw_server(answer: bytes | None) -> Iterator[int]:
    """Serve one raw answer to each connection; None: none at all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            held = []
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                held.append(connection)
                if answer is not None:
                    connection.recv(65536)
                    connection.sendall(answer)
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def silent_port() -> Iterator[int]:
    yield from raw_server(None)


@pytest.fixture
def garbage_port() -> Iterator[int]:
    yield from raw_server(b"SSH-2.0-OpenSSH_9\r\n")


@pytest.mark.hedra_sandbox(workspaces={"team": 70})
def test_a_workspace_and_its_balance(press: Press):
    assert press() == (True, "Connected; 70 credits available in workspace team.")


def test_the_default_workspace(press: Press):
    works, message = press()
    assert works
    assert "10000 credits remaining" in message


@pytest.mark.hedra_sandbox(workspaces={"team": 70})
def test_an_unknown_workspace(press: Press):
    works, message = press(extra={"workspace_id": "nobodys"})
    assert not works
    assert 'knows no workspace nobodys. Correct "Workspace ID"' in message
    assert "Its workspaces: team." in message


STATUSES = {
    400: ('Check "Base URL" and "Port"',),
    401: ('Hedra does not accept the key (401). Put another v2 API key into "API key"',),
    402: ("asks for credits (402). Add credits", '"Workspace ID"'),
    403: ("(403). Check that the plan of the account has API access", '"API key"'),
    404: ("has no Hedra API at /web-app/public (404)", 'Correct "Base URL"'),
    407: ("asks for a user and a password (407)",),
    429: ("too many requests just now (429)", "Wait a minute, then test again"),
    500: ("is reached, but fails (500); so the key was not checked",),
    503: ("is reached, but fails (503); so the key was not checked",),
}


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("body", [{"detail": "said no"}, "<html><body>nginx</body></html>"])
def test_an_error_of_hedra_is_explained(hedra_sandbox: Sandbox, press: Press, status: int, body: Any):
    fault = {"on": "GET /billing/credits", "times": 9, "when": "before", "status": status}
    hedra_sandbox.faults(fault | {"body": body})
    works, message = press()
    assert not works
    for words in STATUSES[status]:
        assert words in message
    # Nobody waits a minute for the button.
    assert len(hedra_sandbox.requests("GET", "/billing/credits")) == 1


def test_a_web_page_in_place_of_the_api(hedra_sandbox: Sandbox, press: Press):
    page = {"on": "GET /billing/credits", "times": 1, "status": 200, "body": "<html></html>"}
    hedra_sandbox.faults(page | {"when": "before"})
    works, message = press()
    assert not works
    assert "does not answer as Hedra's API does, but with a web page" in message
    assert 'Correct "Base URL" and "Port"' in message


def test_a_wrong_path(hedra_sandbox: Sandbox, press: Press):
    origin = hedra_sandbox.base_url.removesuffix("/web-app/public")
    works, message = press(host=f"{origin}/v1")
    assert not works
    assert 'has no Hedra API at /v1 (404). Correct "Base URL"' in message
    assert "https://api.hedra.com/web-app/public" in message


def test_a_wrong_key(press: Press):
    works, message = press(password="wrong")
    assert not works
    assert '"API key"' in message
    assert '"Base URL" leads to 127.0.0.1:' in message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"password": ""}, '"API key" is empty'),
        ({"password": "id:secret"}, '"Base URL" has the path of Hedra\'s v2 API, /web-app/public'),
        ({"extra": {"timeout": "soon"}}, "\"Timeout (seconds)\" is 'soon'"),
        ({"host": "http://127.0.0.1:1"}, 'Nothing listens at 127.0.0.1:1. Correct "Base URL" and "Port".'),
        ({"host": "http://hedra.invalid"}, "The name of hedra.invalid:80 can't be resolved"),
        (
            {"host": "http://x.invalid", "extra": {"proxy": "http://127.0.0.1:1"}},
            'Nothing listens at the proxy ("Proxy"). Correct "Base URL" and "Port", or "Proxy".',
        ),
        (
            {"host": "https://x.invalid", "extra": {"proxy": "http://p.invalid"}},
            'The name of the proxy ("Proxy") can\'t be resolved',
        ),
    ],
)
def test_an_invalid_field_is_named(press: Press, changes: dict[str, Any], words: str):
    works, message = press(**changes)
    assert not works
    assert words in message


def test_a_server_that_never_answers(press: Press, silent_port: int):
    works, message = press(host=f"http://127.0.0.1:{silent_port}", extra={"timeout": 0.2})
    assert not works
    assert f"127.0.0.1:{silent_port} did not answer within 0.2 s" in message
    assert 'raise "Timeout (seconds)"' in message


@pytest.mark.parametrize("error", [httpx.ConnectTimeout, httpx.ReadTimeout])
def test_without_a_timeout_the_button_names_its_own(
    press: Press, monkeypatch: pytest.MonkeyPatch, error: type[httpx.TimeoutException]
):
    def send(*args: Any, **kwargs: Any) -> Any:
        raise error("timed out")

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", send)
    works, message = press()
    assert not works
    connects = error is httpx.ConnectTimeout
    assert ("gives no connection in time" if connects else "did not answer within 20 s") in message


def test_a_server_that_speaks_no_http(press: Press, garbage_port: int):
    works, message = press(host=f"http://127.0.0.1:{garbage_port}")
    assert not works
    assert "broke: " in message
    assert 'Check "Base URL" and "Port", also whether it begins with http:// or https://' in message


def test_tls_to_a_server_without(hedra_sandbox: Sandbox, press: Press):
    works, message = press(host=hedra_sandbox.base_url.replace("http:", "https:"))
    assert not works
    assert "does not speak TLS as it should" in message


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def origin_of(sandbox: Sandbox) -> str:
    return sandbox.base_url.removesuffix("/web-app/public")


def test_a_certificate_that_can_not_be_verified(hedra_sandbox: Sandbox, press: Press, authority: Authority):
    with Front(origin_of(hedra_sandbox), tls=authority.server_context()) as front:
        works, message = press(host=f"{front.url}/web-app/public")
        assert not works
        assert "can't be verified" in message
        assert 'put the path of that CA\'s bundle into "Verify TLS"' in message
        there = front.url.replace("127.0.0.1", "localhost")
        works, message = press(host=there, extra={"verify": str(authority.bundle)})
    assert not works
    assert "is for another name" in message
    assert '"Base URL"' in message


def test_a_certificate_that_only_python_3_13_rejects(
    hedra_sandbox: Sandbox, press: Press, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    check_certificates_as_python_3_13(monkeypatch)
    own = AuthorityWithoutKeyIdentifiers(tmp_path)
    with Front(origin_of(hedra_sandbox), tls=own.server_context()) as front:
        works, message = press(host=f"{front.url}/web-app/public", extra={"verify": str(own.bundle)})
    assert not works
    assert "Python 3.13 and later reject the certificate of 127.0.0.1" in message
    assert ": Missing Authority Key Identifier. Let the CA" in message
    assert "Python 3.12" in message


def test_a_proxy_that_denies_access(hedra_sandbox: Sandbox, press: Press, monkeypatch: pytest.MonkeyPatch):
    # A server that is no proxy: it answers 404 or 405 to CONNECT.
    proxy = origin_of(hedra_sandbox)
    works, message = press(host="https://hedra.invalid", extra={"proxy": proxy})
    assert not works
    assert '"Proxy" does not lead to hedra.invalid:443' in message
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    works, message = press(host="https://hedra.invalid")
    assert not works
    assert "The variable HTTPS_PROXY does not lead to hedra.invalid:443" in message


@pytest.fixture
def asking_proxy() -> Iterator[int]:
    yield from raw_server(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_asks_for_a_password(press: Press, asking_proxy: int, scheme: str):
    works, message = press(
        host=f"{scheme}://hedra.invalid", extra={"proxy": f"http://127.0.0.1:{asking_proxy}"}
    )
    assert not works
    assert '"Proxy" asks for a user and a password (407)' in message
    where = "http://user:password@host:port"
    assert where in message
    assert where in CONNECTION_FIELDS["proxy"]["description"], "the form says the same as its test button"


def test_a_redirect(press: Press, redirecting_port: int):
    works, message = press(host=f"http://127.0.0.1:{redirecting_port}")
    assert not works
    assert "redirects to another address (301)" in message
    assert 'into "Base URL"' in message


@pytest.fixture
def redirecting_port() -> Iterator[int]:
    yield from raw_server(
        b"HTTP/1.1 301 Moved\r\nLocation: https://elsewhere.invalid/\r\nContent-Length: 0\r\n\r\n"
    )


V3_KEY = "key-id-4711:the-secret-4711"
V3_BALANCE = b'{"balance": 12.34, "spent": null, "currency": "USD"}'


def v3_error(code: str, **about: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": "Said no.", "retryable": False, **about}, "trace_id": "t"}


class V3(ThreadingHTTPServer):
    """A server that answers to ``GET /v3/balance`` with one status and body, and notes what it saw."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _V3Request)
        self.status, self.body = 200, V3_BALANCE
        self.seen: list[tuple[str, str | None, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, status: int, body: Any) -> None:
        self.status, self.body = status, json.dumps(body).encode()


class _V3Request(BaseHTTPRequestHandler):
    server: V3

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers["Authorization"], self.headers["X-API-Key"]))
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *about: Any) -> None:
        pass


@pytest.fixture
def v3() -> Iterator[V3]:
    with V3() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def press_v3(press: Press, v3: V3, **changes: Any) -> tuple[bool, str]:
    works, message = press(**{"password": V3_KEY, "host": v3.url, "extra": {}} | changes)
    assert not [part for part in V3_KEY.split(":") if part in message]
    return works, message


def test_a_v3_key_shows_the_balance_in_usd(press: Press, v3: V3):
    assert press_v3(press, v3) == (True, "Connected; 12.34 USD available.")
    assert v3.seen == [("/v3/balance", f"Key {V3_KEY}", None)]


def test_an_empty_wallet_of_v3_says_where_money_is_missing(press: Press, v3: V3):
    v3.answer(200, {"balance": 0, "currency": "USD"})
    works, message = press_v3(press, v3)
    assert works
    assert message.startswith("Connected; 0.00 USD available. A workspace starts with 0.00 USD")
    assert "its API wallet is separate from Studio. Add funds in Hedra's console" in message


V3_STATUSES = {
    401: ("does not accept the key (401). Put another v3 API key", "v3 keys come from Hedra's console"),
    402: ("asks for money (402). A workspace starts with 0.00 USD", "separate from Studio. Add funds "),
    403: ("denies access (403). Check in Hedra's console that the key is active and has the scopes",),
    404: ("has no Hedra API at /v3 (404)", "Hedra's own is https://api.hedra.com/v3."),
    429: ("too many requests just now (429)", "Wait a minute, then test again"),
    500: ("is reached, but fails (500); so the key was not checked",),
}


@pytest.mark.parametrize("status", V3_STATUSES)
def test_an_error_of_v3_is_explained(press: Press, v3: V3, status: int):
    v3.answer(status, v3_error("SAID_NO"))
    works, message = press_v3(press, v3)
    assert not works
    for words in V3_STATUSES[status]:
        assert words in message
    assert "v2" not in message
    # Nobody waits a minute for the button.
    assert len(v3.seen) == 1


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://www.hedra.com/develop/billing?add_funds=true", "at https://www.hedra.com/develop/billing"),
        ("javascript:alert(1)", "in Hedra's console."),
    ],
)
def test_missing_money_names_the_page_where_hedra_takes_it(press: Press, v3: V3, url: str, shown: str):
    v3.answer(402, v3_error("INSUFFICIENT_BALANCE", billing={"balance": 0, "funding_url": url}))
    works, message = press_v3(press, v3)
    assert not works
    assert f"Add funds {shown}" in message
    assert "javascript" not in message


def test_a_named_version_that_contradicts_the_key_is_a_reason_of_a_rejection(press: Press, v3: V3):
    v3.answer(403, {"detail": "This account moved to the new API."})
    works, message = press_v3(press, v3, extra={"api_version": 2})
    assert not works
    assert '"API key" has the form of a v3 key, but "API version" is 2' in message
    assert 'If Hedra rejects the key, clear "API version".' in message
    v3.answer(401, v3_error("UNAUTHENTICATED"))
    works, message = press_v3(press, v3, password="sk_hedra_0123456789", extra={"api_version": 3})
    assert not works
    assert '"API key" has the form of a v2 key, but "API version" is 3' in message
    assert [path for path, *_ in v3.seen] == ["/web-app/public/billing/credits", "/v3/balance"]


def test_a_v2_account_that_moved_needs_a_v3_key(press: Press, v3: V3):
    v3.answer(403, {"detail": "This account moved to the new API."})
    works, message = press_v3(press, v3, password="sk_hedra_0123456789")
    assert not works
    assert 'If the account moved to Hedra\'s v3 API, put a v3 key into "API key"' in message


def test_a_workspace_of_a_v3_key_is_named_before_anything_is_sent(press: Press, v3: V3):
    works, message = press_v3(press, v3, extra={"workspace_id": "team"})
    assert not works
    assert "but a v3 key belongs to one workspace" in message
    assert v3.seen == []
