"""What a generation leaves in XCom: facts for the tasks that follow, no URLs and no bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from hedra_provider.api.client import HedraClient
    from hedra_provider.api.responses import Generation

XCOM_ID = "generation_id"
"""Pushed before the submit, so that what was paid for can be found whatever happens next."""

XCOM_IDS = "generation_ids"
"""The same for a batch: the ids of all its variations."""

XCOM_ESTIMATE = "credit_estimate"
"""``{"low", "high"}`` in credits, pushed before a submit where it could be told."""

XCOM_ADOPTED = "adopted_generations"
"""Pushed after the submit where something was adopted: ``{generation_id: whether this task run paid}``."""

XCOM_RESULT = "generation"
"""Pushed at the end, before success and before raising alike."""

XCOM_RESULTS = "generations"
"""The same for a batch: a list, one dict for each variation."""


MULTIPLE_OUTPUTS = AIRFLOW_V_3_1_PLUS
"""Whether Airflow itself can push a dict key by key: 3.0 fails the task over a value that is None."""


def outputs(context: Context, result: dict[str, Any]) -> dict[str, Any]:
    """
    Return what a task returns, its keys pushed one by one where Airflow does not do that.

    :param result: On Airflow 3.0 its keys with the value None are not there for ``output["key"]``.
    """
    if not MULTIPLE_OUTPUTS:
        for key, value in result.items():
            if value is not None:
                context["ti"].xcom_push(key=key, value=value)
    return result


def generation_result(
    generation: Generation,
    *,
    hedra_conn_id: str,
    row: Generation | None = None,
    name: str | None = None,
    workspace_id: str | None = None,
    uri: str | None = None,
    size: int | None = None,
    adopted: bool = True,
    paid_here: bool = False,
) -> dict[str, Any]:
    """
    Return the dict of a generation; every key is always there.

    ``adopted`` tells whether the task found the generation instead of submitting it in this try.
    ``credits_paid`` is what this task run paid for it: all of ``credit_cost``, whichever of its tries
    submitted it; 0 where another task run did, as with a shared ``idempotency_key``, and of a sensor; None
    where the cost could not be read. So the sum of ``credits_paid`` over the XComs of all runs counts each
    generation once, for the task run that paid. Not in the sum: what XComs no longer name, e.g. the first of
    two generations of a task that was cleared with ``on_clear="new"``; and with an ``idempotency_key``, what
    was paid before the last clear, as a clear can't tell it from what another run paid.

    :param generation: What Hedra said last of it.
    :param row: Its row of ``GET /generations``, which has what status lacks.
    :param uri: Where its file was stored.
    :param size: The file's bytes.
    :param adopted: Whether it was found, not submitted.
    :param paid_here: Whether this task run paid for it.
    """
    from hedra_provider.api.error_bodies import generation_error
    from hedra_provider.api.redaction import clean

    failure = generation_error(generation.id, generation.error, generation.error_message)
    failed = generation.is_failed
    asset = row.asset if row and row.asset else generation.asset
    media = asset.asset if asset else None
    cost = row.credit_cost if row else generation.credit_cost
    return {
        # On PostgreSQL an XCom that holds a NUL can't be stored, and a task that has paid would fail by it.
        "name": name.replace("\0", "") if isinstance(name, str) else name,
        "generation_id": generation.id,
        "asset_id": generation.asset_id or (asset.id if asset else None),
        "type": generation.type,
        "status": generation.status,
        "error_code": (failure.reason_code or failure.code) if failed else None,
        "error_message": clean(failure.message) if failed else None,
        "credit_cost": cost,
        "credits_paid": cost if paid_here else 0,
        "adopted": adopted,
        "duration_ms": media.duration_ms if media else None,
        "width": media.width if media else None,
        "height": media.height if media else None,
        "uri": uri,
        "bytes": size,
        # On which worker the file lies, once it is stored on a worker's own disk.
        "worker": None,
        "hedra_conn_id": hedra_conn_id,
        "workspace_id": generation.workspace_id or workspace_id,
    }


def read_rows(client: HedraClient, generation_ids: Sequence[str], log: Any) -> dict[str, Generation]:
    """
    Read what generations cost, their length and size: welcome, but not worth failing a paid task for.

    :return: Their rows of ``GET /generations`` by id, as far as they could be read.
    """
    from hedra_provider.api import calls
    from hedra_provider.api.errors import HedraError

    try:
        rows = client.run(calls.list_generations(generation_ids))
    except HedraError as error:
        log.warning("The cost of generation %s could not be read: %s", ", ".join(generation_ids), error)
        return {}
    return {row.id: row for row in rows}
