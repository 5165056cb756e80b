"""HedraHook: an Airflow connection becomes a client of Hedra's API."""

from __future__ import annotations

import json
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
from hedra_provider.submission import identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hedra_provider.api.calls import Call
    from hedra_provider.api.client import AsyncHedraClient, HedraClient
    from hedra_provider.api.responses import Credits, Generation, Model, Voice
    from hedra_provider.connection_fields import HedraSettings
    from hedra_provider.storage.result import StoredResult
    from hedra_provider.storage.source import SourceFile
    from hedra_provider.submission.submit import Submission
    from hedra_provider.transfer.upload import StoredAsset

T = TypeVar("T")


class HedraHook(BaseHook):
    """
    Ask Hedra through a ``hedra`` connection. ::

        hook = HedraHook()
        voices = hook.list_voices()
        generation = hook.get_generation(generation_id)

    Each method opens a client and closes it, unless the hook is used in ``with``: then all methods share one.
    What has no method here is a call of :mod:`hedra_provider.api.calls` for the client of :meth:`get_conn`.
    Every method raises ``HedraConfigurationError`` if the connection can't work; it names the field.

    The connection: password = API key (v2), host = base URL (left empty: Hedra's), and in the extras
    ``workspace_id``, ``id_namespace``, ``timeout`` (seconds), ``verify``, ``proxy``.

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
        :raises AirflowNotFoundException: If Airflow finds none.
        """
        return read_sync(self.hedra_conn_id)

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
        return await open_async_client(await self.get_async_settings())

    async def get_async_settings(self) -> HedraSettings:
        """
        Read what the connection says, on the running event loop and each time anew.

        :raises HedraConfigurationError: If it can't work.
        """
        return await read_async(self.hedra_conn_id)

    def check_async_reading(self) -> None:
        """
        Read the connection the way a trigger reads it, before a generation is paid that a trigger waits for.

        :raises HedraConfigurationError: If that does not work in this process.
        """
        check_async_reading(self.hedra_conn_id)

    @contextmanager
    def _open_client(self) -> Iterator[HedraClient]:
        """Lend the client; close it afterwards if it was not open before."""
        was_open = self._client is not None and not self._client.http.is_closed
        try:
            yield self.get_conn()
        finally:
            if not was_open:
                self.close()

    def run(self, call: Call[T]) -> T:
        """
        Run a call of :mod:`hedra_provider.api.calls`, or one made of them.

        :return: What the call returns.
        :raises HedraError: What the call raises.
        """
        with self._open_client() as client:
            return client.run(call)

    def list_voices(self) -> list[Voice]:
        """
        Return the voices for inline speech.

        :raises HedraError: If Hedra could not be asked.
        """
        with self._open_client() as client:
            return client.list_voices()

    def list_models(self, types: Iterable[str] = ()) -> list[Model]:
        """
        Return the models with their limits and prices.

        :param types: Generation types to keep, e.g. ``["video"]``; all by default.
        :raises HedraError: If Hedra could not be asked.
        """
        with self._open_client() as client:
            return client.list_models(types)

    def get_credits(self) -> Credits:
        """
        Return the credits of the account and of its workspaces.

        :raises HedraError: If Hedra could not be asked.
        """
        with self._open_client() as client:
            return client.get_credits()

    def get_generation(self, generation_id: str) -> Generation:
        """
        Return the status of one generation. It has URLs, but no ``credit_cost`` and no ``input``.

        :param generation_id: Its id.
        :raises HedraNotFoundError: If Hedra does not know it (yet: seen for a moment after a submit).
        :raises HedraError: If Hedra could not be asked.
        """
        with self._open_client() as client:
            return client.get_generation(generation_id)

    def list_generations(self, ids: Iterable[str] = (), **filters: str | int) -> list[Generation]:
        """
        Return generations with what their status lacks: ``input``, ``credit_cost``, ``asset``. Newest first.

        :param ids: Generations to keep; all by default.
        :param filters: ``type``, ``created_after``, ``created_before``, ``limit`` (100), ``offset`` (0).
        :raises HedraError: If Hedra could not be asked.
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
        :param asset_type: ``image``, ``audio`` or ``video``; by default what the file's content says.
        :param name: The asset's name; by default the file's.
        :param workspace_id: The workspace that shall own it; by default the connection's.
        :return: ``asset_id``, ``reused`` and ``duration_ms`` (as Hedra says it, None where it does not).
        :raises HedraValueError: If the file can't be right; nothing was sent then.
        :raises HedraError: If it could not be uploaded; another call goes on with the same asset.
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
        Upload an open file, unless this workspace has the same bytes as an asset of this type already.

        :param source: As :func:`hedra_provider.storage.source.open_media` opens it.
        :param workspace_id: The workspace that shall own it; None: the key's default.
        :param only_for: The key of the task run that wants an asset of its own; None: any is good.
        :raises HedraError: If it could not be uploaded.
        """
        from hedra_provider.api.requests import require_json
        from hedra_provider.transfer.upload import store_asset

        require_json(workspace_id, "workspace_id")
        reserved = identity.asset_id(
            self.settings.namespace, source.sha256, source.asset_type, workspace_id, only_for=only_for
        )
        return client.run(
            store_asset(source.file, source.asset_type, reserved_asset_id=reserved, workspace_id=workspace_id)
        )

    def download(
        self,
        destination: str,
        *,
        generation_id: str | None = None,
        asset_id: str | None = None,
        asset_type: str | None = None,
    ) -> StoredResult:
        """
        Fetch a finished file and store it. The destination is replaced only when the file is whole.

        :param destination: A local path or a URI that ObjectStoragePath opens; ending in ``/`` it is a
            folder, in which the file is named after its id.
        :param generation_id: The generation whose result to fetch. Or:
        :param asset_id: The asset to fetch, with
        :param asset_type: its type: ``video``, ``audio`` or ``image``.
        :return: ``uri``, ``size`` (bytes) and ``asset_id``.
        :raises HedraValueError: If the arguments can't be right.
        :raises HedraError: If the file could not be fetched or stored.
        """
        from hedra_provider.api.errors import HedraValueError
        from hedra_provider.api.requests import require_id
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
                destination,
                generation_id=require_id(generation_id, "generation_id") if generation_id else None,
                asset_id=require_id(asset_id, "asset_id") if asset_id else None,
                asset_type=asset_type,
            )
        report_output(self, stored.uri)
        return stored

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
        from hedra_provider.api.requests import batch_size, reject_ids
        from hedra_provider.submission.submit import submit_once

        sent = {"workspace_id": self.settings.workspace_id, **request}
        size = batch_size(sent)
        body = {name: value for name, value in sent.items() if value is not None and name != "batch_size"}
        reject_ids(body)
        # No task run stands for this caller: only the same request is the same attempt group.
        attempt_group = json.dumps(body, sort_keys=True, default=str)
        namespace = self.settings.namespace
        ids_of_each = [
            identity.generation_ids(namespace, idempotency_key, variation, attempt_group=attempt_group)
            for variation in range(size)
        ]
        return self.run(submit_once(body, ids_of_each, notify=self.log.warning))

    def test_connection(self) -> tuple[bool, str]:
        """Ask for the credits; return whether that worked, and the balance or what to change in the form."""
        from hedra_provider.connection_check import check_connection

        try:
            connection = self.get_connection(self.hedra_conn_id)
        except (AirflowNotFoundException, ValueError):
            # The form's fields went through a URI in the environment, which Airflow could not read.
            return False, (
                'Airflow can\'t read these fields. Correct what is wrong: "Port" is not between 1 and 65535, '
                '"Base URL" is no host, or "Extra Fields JSON" is no JSON object.'
            )
        return check_connection(connection)

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
