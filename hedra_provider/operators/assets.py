"""Operators that move files: upload an asset, download a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from hedra_provider.api.errors import HedraError, HedraValueError
from hedra_provider.api.redaction import clean, shown
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
from hedra_provider.hooks import HedraHook
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

    With a v3 key nothing is uploaded here: Hedra keeps such an upload for one hour. The file is checked and
    measured, and the task that gets the whole output as its ``image`` or ``audio`` uploads it. That task must
    be able to read the file.

    Returns ``{"asset_id", "source", "type", "name", "bytes", "duration_ms", "reused"}``. ``asset_id`` is None
    with a v3 key; ``source`` is the path or URI then, else None. ``duration_ms`` is measured; it is None for
    an image, and where it can't be measured.

    :param source: A local path, or a URI that ObjectStoragePath opens (``s3://conn_id@bucket/key``). A local
        path needs a worker that has the file; a URI works on every worker. Required.
    :param asset_type: ``image``, ``audio`` or ``video``. None: the type of the file's content, else of its
        name. Default: ``None``.
    :param name: The asset's name at Hedra. None: the file's name. Default: ``None``.
    :param reuse: Whether an asset that another task made of the same bytes is reused. False: this task run
        uploads its own once, and its retries and clears use that again. Default: ``True``.
    :param workspace_id: The workspace that owns and pays. None: the connection's. Default: ``None``.
    :param hedra_conn_id: The Airflow connection. Default: ``'hedra_default'``.
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
        workspace_id: str | None = None,
        hedra_conn_id: str = HedraHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(workspace_id=workspace_id, hedra_conn_id=hedra_conn_id, **kwargs)
        self.source = source
        self.asset_type = asset_type
        self.name = name
        # partial() may pass an explicit None, which means "not given".
        self.reuse = read_argument(Argument(flag, default=True), reuse, "reuse")

    def execute(self, context: Context) -> dict[str, Any]:
        """Upload, reuse the asset of the same bytes, or pass the file on (v3)."""
        with as_airflow_errors(context):
            self.read_arguments()
            with (
                self.hook.get_conn() as client,
                open_media(self.source, param="source", asset_type=self.asset_type, name=self.name) as source,
            ):
                stored = None
                if self.hook.service.keeps_uploads:
                    only_for = None if self.reuse else task_run(context)
                    stored = self.store_file(client, source, only_for=only_for, param="source")
                else:
                    self.log.info(
                        "Checked %s (%d bytes). The task that gets this output uploads it.",
                        clean(self.source),
                        source.size,
                    )
        facts = {
            "asset_id": stored.asset_id if stored else None,
            "source": None if stored else self.source,
            "type": source.asset_type,
            "name": source.file.name,
            "bytes": source.size,
            "duration_ms": source.duration_ms,
            "reused": stored is not None and stored.reused,
        }
        return outputs(context, facts)


class HedraDownloadOperator(HedraOperator):
    """
    Fetch a finished file and store it. The destination is replaced only when the file is whole.

    Returns ``{"uri", "bytes", "worker", "generation_id", "asset_id"}``. ``worker`` is the host name of
    the worker if ``uri`` is a file on its disk, else None.

    :param destination: A local path or a URI that ObjectStoragePath opens. A path that ends in ``/`` is a
        folder, in which the file is named after its id. A local path is on this worker's disk only. Required.
    :param generation_id: The generation whose result to fetch: its id, or any dict with ``generation_id``.
        Give it, or ``asset_id`` with ``asset_type``. Default: ``None``.
    :param asset_id: The asset to fetch: its id, or any dict with ``asset_id``. Default: ``None``.
    :param asset_type: The type of that asset: ``video``, ``audio`` or ``image``. Default: ``None``.
    :param workspace_id: The workspace that owns and pays. None: the connection's. Default: ``None``.
    :param hedra_conn_id: The Airflow connection. Default: ``'hedra_default'``.
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
        workspace_id: str | None = None,
        hedra_conn_id: str = HedraHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(workspace_id=workspace_id, hedra_conn_id=hedra_conn_id, **kwargs)
        self.destination = destination
        # Any, until read_arguments() makes it what it means.
        self.generation_id: Any = generation_id
        self.asset_id: Any = asset_id
        self.asset_type = asset_type

    def execute(self, context: Context) -> dict[str, Any]:
        """Fetch and store."""
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
                    self.hook.service,
                    self.destination,
                    generation_id=self.generation_id,
                    asset_id=self.asset_id,
                    asset_type=self.asset_type,
                )
        self.log.info("Stored %s (%d bytes).", stored.uri, stored.size)
        report_output(self.hook, stored.uri)
        result = {"uri": stored.uri, "bytes": stored.size, "worker": worker_of(stored.uri)}
        return outputs(context, result | {"generation_id": self.generation_id, "asset_id": stored.asset_id})
