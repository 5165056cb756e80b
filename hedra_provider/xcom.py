"""What tasks push as XCom about a generation: facts for later tasks, no URLs and no bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

from hedra_provider.records import CREDITS, USD, json_amount, version_of_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from hedra_provider.api.client import HedraClient
    from hedra_provider.records import Generation
    from hedra_provider.service.protocol import Hedra

XCOM_ID = "generation_id"
"""Pushed before the submit, so that a paid generation can be found whatever happens next."""

XCOM_IDS = "generation_ids"
"""The same for a batch: the ids of all its variations."""

XCOM_SPEECH_ID = "speech_generation_id"
"""Pushed after the submit of the speech that an avatar is made from (v3)."""

XCOM_ESTIMATE = "estimate"
"""``{"low", "high", "currency"}``, pushed before a submit if there is an estimate."""

XCOM_CREDIT_ESTIMATE = "credit_estimate"
"""``{"low", "high"}`` in credits, beside ``estimate``, with a v2 key."""

XCOM_ADOPTED = "adopted_generations"
"""Pushed after the submit if a generation was adopted: ``{generation_id: whether this task run paid}``."""

XCOM_RESULT = "generation"
"""Pushed at the end, also if the task then fails."""

XCOM_RESULTS = "generations"
"""The same for a batch: a list, one dict for each variation."""


MULTIPLE_OUTPUTS = AIRFLOW_V_3_1_PLUS
"""Whether Airflow itself can push a dict key by key: 3.0 fails the task over a value that is None."""


def outputs(context: Context, result: dict[str, Any]) -> dict[str, Any]:
    """
    Return the result of a task. Push its keys one by one if this Airflow does not do that itself.

    :param context: The task's context.
    :param result: The dict. On Airflow 3.0 ``output["key"]`` does not exist for a key whose value is None.
    :return: The same dict.
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
    speech: Generation | None = None,
) -> dict[str, Any]:
    """
    Return the dict of a generation. It always has the same keys.

    ``adopted`` says whether this try found the generation instead of submitting it. ``cost_paid`` is what
    this task run paid, in ``currency``: the whole ``cost``, whichever of its tries submitted the generation.
    It is 0 for a sensor, and if another task run paid, as with a shared ``idempotency_key``. It is None if
    the cost could not be read. So the sum of ``cost_paid`` over the XComs of all runs counts each generation
    once. With a v2 key, ``credit_cost`` and ``credits_paid`` are the same in credits; with a v3 key they are
    None, and the ``speech`` of a text has a ``cost`` of its own, which comes on top.

    The sum lacks two payments: that for a generation which no XCom names any more, e.g. the first of two
    after a clear with ``on_clear="new"``; and with an ``idempotency_key``, that of the same task before its
    last clear, because after a clear it can't be distinguished from another run's payment.

    :param generation: The generation, as the last poll returned it.
    :param hedra_conn_id: The Airflow connection.
    :param row: Its row of ``GET /generations``, which has ``credit_cost``, length and size; None (the
        default) if it could not be read.
    :param name: The operator's ``name``; None by default.
    :param workspace_id: The workspace, if the generation names none; None by default.
    :param uri: Where its file was stored; None by default.
    :param size: The file's size in bytes; None by default.
    :param adopted: Whether the generation was found, not submitted; True by default.
    :param paid_here: Whether this task run paid for it; False by default.
    :param speech: The generation that an avatar speaks, where it was paid for by itself (v3); None by
        default.
    """
    from hedra_provider.api.error_bodies import generation_error
    from hedra_provider.api.redaction import clean
    from hedra_provider.service.expiry import expires_at

    failure = generation_error(generation.id, generation.error, generation.error_message)
    failed = generation.is_failed
    cost = row.cost if row else generation.cost
    currency = USD if version_of_id(generation.id) == 3 else CREDITS
    credit_cost = cost if currency == CREDITS else None
    amount = json_amount(cost)
    return {
        # PostgreSQL stores no XCom with a NUL: the task would fail after it has paid.
        "name": name.replace("\0", "") if isinstance(name, str) else name,
        "generation_id": generation.id,
        "asset_id": generation.asset_id or (row.asset_id if row else None),
        "type": generation.type,
        "status": generation.status,
        "error_code": (failure.reason_code or failure.code) if failed else None,
        "error_message": clean(failure.message) if failed else None,
        "credit_cost": credit_cost,
        "credits_paid": None if currency != CREDITS else credit_cost if paid_here else 0,
        "cost": amount,
        "cost_paid": amount if paid_here else 0,
        "currency": currency,
        "expires_at": expires_at(row or generation) or expires_at(generation),
        "adopted": adopted,
        "duration_ms": _first("duration_ms", row, generation),
        "width": _first("width", row, generation),
        "height": _first("height", row, generation),
        "uri": uri,
        "bytes": size,
        # The worker that has the file, if it is stored on a worker's own disk. Set by the caller.
        "worker": None,
        "hedra_conn_id": hedra_conn_id,
        "workspace_id": generation.workspace_id or workspace_id,
        "speech": speech_facts(speech) if speech else None,
    }


def speech_facts(speech: Generation) -> dict[str, Any]:
    """
    Return the facts about a speech that was paid for by itself. Money is a number: JSON has no Decimal.

    :param speech: The speech.
    """
    return {
        "generation_id": speech.id,
        "asset_id": speech.asset_id,
        "status": speech.status,
        "cost": json_amount(speech.cost),
        "currency": speech.currency,
        "duration_ms": speech.duration_ms,
    }


def _first(name: str, *generations: Generation | None) -> Any:
    """Return a field of the first of these answers that has it."""
    found = (getattr(one, name) for one in generations if one is not None)
    return next((value for value in found if value is not None), None)


def read_rows(
    client: HedraClient, hedra: Hedra, generation_ids: Sequence[str], log: Any
) -> dict[str, Generation]:
    """
    Read cost, length and size of generations. An error is logged, not raised: the task has paid already.

    :param client: The client.
    :param hedra: The service of its connection.
    :param generation_ids: The ids of the generations.
    :param log: Receives a warning if the rows could not be read.
    :return: The generations by id; empty if they could not be read.
    """
    from hedra_provider.api.errors import HedraError

    try:
        return client.run(hedra.results(generation_ids))
    except HedraError as error:
        log.warning("The cost of generation %s could not be read: %s", ", ".join(generation_ids), error)
        return {}
