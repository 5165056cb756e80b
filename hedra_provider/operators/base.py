"""What all operators share."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from hedra_provider import identity
from hedra_provider.hooks import HedraHook
from hedra_provider.lineage import report_input
from hedra_provider.xcom import MULTIPLE_OUTPUTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import jinja2
    from airflow.providers.common.compat.sdk import Context

    from hedra_provider.api.client import HedraClient
    from hedra_provider.api.transfer import StoredAsset
    from hedra_provider.uploads import SourceFile


class HedraOperator(BaseOperator):
    """
    The base of the operators.

    The dict that an operator returns is pushed key by key too (``multiple_outputs``), so that
    ``operator.output["generation_id"]`` works in the tasks that follow. On Airflow 3.3 and later a retry
    waits as long as Hedra asked (:class:`hedra_provider.retries.HedraRetryPolicy`), or as ``retry_policy``
    says.

    :param workspace_id: The workspace that owns and pays, in place of the connection's.
    :param hedra_conn_id: The Airflow connection.
    """

    template_fields: Sequence[str] = ("workspace_id", "hedra_conn_id")
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
            from hedra_provider.retries import HedraRetryPolicy

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

    @cached_property
    def hook(self) -> HedraHook:
        """The hook of this operator's connection."""
        return HedraHook(self.hedra_conn_id)

    @property
    def paying_workspace(self) -> str | None:
        """The operator's workspace, else the connection's."""
        return given(self.workspace_id) or self.hook.settings.workspace_id

    def store_file(
        self, client: HedraClient, source: SourceFile, *, only_for: str | None = None
    ) -> StoredAsset:
        """
        Upload a file, unless the same bytes are there already: in this workspace, as this type of asset.

        :param source: As :func:`hedra_provider.uploads.open_media` opens it.
        :param only_for: The key of the task run that wants an asset of its own; None: any is good.
        """
        from hedra_provider.api.cleaning import clean
        from hedra_provider.api.requests import require_sendable
        from hedra_provider.api.transfer import store_asset

        workspace_id = self.paying_workspace
        require_sendable(workspace_id, "workspace_id")
        reserved = identity.asset_id(
            self.hook.settings.namespace, source.sha256, source.asset_type, workspace_id, only_for=only_for
        )
        stored = client.run(
            store_asset(source.file, source.asset_type, reserved_asset_id=reserved, workspace_id=workspace_id)
        )
        self.log.info(
            "%s %s: %s (%d bytes).",
            "Found asset" if stored.reused else "Uploaded asset",
            stored.asset_id,
            clean(source.source),
            source.size,
        )
        report_input(self.hook, source.source)
        return stored


def task_run(context: Context, *, max_tries: int | None = None, began: str = "") -> str:
    """Return the key of a task run, see :func:`hedra_provider.identity.task_run_key`."""
    ti = context["ti"]
    map_index = -1 if ti.map_index is None else ti.map_index
    return identity.task_run_key(
        ti.dag_id, ti.run_id, ti.task_id, map_index, max_tries=max_tries, began=began
    )


def given(value: Any) -> Any:
    """Return the value, None for what a template renders of a field that was left empty."""
    return None if value is None or (isinstance(value, str) and not value.strip()) else value
