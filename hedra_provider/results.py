"""What a generation leaves in XCom: facts for the tasks that follow, no URLs and no bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hedra_provider.api.answers import Generation

XCOM_ID = "generation_id"
"""Pushed before the submit, so that what was paid for can be found whatever happens next."""

XCOM_RESULT = "generation"
"""Pushed at the end, before success and before raising alike."""


def generation_result(
    generation: Generation,
    *,
    hedra_conn_id: str,
    row: Generation | None = None,
    name: str | None = None,
    workspace_id: str | None = None,
    uri: str | None = None,
    size: int | None = None,
) -> dict[str, Any]:
    """
    Return the dict of a generation; every key is always there.

    :param generation: What Hedra said last of it.
    :param row: Its row of ``GET /generations``, which has what status lacks.
    :param uri: Where its file was stored.
    :param size: The file's bytes.
    """
    from hedra_provider.api.error_answers import clean, generation_error

    failure = generation_error(generation.id, generation.error, generation.error_message)
    failed = generation.is_failed
    asset = row.asset if row and row.asset else generation.asset
    media = asset.asset if asset else None
    return {
        "name": name,
        "generation_id": generation.id,
        "asset_id": generation.asset_id or (asset.id if asset else None),
        "type": generation.type,
        "status": generation.status,
        "error_code": (failure.reason_code or failure.code) if failed else None,
        "error_message": clean(failure.message) if failed else None,
        "credit_cost": row.credit_cost if row else generation.credit_cost,
        "duration_ms": media.duration_ms if media else None,
        "width": media.width if media else None,
        "height": media.height if media else None,
        "uri": uri,
        "bytes": size,
        "hedra_conn_id": hedra_conn_id,
        "workspace_id": generation.workspace_id or workspace_id,
    }
