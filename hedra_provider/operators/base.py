"""What all operators share."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from hedra_provider import identity
from hedra_provider.hooks import HedraHook
from hedra_provider.results import MULTIPLE_OUTPUTS
from hedra_provider.storage import open_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hedra_provider.api.client import HedraClient
    from hedra_provider.api.transfer import StoredAsset


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

    @cached_property
    def hook(self) -> HedraHook:
        """The hook of this operator's connection."""
        return HedraHook(self.hedra_conn_id)

    @property
    def paying_workspace(self) -> str | None:
        """The operator's workspace, else the connection's."""
        return given(self.workspace_id) or self.hook.settings.workspace_id

    def store_file(
        self,
        client: HedraClient,
        source: str,
        *,
        param: str,
        asset_type: str | None = None,
        name: str | None = None,
        max_bytes: int | None = None,
    ) -> tuple[StoredAsset, dict[str, Any]]:
        """
        Upload a file, unless the same bytes are there already.

        :param source: A path or URI.
        :param param: The parameter that named it, for messages.
        :param asset_type: ``image``, ``audio`` or ``video``; by default what the file's name says.
        :param max_bytes: What the model takes.
        :return: The asset, and its ``type``, ``name`` and ``bytes``.
        """
        import mimetypes

        from hedra_provider.api.errors import HedraValueError
        from hedra_provider.api.files import SizedFile
        from hedra_provider.api.transfer import digest, store_asset

        with open_source(source, param) as (file, file_name):
            mime = mimetypes.guess_type(file_name)[0] or ""
            kind = asset_type or mime.partition("/")[0]
            if kind not in ("image", "audio", "video"):
                raise HedraValueError(
                    f"{param}: {file_name!r} does not tell its type.",
                    param="asset_type",
                    remedy="Give asset_type: image, audio or video.",
                )
            sha256, size = digest(file)
            if size == 0:
                raise HedraValueError(
                    f"{param}: {source!r} is empty.", param=param, remedy="Nothing was sent."
                )
            if max_bytes and size > max_bytes:
                raise HedraValueError(
                    f"{param}: {source!r} has {size} bytes; the model takes {max_bytes} at the most.",
                    param=param,
                )
            workspace_id = self.paying_workspace
            reserved = identity.asset_id(self.hook.settings.namespace, sha256, kind, workspace_id)
            sized = SizedFile(file, size, name or file_name, mime or None)
            stored = client.run(
                store_asset(sized, kind, reserved_asset_id=reserved, workspace_id=workspace_id)
            )
        self.log.info(
            "%s %s: %s (%d bytes).",
            "Found asset" if stored.reused else "Uploaded asset",
            stored.asset_id,
            source,
            size,
        )
        return stored, {"type": kind, "name": sized.name, "bytes": size}


def given(value: Any) -> Any:
    """Return the value, None for what a template renders of a field that was left empty."""
    return None if value is None or (isinstance(value, str) and not value.strip()) else value
