"""The valid values of each field of a connection, and the error about an invalid one."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from hedra_provider import connection_v3
from hedra_provider.api.client import BASE_URLS
from hedra_provider.api.keys import version_of_key
from hedra_provider.api.network import MAX_PORT, proxy_fault
from hedra_provider.api.redaction import HiddenText, shown
from hedra_provider.connection_labels import LABELS, field_error
from hedra_provider.provider_info import CONNECTION_FIELDS
from hedra_provider.submission import identity

if TYPE_CHECKING:
    import uuid

    from airflow.providers.common.compat.sdk import Connection

    from hedra_provider.api.errors import HedraConfigurationError
    from hedra_provider.api.v3.calls import KeyPlace
    from hedra_provider.records import ApiVersion

API_PATHS: dict[ApiVersion, str] = {version: urlsplit(url).path for version, url in BASE_URLS.items()}
"""The path of each version of Hedra's API, added to a host without a path."""

KEY_SOURCES = (
    "v3 keys (<id>:<secret>) come from Hedra's console, v2 keys (sk_hedra_...) from hedra.com/api-profile."
)

MAX_TIMEOUT_SECONDS = 86_400.0

_TRUE, _FALSE = ("true", "yes", "1", "on"), ("false", "no", "0", "off")


@dataclass(frozen=True)
class HedraSettings:
    """
    The settings of a connection.

    :param api_key: The API key. A v3 key is ``<id>:<secret>``.
    :param api_version: The version of Hedra's API, 2 or 3: the extra of that name, else by the key.
    :param base_url: The API's URL; None means Hedra's own for this version.
    :param workspace_id: The workspace that pays if an operator names none; None means the key's default.
        Always None on v3, whose keys belong to one workspace.
    :param namespace: The namespace of the ids that are made for generations and uploads.
    :param timeout: Seconds of each request; None means the client's default.
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle.
    :param proxy: URL of a proxy; None means the environment's.
    :param state_path: Where submits are recorded on v3: a URI that ObjectStoragePath opens, or an absolute
        path that all workers share; None means Airflow's task state store.
    :param requests_per_minute: The budget of all waits of a triggerer on v3; None: half of Hedra's limit.
    :param idempotency: Where a submit on v3 carries its idempotency key: ``header`` (default), ``body``
        or ``both``.
    :param prices: USD per second by model and resolution, which replace the provider's own; {} by default.
    :param speech_model: The model that speaks texts on v3; ``elevenlabs-v3`` by default.
    """

    api_key: str = field(repr=False)
    api_version: ApiVersion
    base_url: str | None
    workspace_id: str | None
    namespace: uuid.UUID
    timeout: float | None
    verify: bool | str
    proxy: str | None = field(repr=False)
    state_path: str | None = None
    requests_per_minute: int | None = None
    idempotency: KeyPlace = connection_v3.DEFAULT_KEY_PLACE
    prices: connection_v3.Prices = field(default_factory=dict, hash=False)
    speech_model: str = connection_v3.DEFAULT_SPEECH_MODEL

    @property
    def fingerprint(self) -> str:
        """A hash of all settings of client and poller. Connections with the same one share one poller."""
        facts = (
            self.api_key,
            self.api_version,
            self.base_url,
            self.timeout,
            self.verify,
            self.proxy,
            self.requests_per_minute,
        )
        # str(), not repr(): the key's repr is always '***', so all keys would share one fingerprint.
        return hashlib.sha256("\0".join(map(str, facts)).encode()).hexdigest()

    @property
    def contradiction(self) -> str | None:
        """What to know where the extra ``api_version`` contradicts the form of the key; None elsewhere."""
        of_key = version_of_key(self.api_key)
        if of_key == self.api_version:
            return None
        return (
            f'"{LABELS["password"]}" has the form of a v{of_key} key, but "{LABELS["api_version"]}" is '
            f"{self.api_version}, so v{self.api_version} of Hedra's API is used. If Hedra rejects the key, "
            f'clear "{LABELS["api_version"]}".'
        )

    def __reduce__(self) -> NoReturn:
        raise TypeError("These settings hold the API key and can't be pickled.")

    def client_options(self) -> dict[str, Any]:
        """Return the arguments of the clients."""
        options: dict[str, Any] = {
            "api_key": self.api_key,
            "api_version": self.api_version,
            "verify": self.verify,
            "proxy": self.proxy,
        }
        if self.base_url:
            options["base_url"] = self.base_url
        if self.timeout is not None:
            options["timeout"] = self.timeout
        return options


