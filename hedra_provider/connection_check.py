"""The answer of the connection form's test button: a sentence about the fault, and one about what to change.

It names fields by the form's labels. It names no connection, because Airflow tests with a temporary id, and
no task, because there is none.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from hedra_provider.api.client import BASE_URLS, HedraClient
from hedra_provider.api.errors import (
    STRICT_CERTIFICATE_REMEDY,
    HedraAuthenticationError,
    HedraConfigurationError,
    HedraError,
    HedraInsufficientCreditsError,
    HedraNotFoundError,
    HedraPermissionError,
    HedraProtocolError,
    HedraRateLimitError,
    HedraServerError,
    HedraTransportError,
)
from hedra_provider.api.network import STRICT_CHECKS, environment_proxy
from hedra_provider.api.redaction import clean
from hedra_provider.api.v3 import calls as v3_calls
from hedra_provider.connection_fields import parse_connection
from hedra_provider.connection_labels import LABELS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from hedra_provider.connection_fields import HedraSettings
    from hedra_provider.records import ApiVersion

CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 20.0
"""Seconds to connect and to answer, if "Timeout (seconds)" is empty. A person waits, so they are short."""

NEW_KEY: dict[ApiVersion, str] = {
    2: "v2 keys come from hedra.com/api-profile.",
    3: "v3 keys come from Hedra's console.",
}

_FUNDING = "A workspace starts with 0.00 USD, and its API wallet is separate from Studio. Add funds"

_NAME_MISMATCH = (62, 64)
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""


def check_connection(connection: Connection) -> tuple[bool, str]:
    """
    Request the balance from Hedra, once: credits on v2, USD on v3.

    :param connection: The connection with the form's values.
    :return: Whether that worked; the balance, on v2 with its workspace, or the reason and what to change.
    """
    try:
        settings = parse_connection(connection)
        options = settings.client_options()
        options.setdefault("timeout", httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS))
        with HedraClient(**options, repeat=False) as client:
            return _usd(client) if settings.api_version == 3 else _credits(client, settings)
    except HedraConfigurationError as error:
        return False, str(error)
    except HedraError as error:
        return False, _Advice(settings).on(error)


def _usd(client: HedraClient) -> tuple[bool, str]:
    balance = client.run(v3_calls.get_balance()).record()
    if balance.available is None:
        return True, "Connected; Hedra does not state the balance."
    text = f"Connected; {balance.available:.2f} {balance.currency} available."
    if balance.available > 0:
        return True, text
    return True, f"{text} {_FUNDING} in Hedra's console before the first generation."


def _credits(client: HedraClient, settings: HedraSettings) -> tuple[bool, str]:
    credits, workspace_id = client.get_credits(), settings.workspace_id
    available = credits.available(workspace_id)
    if workspace_id is None:
        remaining = "unknown" if available is None else available
        return True, f"Connected; {remaining} credits remaining, billed to the key's default workspace."
    if available is None:
        known = ", ".join(map(clean, credits.workspace_credit_pool or {})) or "none"
        return False, (
            f"The key works, but it knows no workspace {clean(workspace_id)}. Correct "
            f"{_field('workspace_id')}, or leave it empty for the key's default. Its workspaces: {known}."
        )
    return True, f"Connected; {available} credits available in workspace {clean(workspace_id)}."


def _field(name: str) -> str:
    return f'"{LABELS[name]}"'


class _Advice:
    """Explains an error by the connection's settings, in the form's words."""

    def __init__(self, settings: HedraSettings) -> None:
        self._settings = settings
        self._version = settings.api_version
        self._own = BASE_URLS[self._version]
        self._url = settings.base_url or self._own
        parts = urlsplit(self._url)
        self._server = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
        variable = None if settings.proxy else environment_proxy(self._url)
        self._proxy = _field("proxy") if settings.proxy else variable and f"The variable {variable}"

    def on(self, error: HedraError) -> str:
        """Return the fault, and what to change."""
        if isinstance(error, HedraTransportError):
            return self._without_answer(error)
        status = error.status_code
        if isinstance(error, HedraProtocolError):
            if status is not None and 300 <= status < 400:
                return (
                    f"The server redirects to another address ({status}), and the key is not sent there. Put "
                    f"the final address into {self._where()}."
                )
            return (
                f"{self._server} does not answer as Hedra's API does, but with a web page or other data. "
                f"Correct {self._where()}."
            )
        if status == httpx.codes.PROXY_AUTHENTICATION_REQUIRED:
            return self._proxy_wants_user()
        if isinstance(error, HedraAuthenticationError):
            return (
                f"Hedra does not accept the key ({status}). Put another v{self._version} API key into "
                f"{_field('password')}; {NEW_KEY[self._version]}{self._or_another()}"
            )
        if isinstance(error, HedraInsufficientCreditsError):
            if self._version == 3:
                return (
                    f"Hedra accepts the key, but asks for money ({status}). {_FUNDING}{_where_to_pay(error)}."
                )
            return (
                f"Hedra accepts the key, but asks for credits ({status}). Add credits to the account, or "
                f"correct {_field('workspace_id')}: each workspace has credits of its own."
            )
        if isinstance(error, HedraPermissionError):
            denied = f"Hedra, or a proxy or firewall before it, denies access ({status})."
            if self._version == 3:
                return (
                    f"{denied} Check in Hedra's console that the key is active and has the scopes it needs."
                    f"{self._or_another()}"
                )
            return (
                f"{denied} Check that the plan of the account has API access, and that {_field('password')} "
                f"and {_field('workspace_id')} belong together. If the account moved to Hedra's v3 API, put "
                f"a v3 key into {_field('password')}; {NEW_KEY[3]}{self._or_another()}"
            )
        if isinstance(error, HedraNotFoundError):
            path = urlsplit(self._url).path
            return (
                f"{self._server} has no Hedra API at {clean(path) or '/'} ({status}). Correct "
                f"{self._where()}: Hedra's own is {self._own}."
            )
        if isinstance(error, HedraRateLimitError):
            return (
                f"{self._server} is reached, but gets too many requests just now ({status}); so the key was "
                "not checked. Wait a minute, then test again."
            )
        if isinstance(error, HedraServerError):
            return (
                f"{self._server} is reached, but fails ({status}); so the key was not checked. Test again in "
                f"a minute.{self._or_another_server()}"
            )
        return f"{clean(error.message).rstrip('.')}. Check {self._where()}.{self._or_another_server()}"

    def _without_answer(self, error: HedraTransportError) -> str:
        found = _causes(error)
        for cause in found:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return self._bad_certificate(cause)
        for kind, words in (
            (httpx.ProxyError, self._proxy_error),
            (httpx.ConnectTimeout, self._no_connection),
            (httpx.TimeoutException, self._slow),
            (socket.gaierror, self._unknown_host),
            (ConnectionRefusedError, self._nothing_listens),
            (ssl.SSLError, self._no_tls),
        ):
            for cause in found:
                if isinstance(cause, kind):
                    return words(cause)
        return (
            f"The connection to {self._reached()} broke: {clean(error.message).rstrip('.')}. Check "
            f"{self._where()}, also whether it begins with http:// or https://."
        )

    def _bad_certificate(self, cause: ssl.SSLCertVerificationError) -> str:
        why = clean(cause.verify_message or str(cause)).rstrip(".")
        if cause.verify_code in _NAME_MISMATCH:
            return (
                f"The certificate of {self._server} is for another name: {why}. Put the server's name into "
                f"{_field('host')} as its certificate has it."
            )
        if cause.verify_code in STRICT_CHECKS:
            return (
                f"Python 3.13 and later reject the certificate of {self._server}, or that of its CA: {why}. "
                f"{STRICT_CERTIFICATE_REMEDY}"
            )
        return (
            f"The certificate of {self._server} can't be verified: {why}. If a CA of your own signs it, or a "
            f"proxy that inspects TLS, put the path of that CA's bundle into {_field('verify')}; else check "
            f"{self._where()}."
        )

    def _proxy_error(self, cause: BaseException) -> str:
        if str(cause).startswith(str(int(httpx.codes.PROXY_AUTHENTICATION_REQUIRED))):
            return self._proxy_wants_user()
        return (
            f"{self._proxy or 'The proxy'} does not lead to {self._server}: {clean(str(cause)).rstrip('.')}. "
            f"Correct {self._where()}, or let the proxy allow that server."
        )

    def _proxy_wants_user(self) -> str:
        return (
            f"{self._proxy or 'The proxy'} asks for a user and a password (407). Put them into its URL: "
            "http://user:password@host:port, both URL-encoded."
        )

    def _no_connection(self, cause: BaseException) -> str:
        return (
            f"{self._reached()} gives no connection in time. Check {self._where()}, and whether a firewall "
            "lets Airflow's API server go there."
        )

    def _slow(self, cause: BaseException) -> str:
        seconds = self._settings.timeout or ANSWER_SECONDS
        return (
            f"{self._server} did not answer within {seconds:g} s. Test again; if it stays so, raise "
            f"{_field('timeout')}, or check {self._where()}."
        )

    def _unknown_host(self, cause: BaseException) -> str:
        return (
            f"The name of {self._reached()} can't be resolved: {clean(str(getattr(cause, 'strerror', '')))}. "
            f"Correct {self._where()}; if the name is right, check the DNS of Airflow's API server."
        )

    def _nothing_listens(self, cause: BaseException) -> str:
        return f"Nothing listens at {self._reached()}. Correct {self._where()}."

    def _no_tls(self, cause: BaseException) -> str:
        why = clean(getattr(cause, "reason", None) or str(cause)).rstrip(".")
        return (
            f"{self._reached()} does not speak TLS as it should ({why}). Check {self._where()}: https:// "
            "before a server without TLS, or the wrong port."
        )

    def _reached(self) -> str:
        """Return the server that the connection opens first: the proxy, or Hedra."""
        if self._proxy:
            return f"the proxy ({self._proxy[0].lower() + self._proxy[1:]})"
        return self._server

    def _where(self) -> str:
        """Return the fields that set the address."""
        fields = f"{_field('host')} and {_field('port')}"
        return f"{fields}, or {self._proxy[0].lower() + self._proxy[1:]}" if self._proxy else fields

    def _or_another(self) -> str:
        """Return what else may be the reason that a key is rejected."""
        contradiction = self._settings.contradiction
        return (f" {contradiction}" if contradiction else "") + self._or_another_server()

    def _or_another_server(self) -> str:
        if self._settings.base_url in (None, self._own):
            return ""
        return f" {_field('host')} leads to {self._server}; check that this server is the right one."


def _where_to_pay(error: HedraError) -> str:
    """Return the address that Hedra names for payments, or its console."""
    billing = error.billing or {}
    url = billing.get("funding_url")
    if isinstance(url, str) and url.startswith("https://"):
        return f" at {clean(url)}"
    return " in Hedra's console"


def _causes(error: BaseException) -> list[BaseException]:
    """Return an error and its causes, also those that ``from None`` hides from a log."""
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in found:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found
