"""HedraHook: calls Hedra's API with the settings of an Airflow connection."""

from __future__ import annotations

import json
import secrets
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, TypeVar

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from hedra_provider.connection import (
    check_async_reading,
    open_async_client,
    read_async,
    read_sync,
)
from hedra_provider.service import service_of
from hedra_provider.service.submit_records import SubmitRecords
from hedra_provider.submission.identity import RunIdentity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hedra_provider.api.calls import Call
    from hedra_provider.api.client import AsyncHedraClient, HedraClient
    from hedra_provider.api.responses import Credits, Model, Voice
    from hedra_provider.connection_fields import HedraSettings
    from hedra_provider.records import Balance, Generation
    from hedra_provider.service.protocol import Hedra
    from hedra_provider.storage.result import StoredResult
    from hedra_provider.storage.source import SourceFile
    from hedra_provider.submission.submit import Submission
    from hedra_provider.transfer.upload import StoredAsset

T = TypeVar("T")


class HedraHook(BaseHook):
    """
    Call Hedra's API through a connection of type ``hedra``. ::

        hook = HedraHook()
        voices = hook.list_voices()
        generation = hook.get_generation(generation_id)

    Each method opens a client and closes it. In a ``with`` block, all methods share one client. For a call
    that has no method here, pass one of :mod:`hedra_provider.api.calls` to :meth:`run`. Every method raises
    ``HedraConfigurationError`` if a field of the connection is invalid; the error names the field.

    The connection: password = API key (v2 or v3), host = base URL (empty: Hedra's), and in the extras
    ``api_version``, ``workspace_id`` (v2), ``id_namespace``, ``timeout`` (seconds), ``verify``, ``proxy``,
    and for v3 ``state_path``, ``requests_per_minute``, ``idempotency``, ``prices``, ``speech_model``.

    :param hedra_conn_id: The Airflow connection; ``hedra_default`` by default.
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
        The settings of the connection.

        :raises HedraConfigurationError: If a field is invalid, e.g. the key is missing.
        :raises AirflowNotFoundException: If Airflow has no such connection.
        """
        return read_sync(self.hedra_conn_id)

    @cached_property
    def service(self) -> Hedra:
        """
        What Hedra can do, by the version of its API that the connection's key is for.

        :raises HedraConfigurationError: If a field of the connection is invalid.
        """
        return service_of(self.settings)

    def get_conn(self) -> HedraClient:
        """
        Return the hook's client, which keeps its HTTP connections open. Close it, or use it in ``with``.

        :raises HedraConfigurationError: If a field of the connection is invalid.
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
        # A copied or pickled hook reads the connection again, so the key is never serialized.
        kept = {name: value for name, value in self.__dict__.items() if name not in ("settings", "service")}
        return kept | {"_client": None}

    async def get_async_conn(self) -> AsyncHedraClient:
        """
        Return a new client for the running event loop. Close it, or use it in ``async with``.

        :raises HedraConfigurationError: If a field of the connection is invalid.
        """
        return await open_async_client(await self.get_async_settings())

    async def get_async_settings(self) -> HedraSettings:
        """
        Read the settings of the connection on the running event loop, again at each call.

        :raises HedraConfigurationError: If a field is invalid.
        """
        return await read_async(self.hedra_conn_id)

    def check_async_reading(self) -> None:
        """
        Read the connection as a trigger reads it. Call it before you pay for a generation and defer.

        :raises HedraConfigurationError: If a trigger could not read it in this process.
        """
        check_async_reading(self.hedra_conn_id)

    @contextmanager
    def _open_client(self) -> Iterator[HedraClient]:
        """Yield the client. Close it afterwards if it was closed before."""
        was_open = self._client is not None and not self._client.http.is_closed
        try:
            yield self.get_conn()
        finally:
            if not was_open:
                self.close()

    def run(self, call: Call[T]) -> T:
        """
        Run a call of :mod:`hedra_provider.api.calls`, or one that combines them.

        :param call: The call.
        :return: The result of the call.
        :raises HedraError: If the call raises it.
        """
        with self._open_client() as client:
            return client.run(call)

    def list_voices(self) -> list[Voice]:
        """
        Return the voices that can speak a text; with a v3 key, those of the connection's ``speech_model``.

        :raises HedraError: If the request failed.
        """
        with self._open_client() as client:
            return client.list_voices(self.service.speech_model)

    def list_models(self, types: Iterable[str] = ()) -> list[Model]:
        """
        Return the models with their limits and prices.

        :param types: Generation types to return, e.g. ``["video"]``; all by default.
        :raises HedraError: If the request failed.
        """
        with self._open_client() as client:
            return client.list_models(types)

    def get_credits(self) -> Credits:
        """
        Return the credits of the account and of its workspaces.

        :raises HedraError: If the request failed.
        """
        with self._open_client() as client:
            return client.get_credits()

    def get_balance(self, workspace_id: str | None = None) -> Balance:
        """
        Return what can be spent: credits with a v2 key, US dollars with a v3 key.

        :param workspace_id: The workspace that pays (v2); the connection's by default.
        :return: ``available`` (None if Hedra does not state it), ``currency`` and ``pool``.
        :raises HedraValueError: If a workspace is given with a v3 key, which belongs to one workspace.
        :raises HedraError: If the request failed.
        """
        return self.run(self.service.balance(workspace_id or self.settings.workspace_id))

    def get_generation(self, generation_id: str) -> Generation:
        """
        Return the status of one generation. It has the URL of its file, but no cost and no request.

        :param generation_id: The generation's id.
        :raises HedraNotFoundError: If Hedra does not know it. This can happen for a moment after a submit.
        :raises HedraError: If the request failed.
        """
        with self._open_client() as client:
            return client.get_generation(generation_id)

    def list_generations(self, ids: Iterable[str] = (), **filters: str | int) -> list[Generation]:
        """
        Return generations, newest first, with fields that the status lacks: ``cost``, ``request``, ``width``,
        ``height`` and ``duration_ms``.

        :param ids: Ids of the generations to return; all by default.
        :param filters: ``type``, ``created_after``, ``created_before``, ``limit`` (100), ``offset`` (0).
        :raises HedraError: If the request failed.
        """
        with self._open_client() as client:
            return client.list_generations(ids, **filters)

    def upload(
        self,
        source: str,
        *,
        asset_type: str | None = None,
        name: str | None = None,
        workspace_id: str | None = None,
    ) -> StoredAsset:
        """
        Upload an image, an audio or a video. The same bytes are uploaded once per workspace and type.

        :param source: A local path, or a URI that ObjectStoragePath opens.
        :param asset_type: ``image``, ``audio`` or ``video``; detected from the file's content by default.
        :param name: The asset's name; the file's name by default.
        :param workspace_id: The workspace that owns the asset; the connection's by default.
        :return: ``asset_id``, ``reused`` and ``duration_ms`` (milliseconds; None if Hedra gives none).
        :raises HedraValueError: If the file is invalid. Nothing was sent.
        :raises HedraError: If the upload failed. Another call continues with the same asset.
        """
        from hedra_provider.storage.lineage import report_input
        from hedra_provider.storage.source import open_media

        with (
            self._open_client() as client,
            open_media(source, param="source", asset_type=asset_type, name=name) as opened,
        ):
            stored = self.store_source(client, opened, workspace_id or self.settings.workspace_id)
        report_input(self, source)
        return stored

    def store_source(
        self,
        client: HedraClient,
        source: SourceFile,
        workspace_id: str | None,
        *,
        only_for: str | None = None,
    ) -> StoredAsset:
        """
        Upload an open file, unless this workspace already has an asset of this type with the same bytes.

        :param client: The client.
        :param source: The file, as :func:`hedra_provider.storage.source.open_media` opens it.
        :param workspace_id: The workspace that owns the asset; None means the key's default.
        :param only_for: The key of a task run that needs an asset of its own. None (the default): assets of
            other task runs are reused too.
        :return: ``asset_id``, ``reused`` and ``duration_ms``.
        :raises HedraError: If the upload failed.
        """
        return client.run(self.service.upload(source, workspace_id=workspace_id, only_for=only_for))

    def download(
        self,
        destination: str,
        *,
        generation_id: str | None = None,
        asset_id: str | None = None,
        asset_type: str | None = None,
    ) -> StoredResult:
        """
        Download a finished file and store it. The destination is replaced only when the file is complete.

        Give either ``generation_id``, or ``asset_id`` with ``asset_type``.

        :param destination: A local path, or a URI that ObjectStoragePath opens. One that ends in ``/`` is a
            folder; the file in it is named after its id.
        :param generation_id: The generation whose result to download.
        :param asset_id: The asset to download.
        :param asset_type: The asset's type: ``video``, ``audio`` or ``image``.
        :return: ``uri``, ``size`` (bytes) and ``asset_id``.
        :raises HedraValueError: If an argument is missing or invalid.
        :raises HedraError: If the file could not be downloaded or stored.
        """
        from hedra_provider.api.errors import HedraValueError
        from hedra_provider.api.values import require_id
        from hedra_provider.storage import check_destination
        from hedra_provider.storage.lineage import report_output
        from hedra_provider.storage.result import store_result

        if bool(generation_id) == bool(asset_id) or bool(asset_id) != bool(asset_type):
            raise HedraValueError(
                "Give either generation_id, or asset_id with asset_type.", param="generation_id"
            )
        check_destination(destination)
        with self._open_client() as client:
            stored = store_result(
                client,
                self.service,
                destination,
                generation_id=require_id(generation_id, "generation_id") if generation_id else None,
                asset_id=require_id(asset_id, "asset_id") if asset_id else None,
                asset_type=asset_type,
            )
        report_output(self, stored.uri)
        return stored

    def submit_once(self, request: Mapping[str, Any], *, idempotency_key: str) -> Submission:
        """
        Submit a generation, once for each pair of key and request. A second call adopts the first generation.

        :param request: The body of ``POST /generations``, without ids. With a v3 key
            ``{"model": ..., "input": {...}}``, and the connection needs a ``state_path``.
        :param idempotency_key: What the generation is for, e.g. ``"shop/row-17"``.
        :return: The generation, not finished yet, and whether it was submitted or adopted.
        :raises HedraConfigurationError: If the key is one of v3, and the connection has no ``state_path``.
        :raises HedraError: If the submit failed.
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
        Submit a batch in one request, each of its variations once, as :meth:`submit_once` does.

        :param request: The body of ``POST /generations`` with ``batch_size``, without ids.
        :param idempotency_key: What the batch is for. A later call with a larger ``batch_size`` pays for the
            additional variations only.
        :return: The generations in the order of the variations.
        :raises HedraError: If the submit failed.
        """
        sent = {"workspace_id": self.settings.workspace_id, **request}
        body = {name: value for name, value in sent.items() if value is not None}
        same = {name: value for name, value in body.items() if name != "batch_size"}
        # There is no task run here, so the request itself identifies the attempt group.
        run = RunIdentity(
            namespace=self.settings.namespace,
            key=idempotency_key,
            attempt_group=json.dumps(same, sort_keys=True, default=str),
            is_shared=True,
            is_retry=True,
        )
        return self.run(self._submit_once(run, body))

    def _submit_once(self, run: RunIdentity, body: Mapping[str, Any]) -> Call[list[Submission]]:
        paid_once = self.service.paid_once(run, records=self._records(run.key))
        draft = self.service.plain_draft(body)
        plans = yield from paid_once.plan(draft, outcome_unknown=False)
        return (yield from paid_once.submit(draft, plans, retry_in_place=True, notify=self.log.warning))

    def _records(self, key: str) -> SubmitRecords | None:
        """Return where a submit outside a task is recorded; None where Hedra's API needs no record (v2)."""
        from hedra_provider.storage.state_path import require_state_path

        if not self.service.needs_records:
            return None
        store = require_state_path(
            self.settings.state_path, key, "HedraHook keeps its records in no other place"
        )
        try_id = f"0000-{secrets.token_hex(8)}"
        return SubmitRecords(store=store, try_id=try_id, step="job", notify=self.log.warning)

    def test_connection(self) -> tuple[bool, str]:
        """
        Request the credits, for the connection form's test button.

        :return: Whether that worked, and the balance or what to change in the form.
        """
        from hedra_provider.connection_check import check_connection

        try:
            connection = self.get_connection(self.hedra_conn_id)
        except (AirflowNotFoundException, ValueError):
            # Airflow passes the form's fields as a URI in the environment, and could not read that.
            return False, (
                'Airflow can\'t read these fields. Correct what is wrong: "Port" is not between 1 and 65535, '
                '"Base URL" is no host, or "Extra Fields JSON" is no JSON object.'
            )
        return check_connection(connection)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the form's labels to Airflow 3.0 and 3.1. From 3.2 on, Airflow reads the provider info."""
        from hedra_provider.provider_info import UI_FIELD_BEHAVIOUR

        # This method's keys have underscores, those of the provider info hyphens.
        return {name.replace("-", "_"): value for name, value in UI_FIELD_BEHAVIOUR.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """
        Return the form's own fields to Airflow 3.0 and 3.1. From 3.2 on, Airflow reads ``conn-fields``.

        Airflow 3.0 imports wtforms, which the FAB provider installs, before it calls this method. Without
        wtforms its form has neither these fields nor the labels of :meth:`get_ui_field_behaviour`, and the
        extras are typed in as JSON (seen on 3.0.6).
        """
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget  # type: ignore[import-not-found,unused-ignore]
        from wtforms import StringField  # type: ignore[import-untyped,unused-ignore]

        from hedra_provider.provider_info import CONNECTION_FIELDS

        return {
            name: StringField(about["label"], description=about["description"], widget=BS3TextFieldWidget())
            for name, about in CONNECTION_FIELDS.items()
        }