def parse_connection(connection: Connection) -> HedraSettings:
    """
    Return the settings of a connection.

    :param connection: The connection, as Airflow stores it.
    :raises HedraConfigurationError: If a field is invalid; the error names it and says what to change.
    """
    key = _api_key(connection)
    extra = _extra(connection)
    version = connection_v3.read_api_version(extra.get("api_version")) or version_of_key(key)
    return HedraSettings(
        api_key=key,
        api_version=version,
        base_url=_base_url(connection, version),
        workspace_id=_workspace_id(extra, version),
        namespace=identity.account_namespace(key, _name("id_namespace", extra)),
        timeout=_timeout(extra.get("timeout")),
        verify=_verify(extra.get("verify")),
        proxy=_proxy(extra.get("proxy")),
        state_path=connection_v3.read_state_path(extra.get("state_path")),
        requests_per_minute=connection_v3.read_requests_per_minute(extra.get("requests_per_minute")),
        idempotency=connection_v3.read_idempotency(extra.get("idempotency")),
        prices=connection_v3.read_prices(extra.get("prices")),
        speech_model=connection_v3.read_speech_model(extra.get("speech_model")),
    )


def _api_key(connection: Connection) -> HiddenText:
    key = HiddenText((connection.password or "").strip())
    label = LABELS["password"]
    if (connection.login or "").strip():
        what = "is not empty, and Hedra has no user names"
        remedy = f'Clear it. An API key goes whole into "{label}"; a v3 key is <id>:<secret>, with the colon.'
        raise field_error("login", what, f"{remedy} In a URI, write the colon as %3A: hedra://:ID%3ASECRET@.")
    if not key:
        raise field_error("password", "is empty", f"Put a Hedra API key into it. {KEY_SOURCES}")
    if re.match(r"(bearer|x-api-key|authorization)\b|key\s", key, re.IGNORECASE):
        raise field_error("password", "begins with a word of an HTTP header", "Put in the key alone.")
    if key[0] in "\"'`" or key[-1] in "\"'`":
        raise field_error("password", "holds quotation marks", "Put in the key without them.")
    if not key.isascii() or not key.isprintable() or " " in key:
        what = "holds white space or characters that no key has"
        raise field_error("password", what, "Copy the API key again, and paste it alone.")
    if ":" in key and not re.fullmatch(r"[^:]+:[^:]+", key):
        what = "has a colon, as a v3 key, but is not <id>:<secret>"
        raise field_error("password", what, "Copy the API key again: id, one colon, secret.")
    return key


def _workspace_id(extra: dict[str, Any], version: ApiVersion) -> str | None:
    workspace_id = _name("workspace_id", extra)
    if workspace_id is not None and version == 3:
        what = f"is {shown(workspace_id)}, but a v3 key belongs to one workspace"
        remedy = (
            f'Leave it empty. To pay from another workspace, put a key of it into "{LABELS["password"]}".'
        )
        raise field_error("workspace_id", what, remedy)
    return workspace_id


def _base_url(connection: Connection, version: ApiVersion) -> str | None:
    """Return the base URL from host, port and schema. A host without a path gets the path of the version."""
    host, schema = (connection.host or "").strip(), (connection.schema or "").strip().lower()
    port: int | None = connection.port
    url_example = f"Give the API's base URL, e.g. {BASE_URLS[version]}, or leave it empty."
    if schema not in ("", "http", "https"):
        raise field_error("schema", f"is {shown(schema)}", "Give http or https, or leave it empty.")
    if port is not None and not 1 <= port <= MAX_PORT:
        raise field_error("port", f"is {port}", f"Give a port between 1 and {MAX_PORT}, or leave it empty.")
    if not host:
        if port not in (None, 443) or schema == "http":
            field, value = ("schema", schema) if schema == "http" else ("port", str(port))
            what = (
                f'is {value}, but "{LABELS["host"]}" is empty: Hedra\'s own is reached by https at port 443'
            )
            raise field_error(field, what, "Clear one, or fill in the other.")
        return None
    fault = _url_fault(host if "://" in host else f"{schema or 'https'}://{host}")
    if fault:
        raise field_error("host", f"is {shown(host)}, which {fault}", url_example)
    parts = urlsplit(host if "://" in host else f"{schema or 'https'}://{host}")
    if schema and schema != parts.scheme:
        what = f'is {schema}, but "{LABELS["host"]}" begins with {parts.scheme}://'
        raise field_error("schema", what, "Make them the same, or leave this one empty.")
    if port and parts.port and port != parts.port:
        what = f'is {port}, but "{LABELS["host"]}" names port {parts.port}'
        raise field_error("port", what, "Make them the same, or leave this one empty.")
    netloc = f"{parts.netloc}:{port}" if port and parts.port is None else parts.netloc
    path = parts.path.rstrip("/")
    other: ApiVersion = 3 if version == 2 else 2
    if path == API_PATHS[other]:
        what = f"has the path of Hedra's v{other} API, {path}, but the connection is for v{version}"
        remedy = f'Leave the path out, or put a v{other} key into "{LABELS["password"]}".'
        raise field_error("host", what, remedy)
    return f"{parts.scheme}://{netloc}{path or API_PATHS[version]}"


