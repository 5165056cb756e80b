"""What the tests of the operators share."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from hedra_provider.operators import (
    HedraAvatarVideoOperator,
)
from tests.airflow_names import AirflowException, AirflowFailException

RESULT_KEYS = {
    "name",
    "generation_id",
    "asset_id",
    "type",
    "status",
    "error_code",
    "error_message",
    "credit_cost",
    "credits_paid",
    "adopted",
    "duration_ms",
    "width",
    "height",
    "uri",
    "bytes",
    "worker",
    "hedra_conn_id",
    "workspace_id",
    "speech",
    "cost",
    "cost_paid",
    "currency",
    "expires_at",
}


Logged = Callable[[], str]


def avatar(portrait: str, voice: str | None, **changes: Any) -> HedraAvatarVideoOperator:
    arguments = {
        "task_id": "avatar",
        "image": portrait,
        "audio": voice,
        "resolution": "540p",
        "poll_interval": 0.05,
    }
    return HedraAvatarVideoOperator(**(arguments | changes))


FAILURES = {
    "INTERNAL": ({"type": "INTERNAL", "message": "no luck"}, AirflowException),
    "MODERATION_LIKENESS": (
        {"type": "MODERATION_FAILED", "reason_code": "MODERATION_LIKENESS", "message": "a face"},
        AirflowFailException,
    ),
    "MODERATION_OUTPUT_TRANSIENT": (
        {"type": "MODERATION_FAILED", "reason_code": "MODERATION_OUTPUT_TRANSIENT", "message": "hm"},
        AirflowException,
    ),
}


NOBODY = str(uuid.UUID(int=1))
