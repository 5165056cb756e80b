"""Operators that move files: upload an asset, download a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from hedra_provider.arguments import (
    Argument,
    asset_id,
    file,
    flag,
    generation_id,
    lowercase_word,
    read_argument,
    text,
)
from hedra_provider.exceptions import as_airflow_errors
from hedra_provider.operators.base import HedraOperator, task_run
from hedra_provider.storage import check_destination, worker_of
from hedra_provider.storage.lineage import report_output
from hedra_provider.storage.result import store_result
from hedra_provider.storage.source import open_media
from hedra_provider.xcom import outputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context


class HedraUploadAssetOperator(HedraOperator):
    """
    Upload an image, an audio or a video to Hedra. The same bytes are uploaded once per workspace and type.

    Returns ``{"asset_id", "type", "name", "bytes", "duration_ms", "reused"}``. ``duration_ms`` is measured;
    it is None for an image, and where it can't be told.

    :param source: A local path, or a URI that ObjectStoragePath opens (``s3://conn_id@bucket/key``).
    :param asset_type: ``image``, ``audio`` or ``video``; by default what the file's content says, then its
        name.
    :param name: The asset's name; by default the file's.
    :param reuse: Whether an asset that another task made of the same bytes will do. False: this task run
        makes one of its own, once: a retry or a clear finds it again.
    """

    template_fields: Sequence[str] = ("source", "asset_type", "name", *HedraOperator.template_fields)
    arguments: ClassVar[Mapping[str, Argument]] = {
        "source": Argument(file, required=True, remedy="Give a path, or a URI such as s3://bucket/key."),
        "asset_type": Argument(lowercase_word),
        "name": Argument(text),
        **HedraOperator.arguments,
    }

    def __init__(
        self,
        *,
        source: str,
        asset_type: str | None = None,
        name: str | None = None,
        reuse: bool | None = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.asset_type = asset_type
        self.name = name
        # partial() may pass an explicit None, which means "not given".
        self.reuse = read_argument(Argument(flag, default=True), reuse, "reuse")

    def execute(self, context: Context) -> dict[str, Any]:
        """Upload, or find what is there."""
        with as_airflow_errors(context):
            self.read_arguments()
            with (
                self.hook.get_conn() as client,
                open_media(self.source, param="source", asset_type=self.asset_type, name=self.name) as source,
            ):
                only_for = None if self.reuse else task_run(context)
                stored = self.store_file(client, source, only_for=only_for, param="source")
        facts = {
            "asset_id": stored.asset_id,
            "type": source.asset_type,
            "name": source.file.name,
            "bytes": source.size,
            "duration_ms": source.duration_ms,
            "reused": stored.reused,
        }
        return outputs(context, facts)


class HedraDownloadOperator(HedraOperator):
    """
    Fetch a finished file and store it. The destination is replaced only when the file is whole.

    Returns ``{"uri", "bytes", "worker", "generation_id", "asset_id"}``. ``worker`` is the host name of
    the worker if ``uri`` is a file on its disk, else None.

    :param generation_id: The generation whose result to fetch: its id, or any dict with
        ``generation_id``. Or:
    :param asset_id: The asset to fetch: its id, or any dict with ``asset_id``; with
    :param asset_type: its type: ``video``, ``audio`` or ``image``.
    :param destination: A local path or a URI that ObjectStoragePath opens; ending in ``/`` it is a folder, in
        which the file is named after its id.
    """

    template_fields: Sequence[str] = (
        "generation_id",
        "asset_id",
        "asset_type",
        "destination",
        *HedraOperator.template_fields,
    )
    arguments: ClassVar[Mapping[str, Argument]] = {
        "generation_id": Argument(generation_id),
        "asset_id": Argument(asset_id),
        "asset_type": Argument(lowercase_word),
        "destination": Argument(
            file, required=True, remedy="Give an absolute path, or a URI such as s3://bucket/key."
        ),
        **HedraOperator.arguments,
    }

    def __init__(
        self,
        *,
        destination: str,
        generation_id: str | Mapping[str, Any] | None = None,
        asset_id: str | Mapping[str, Any] | None = None,
        asset_type: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        # Any, until read_arguments() makes it what it means.
        self.generation_id: Any = generation_id
        self.asset_id: Any = asset_id
        self.asset_type = asset_type

    def execute(self, context: Context) -> dict[str, Any]:
        """Fetch and store."""
        from hedra_provider.api.errors import HedraError, HedraValueError
        from hedra_provider.api.redaction import shown

        with as_airflow_errors(context):
            self.read_arguments()
            if bool(self.generation_id) == bool(self.asset_id):
                raise HedraValueError(
                    "Give either generation_id, or asset_id with asset_type.", param="generation_id"
                )
            if self.asset_id and not self.asset_type:
                raise HedraValueError("asset_id needs asset_type: video, audio or image.", param="asset_type")
            if self.asset_type not in (None, "video", "audio", "image"):
                raise HedraValueError(
                    f"asset_type: {shown(self.asset_type)} is none of video, audio, image.",
                    param="asset_type",
                )
            try:
                check_destination(self.destination)
            except HedraError as error:
                error.generation_id = self.generation_id
                raise
            with self.hook.get_conn() as client:
                stored = store_result(
                    client,
                    self.destination,
                    generation_id=self.generation_id,
                    asset_id=self.asset_id,
                    asset_type=self.asset_type,
                )
        self.log.info("Stored %s (%d bytes).", stored.uri, stored.size)
        report_output(self.hook, stored.uri)
        result = {"uri": stored.uri, "bytes": stored.size, "worker": worker_of(stored.uri)}
        return outputs(context, result | {"generation_id": self.generation_id, "asset_id": stored.asset_id})