def _url_fault(url: str) -> str | None:
    """Return why a URL is not a base URL; None if it is one."""
    import httpx

    try:
        parts = urlsplit(url)
        port, name = parts.port, parts.hostname or ""
        # Without this, a name that is no DNS name (a..b) would fail only at each request.
        httpx.URL(url).raw_host.decode().encode("idna")
    except (httpx.InvalidURL, ValueError):
        return "is not a URL"
    if parts.scheme.lower() not in ("http", "https") or not name:
        return "is not an http(s) URL"
    if not url.isprintable() or re.search(r"[\s\\]", url):
        return "holds white space or a backslash"
    if parts.username or parts.password or parts.query or parts.fragment or url[-1] in "?#":
        return "holds more than scheme, host, port and path"
    return f"names port {port}" if port == 0 else None


def _extra(connection: Connection) -> dict[str, Any]:
    """Return the extras, a JSON object of known names. Airflow itself treats invalid extras as none."""
    text = connection.extra
    if not text or not text.strip():
        return {}
    example = 'Give e.g. {"workspace_id": "..."}, or leave it empty.'

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) < len(pairs):
            raise field_error("extra", "holds a name twice", "Give each name once.")
        return dict(pairs)

    try:
        extra = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise field_error("extra", "is no JSON", example) from None
    if not isinstance(extra, dict):
        raise field_error("extra", "is no JSON object", example)
    for name in extra:
        if name not in CONNECTION_FIELDS:
            raise _unknown(name)
    return extra


def _unknown(name: str) -> HedraConfigurationError:
    """Return the error about an unknown extra: a misspelled one, if ignored, could bill another workspace."""
    like = name.lower().replace("-", "_")
    close = difflib.get_close_matches(like, CONNECTION_FIELDS, n=1)
    meant = f'Was "{close[0]}" meant? ' if close else ""
    known = ", ".join(CONNECTION_FIELDS)
    return field_error(
        "extra",
        f"holds the unknown name {shown(name, 100)}",
        f'{meant}Correct or remove it; the names are {known}. Notes go into "Description".',
    )


def _name(name: str, extra: dict[str, Any]) -> str | None:
    """Return a name; a whole number is one too."""
    value = extra.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if not isinstance(value, str):
        raise field_error(name, f"is {shown(value)}", "Give a text, or leave it empty.")
    text = value.strip()
    if not text.isprintable():
        raise field_error(name, f"is {shown(text)}", "Give one line of printable characters.")
    if name == "workspace_id" and " " in text:
        raise field_error(name, f"is {shown(text)}", "Give the workspace's id, which holds no white space.")
    return text


def _timeout(value: Any) -> float | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        seconds = float(value) if isinstance(value, (str, int, float)) else math.nan
    except (ValueError, OverflowError):
        seconds = math.nan
    if isinstance(value, bool) or not 0 < seconds <= MAX_TIMEOUT_SECONDS:
        example = f"Give seconds above 0 and up to {MAX_TIMEOUT_SECONDS:.0f}, e.g. 60, or leave it empty."
        raise field_error("timeout", f"is {shown(value)}", example)
    return seconds


def _verify(value: Any) -> bool | str:
    """Return a boolean, which a form stores as text, or the path of a CA bundle."""
    if value is None or isinstance(value, bool):
        return value is not False
    text = str(value).strip()
    if not isinstance(value, (str, int)) or (isinstance(value, int) and value not in (0, 1)):
        raise field_error("verify", f"is {shown(value)}", "Give true, false, or the path of a CA bundle.")
    if text.lower() in _FALSE:
        return False
    if not text or text.lower() in _TRUE:
        return True
    try:
        is_file = Path(text).is_file()
        is_folder = not is_file and Path(text).is_dir()
    except (OSError, ValueError):
        is_file = is_folder = False
    if not is_file:
        # The host name shows which machine lacks the bundle, a worker or a triggerer.
        what = "a folder" if is_folder else f"no file on {socket.gethostname()}"
        remedy = "Give true, false, or the path of a CA bundle: a file with certificates in PEM."
        raise field_error("verify", f"is {shown(text)}, which is {what}", remedy)
    return text


def _proxy(value: Any) -> HiddenText | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    # The message leaves the value out: it may hold a password.
    if not isinstance(value, str):
        raise field_error("proxy", "is no text", "Give e.g. http://proxy.example:3128, or leave it empty.")
    url = HiddenText(value.strip())
    fault = proxy_fault(url)
    if fault:
        raise field_error("proxy", *fault)
    return url
