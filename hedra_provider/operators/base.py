"""What all operators share."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from hedra_provider.api.errors import HedraBadRequestError, remedy_for
from hedra_provider.api.redaction import clean, shown
from hedra_provider.arguments import Argument, read_arguments, word
from hedra_provider.hooks import HedraHook
from hedra_provider.storage.lineage import report_input
from hedra_provider.submission import identity
from hedra_provider.xcom import MULTIPLE_OUTPUTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import jinja2
    from airflow.providers.common.compat.sdk import Context

    from hedra_provider.api.client import HedraClient
    from hedra_provider.api.errors import HedraError
    from hedra_provider.service.protocol import Call
    from hedra_provider.storage.source import SourceFile
    from hedra_provider.transfer.upload import StoredAsset


class HedraOperator(BaseOperator):
    """
    The base of the operators.

    The dict that an operator returns is pushed key by key too (``multiple_outputs``), so that
    ``operator.output["generation_id"]`` works in the tasks that follow. On Airflow 3.3 and later a retry
    waits as long as Hedra asked (:class:`hedra_provider.retry_policy.HedraRetryPolicy`), or as
    ``retry_policy`` says.

    :param workspace_id: The workspace that owns and pays, in place of the connection's.
    :param hedra_conn_id: The Airflow connection.
    """

    template_fields: Sequence[str] = ("workspace_id", "hedra_conn_id")
    arguments: ClassVar[Mapping[str, Argument]] = {
        "workspace_id": Argument(word),
        "hedra_conn_id": Argument(word, default=HedraHook.default_conn_name),
    }
    """How each template field is read, see :mod:`hedra_provider.arguments`."""

    ui_color = "#efe9ff"

    def __init__(
        self,
        *,
        workspace_id: str | None = None,
        hedra_conn_id: str = HedraHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        # Whatever is passed: a decorator passes an explicit False, partial() an explicit None.
        kwargs["multiple_outputs"] = MULTIPLE_OUTPUTS
        if AIRFLOW_V_3_3_PLUS:
            from hedra_provider.retry_policy import HedraRetryPolicy

            kwargs["retry_policy"] = kwargs.get("retry_policy") or HedraRetryPolicy()
        super().__init__(**kwargs)
        self.workspace_id = workspace_id
        self.hedra_conn_id = hedra_conn_id

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Render the templates. In them ``task`` is this operator, its fields as they are rendered."""
        # On Airflow 3.0 it is the operator before that, unless it is mapped by expand(): in a mapped task
        # group `shop/{{ task.name }}` would be one key for all rows.
        context["task"] = self
        super().render_template_fields(context, jinja_env)

    def read_arguments(self) -> None:
        """
        Read the template fields by their table: the first step of everything that the operator executes.

        :raises HedraValueError: Naming the first field that has a wrong value.
        """
        # Past Airflow's __setattr__, which searches every value for XComs: there are none left by now.
        vars(self).update(read_arguments(self.arguments, vars(self)))

    @cached_property
    def hook(self) -> HedraHook:
        """The hook of this operator's connection."""
        return HedraHook(self.hedra_conn_id)

    @property
    def paying_workspace(self) -> str | None:
        """The operator's workspace, else the connection's."""
        return self.workspace_id or self.hook.settings.workspace_id

    def store_file(
        self,
        client: HedraClient,
        source: SourceFile,
        *,
        only_for: str | None = None,
        param: str | None = None,
    ) -> StoredAsset:
        """
        Upload a file, unless an asset of the same bytes exists: in this workspace, of this type.

        :param source: As :func:`hedra_provider.storage.source.open_media` opens it.
        :param only_for: The key of the task run that needs an asset of its own. Default: None, any asset is
            reused.
        :param param: The operator's parameter that named the file, for messages; by default it is called like
            the file's type.
        :raises HedraError: If it could not be uploaded. Where Hedra rejects the file, the error names the
            parameter and the file.
        """
        upload = self.hook.service.upload(source, workspace_id=self.paying_workspace, only_for=only_for)
        return client.run(self.reported_upload(source, upload, param=param))

    def reported_upload(
        self, source: SourceFile, upload: Call[StoredAsset], *, param: str | None = None
    ) -> Call[StoredAsset]:
        """
        Return a call that runs an upload, logs it, and reports the file to lineage.

        :param source: The file.
        :param upload: Its upload, of :class:`hedra_provider.service.protocol.Hedra`.
        :param param: As for :meth:`store_file`.
        """
        try:
            stored = yield from upload
        except HedraBadRequestError as error:
            _name_file(error, source, param or source.asset_type)
            raise
        # v3 makes no asset of an upload.
        what = f"{'Found' if stored.reused else 'Uploaded'} asset {stored.asset_id}:"
        self.log.info(
            "%s %s (%d bytes).",
            what if stored.asset_id else "Uploaded",
            clean(source.source),
            source.size,
        )
        report_input(self.hook, source.source)
        return stored


_TAKEN_FORMATS = {"image": "JPEG or PNG", "audio": "MP3 or WAV", "video": "MP4"}
"""Formats that Hedra takes of each type of asset, whatever else it takes."""


def _name_file(error: HedraError, source: SourceFile, param: str) -> None:
    """
    Make the error of an upload that Hedra rejected name the user's file in place of Hedra's asset.

    :param param: The parameter that named the file.
    """
    if error.param not in (None, "file"):
        # About another field: the workspace, the name.
        return
    # Without the part that names the request: "Hedra answered 422 to POST /assets/.../upload: ...".
    reason = (error.message.partition(": ")[2] or error.message).rstrip(".")
    error.message = f"{param}: Hedra rejected {shown(source.source)}: {reason}."
    if error.code is None or error.code == "INVALID_ARGUMENT":
        too_large = error.status_code == 413
        error.remedy = (
            remedy_for(None, None, 413)
            if too_large
            else f"Give another file, or convert this one to {_TAKEN_FORMATS[source.asset_type]}."
        )
    error.param = param


def task_run(context: Context, *, max_tries: int | None = None, began: str = "") -> str:
    """Return the key of a task run, see :func:`hedra_provider.submission.identity.task_run_key`."""
    ti = context["ti"]
    map_index = -1 if ti.map_index is None else ti.map_index
    return identity.task_run_key(
        ti.dag_id, ti.run_id, ti.task_id, map_index, max_tries=max_tries, began=began
    )
