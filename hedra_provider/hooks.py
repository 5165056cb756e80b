"""HedraHook: an Airflow connection becomes a client of Hedra's API."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

from airflow.providers.common.compat.sdk import BaseHook

from hedra_provider import identity

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping

    from airflow.providers.common.compat.sdk import Connection

    from hedra_provider.api.client import AsyncHedraClient, HedraClient
    from hedra_provider.api.submit import Submission

API_PATH = "/web-app/public"
_TRUE, _FALSE = ("true", "yes", "1", "on"), ("false", "no", "0", "off")


@dataclass(frozen=True)
class HedraSettings:
    """
    What a connection says.

    :param api_key: The v2 API key.
    :param base_url: Where the API is; None for Hedra's own.
    :param workspace_id: The workspace that is billed where an operator names none.
    :param namespace: In which the ids of generations and uploads are made.
    :param timeout: Seconds, None for the client's own.
    :param verify: Whether to check TLS certificates, or the path of a CA bundle.
    :param proxy: URL of an HTTP proxy.
    """

    api_key: str = field(repr=False)
    base_url: str | None
    workspace_id: str | None
    namespace: uuid.UUID
    timeout: float | None
    verify: bool | str
    proxy: str | None = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """A hash of all that a client depends on: connections that say the same share one poller."""
        facts = (self.api_key, self.base_url, self.timeout, self.verify, self.proxy)
        # Not their repr: the key's tells nothing.
        return hashlib.sha256("\0".join(map(str, facts)).encode()).hexdigest()

    def __reduce__(self) -> NoReturn:
        raise TypeError("These settings hold the API key, and are not to be pickled.")

    def client_options(self) -> dict[str, Any]:
        """Return the arguments of the clients."""
        options: dict[str, Any] = {"api_key": self.api_key, "verify": self.verify, "proxy": self.proxy}
        if self.base_url:
            options["base_url"] = self.base_url
        if self.timeout is not None:
            options["timeout"] = self.timeout
        return options


class HedraHook(BaseHook):
    """
    Give a client for a ``hedra`` connection.

    The connection: password = API key (v2), host = base URL (left empty: Hedra's), and in the extras
    ``workspace_id``, ``id_namespace``, ``timeout`` (seconds), ``verify``, ``proxy``. ::

        from hedra_provider.api import calls

        with HedraHook().get_conn() as client:
            voices = client.run(calls.list_voices())

    :param hedra_conn_id: The Airflow connection.
    """

    conn_name_attr = "hedra_conn_id"
    default_conn_name = "hedra_default"
    conn_type = "hedra"
    hook_name = "Hedra"

    def __init__(self, hedra_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hedra_conn_id = hedra_conn_id
        self._client: HedraClient | None = None

    @cached_property
    def settings(self) -> HedraSettings:
        """
        What the connection says.

        :raises HedraConfigurationError: If it can't work, e.g. has no key or a v3 key.
        """
        connection = self.get_connection(_require_conn_id(self.hedra_conn_id))
        return read_settings(self.hedra_conn_id, connection, connection.extra_dejson)

    def get_conn(self) -> HedraClient:
        """
        Return the client: one per hook, with one pool of connections. Close it, or use it in ``with``.

        :raises HedraConfigurationError: If the connection can't work.
        """
        from hedra_provider.api.client import HedraClient

        if self._client is None or self._client.http.is_closed:
            self._client = HedraClient(**self.settings.client_options())
        return self._client

    def close(self) -> None:
        """Close the client, if there is one."""
        if self._client is not None:
            self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        # Copied or pickled with its operator, it reads the connection anew: the key does not travel.
        kept = {name: value for name, value in self.__dict__.items() if name != "settings"}
        return kept | {"_client": None}

    async def get_async_conn(self) -> AsyncHedraClient:
        """
        Return a new client for the running event loop. Close it, or use it in ``async with``.

        :raises HedraConfigurationError: If the connection can't work.
        """
        from hedra_provider.api.client import AsyncHedraClient, trust

        settings = await self.get_async_settings()
        # The first time it takes 50 ms, for which no other trigger of the loop shall wait.
        await asyncio.to_thread(trust, settings.verify)
        return AsyncHedraClient(**settings.client_options())

    async def get_async_settings(self) -> HedraSettings:
        """
        Read what the connection says, on the running event loop and each time anew.

        :raises HedraConfigurationError: If it can't work.
        """
        from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson

        connection = await get_async_connection(_require_conn_id(self.hedra_conn_id))
        extra = await get_async_extra_dejson(connection)
        return read_settings(self.hedra_conn_id, connection, extra)

    def submit_once(self, request: Mapping[str, Any], *, idempotency_key: str) -> Submission:
        """
        Submit a generation once for this key: what has this request is adopted, another request is another.

        :param request: The body of ``POST /generations``, without ids.
        :param idempotency_key: What the generation is for, e.g. ``"shop/row-17"``.
        :return: The generation, to wait for, and how it was chosen.
        :raises HedraError: If it could not be submitted.
        """
        from hedra_provider.api.errors import HedraValueError

        if request.get("batch_size") not in (None, 1):
            raise HedraValueError(
                "request: batch_size asks for several generations.",
                param="batch_size",
                remedy="Use submit_batch_once().",
            )
        return self.submit_batch_once(request, idempotency_key=idempotency_key)[0]

    def submit_batch_once(self, request: Mapping[str, Any], *, idempotency_key: str) -> list[Submission]:
        """
        Submit a batch once for this key: :meth:`submit_once` for each of its variations, in one request.

        :param request: The body of ``POST /generations`` with ``batch_size``, without ids.
        :param idempotency_key: What the batch is for. One more variation later costs that one alone.
        :return: The variations' generations, in their order.
        :raises HedraError: If they could not be submitted.
        """
        from hedra_provider.api.requests import batch_size, refuse_ids
        from hedra_provider.api.submit import submit_once

        sent = {"workspace_id": self.settings.workspace_id, **request}
        size = batch_size(sent)
        body = {name: value for name, value in sent.items() if value is not None and name != "batch_size"}
        refuse_ids(body)
        # No task run stands for this caller: only the same request is the same payer.
        payer = json.dumps(body, sort_keys=True, default=str)
        namespace = self.settings.namespace
        ids_of_each = [
            identity.generation_ids(namespace, idempotency_key, variation, payer=payer)
            for variation in range(size)
        ]
        was_open = self._client is not None and not self._client.http.is_closed
        try:
            return self.get_conn().run(submit_once(body, ids_of_each, notify=self.log.warning))
        finally:
            if not was_open:
                self.close()

    def test_connection(self) -> tuple[bool, str]:
        """Ask for the credits; return whether that worked, and the workspace and balance or the reason."""
        from hedra_provider.api import calls
        from hedra_provider.api.errors import HedraError

        try:
            with self.get_conn() as client:
                credits = client.run(calls.get_credits())
                workspace_id = self.settings.workspace_id
        except HedraError as error:
            return False, str(error)
        available = credits.available(workspace_id)
        if workspace_id is None:
            return (
                True,
                f"Connected; {_said(available)} credits remaining, billed to the key's default workspace.",
            )
        if available is None:
            known = ", ".join(credits.workspace_credit_pool or {}) or "none"
            return False, f"The key works, but knows no workspace {workspace_id}. Its workspaces: {known}."
        return True, f"Connected; {available} credits available in workspace {workspace_id}."

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Say how the connection form looks to Airflow 3.0 and 3.1; 3.2 and later read the provider info."""
        from hedra_provider.provider_info import UI_FIELD_BEHAVIOUR

        # The same names, spelled otherwise here.
        return {name.replace("-", "_"): value for name, value in UI_FIELD_BEHAVIOUR.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """
        Give the form's own fields to Airflow 3.0 and 3.1; 3.2 and later read ``conn-fields``.

        Airflow 3.0 itself imports wtforms before it asks. Without it, which the FAB provider brings, its API
        answers None for ``extra_fields`` and ``standard_fields`` (seen on 3.0.6): the form has neither these
        fields nor the labels of :meth:`get_ui_field_behaviour`, and the extras are typed in as JSON.
        """
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget  # type: ignore[import-not-found,unused-ignore]
        from wtforms import StringField  # type: ignore[import-untyped,unused-ignore]

        from hedra_provider.provider_info import CONNECTION_FIELDS

        return {
            name: StringField(about["label"], description=about["description"], widget=BS3TextFieldWidget())
            for name, about in CONNECTION_FIELDS.items()
        }


def read_settings(conn_id: str, connection: Connection, extra: Mapping[str, Any]) -> HedraSettings:
    """
    Read what a connection says.

    :param conn_id: Its id, for messages.
    :param connection: The connection.
    :param extra: Its extras, decoded.
    :raises HedraConfigurationError: Naming the field that can't work, and what would be right.
    """
    from hedra_provider.api.cleaning import HiddenText
    from hedra_provider.api.errors import HedraConfigurationError

    def wrong(what: str, remedy: str) -> HedraConfigurationError:
        return HedraConfigurationError(f"Connection {conn_id!r}: {what}", remedy=remedy)

    key = HiddenText((connection.password or "").strip())
    if not key:
        raise wrong("it has no API key.", "Put a Hedra v2 API key into its password.")
    if ":" in key:
        raise wrong(
            "its password looks like a v3 key (<id>:<secret>); this provider speaks Hedra's v2 API.",
            "Make a v2 API key at hedra.com/api-profile and put that into the password.",
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise wrong("its password holds characters that no key has.", "Paste the v2 API key again.")
    timeout = extra.get("timeout")
    try:
        seconds = None if timeout in (None, "") else float(timeout)
    except (TypeError, ValueError):
        seconds = -1.0
    if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
        raise wrong(f"its timeout is {timeout!r}.", "Give seconds, e.g. 60, or leave it empty.")
    verify = _verify(extra.get("verify"))
    if isinstance(verify, str) and not Path(verify).is_file():
        raise wrong(f"its verify names no file: {verify!r}.", "Give true, false, or the path of a CA bundle.")
    proxy = HiddenText(str(extra.get("proxy") or "").strip())
    if proxy and not _is_proxy(proxy):
        # Without its value: it may hold a password.
        encoded = "user and password URL-encoded"
        raise wrong("its proxy is not an http(s) URL.", f"Give e.g. http://proxy.example:3128, {encoded}.")
    id_namespace = str(extra.get("id_namespace") or "").strip() or None
    try:
        base_url = _base_url(connection)
    except ValueError as error:
        raise wrong(f"its host {error}.", "Give the API's base URL, or leave it empty for Hedra's.") from None
    return HedraSettings(
        api_key=key,
        base_url=base_url,
        workspace_id=str(extra.get("workspace_id") or "").strip() or None,
        namespace=identity.account_namespace(key, id_namespace),
        timeout=seconds,
        verify=verify,
        proxy=proxy or None,
    )


def _require_conn_id(value: Any) -> str:
    """Refuse what can't be the id of a connection before a secrets backend is asked for it."""
    from hedra_provider.api.cleaning import shown
    from hedra_provider.api.errors import HedraValueError

    if not isinstance(value, str) or not re.fullmatch(r"[\w#!()\-.:/\\]{1,250}", value):
        raise HedraValueError(
            f"hedra_conn_id: {shown(value)} is no id of a connection.", param="hedra_conn_id"
        )
    return value


def _verify(value: Any) -> bool | str:
    """Read a flag that a form may have made a text, or the path of a CA bundle."""
    text = "" if value is None else str(value).strip()
    if text.lower() in _FALSE:
        return False
    return True if not text or text.lower() in _TRUE else text


def _is_proxy(url: str) -> bool:
    """Return whether the client takes this URL: a bare password may end in the place of its port."""
    import httpx

    try:
        return re.match(r"https?://[^/\s]+", url) is not None and bool(httpx.Proxy(url).url.host)
    except (httpx.InvalidURL, ValueError):
        return False


def _base_url(connection: Connection) -> str | None:
    """Return the base URL that host, port and schema make; a bare host gets Hedra's path."""
    from urllib.parse import urlsplit

    host = (connection.host or "").strip()
    if not host:
        return None
    if "://" not in host:
        host = f"{connection.schema or 'https'}://{host}"
    parts = urlsplit(host)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is not an http(s) URL")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("holds more than scheme, host, port and path")
    netloc = parts.netloc
    if connection.port and parts.port is None:
        netloc = f"{netloc}:{connection.port}"
    return f"{parts.scheme}://{netloc}{parts.path.rstrip('/') or API_PATH}"


def _said(value: int | None) -> str:
    return "unknown" if value is None else str(value)
