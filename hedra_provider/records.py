"""What Hedra says, in the provider's own words, the same for both versions of its API.

The modules of :mod:`hedra_provider.api` make these records of their answers. Everything above reads the
records alone, and so does not depend on a version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

COMPLETE = "complete"
ERROR = "error"
RUNNING_STATUSES = frozenset({"queued", "processing", "finalizing"})
"""The statuses of a running generation. Those of v3 are written in the same words."""

CREDITS, USD = "credits", "USD"

_JOB_ID = re.compile(r"job_[\w-]{1,80}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)

ApiVersion = Literal[2, 3]


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation:
    """
    A generation. Each field is None where an answer does not have it.

    An unknown status counts as running; with an error in the answer, it counts as ``error``.

    :param id: A UUID on v2, ``job_...`` on v3.
    :param status: ``queued``, ``processing``, ``finalizing``, ``complete``, ``error``, or a status of Hedra's
        that this version of the provider does not know.
    :param type: ``video``, ``image``, ``audio`` or another type of Hedra's.
    :param progress: 0 to 1.
    :param eta_sec: Seconds to its end, as Hedra estimates them.
    :param created_at: When it was submitted, ISO 8601.
    :param asset_id: The asset of its file.
    :param error: Hedra's error, an object or a text.
    :param error_message: Hedra's text about the error, where there is no ``error``.
    :param file_url: The signed URL of its file.
    :param workspace_id: The workspace that paid (v2).
    :param cost: What it cost, in ``currency``.
    :param currency: ``credits`` (v2) or ``USD`` (v3).
    :param expires_at: Until when its file can be fetched, ISO 8601 (v3).
    :param model: The model, as Hedra names it (v3).
    :param width: Pixels.
    :param height: Pixels.
    :param duration_ms: Milliseconds.
    :param request: The body of its submit (v2).
    """

    id: str
    status: str | None = None
    type: str | None = None
    progress: float | None = None
    eta_sec: float | None = None
    created_at: str | None = None
    asset_id: str | None = None
    error: Any = None
    error_message: str | None = None
    file_url: str | None = field(default=None, repr=False)
    workspace_id: str | None = None
    cost: Decimal | int | None = None
    currency: str | None = None
    expires_at: str | None = None
    model: str | None = None
    width: int | None = None
    height: int | None = None
    duration_ms: int | None = None
    request: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def is_complete(self) -> bool:
        """Whether its status is ``complete``."""
        return self.status == COMPLETE

    @property
    def is_running(self) -> bool:
        """Whether its status is a known running one."""
        return self.status in RUNNING_STATUSES

    @property
    def is_failed(self) -> bool:
        """Whether it ended in an error: status ``error``, or an unknown status that comes with an error."""
        if self.status == ERROR:
            return True
        return not (self.is_complete or self.is_running) and self._has_error

    @property
    def _has_error(self) -> bool:
        """Whether the answer has an error; an object whose fields are all empty is none."""
        error = self.error
        return bool(any(error.values()) if isinstance(error, dict) else error) or bool(self.error_message)

    @property
    def is_finished(self) -> bool:
        """Whether it is complete or failed."""
        return self.is_complete or self.is_failed

    @property
    def credit_cost(self) -> int | None:
        """What it cost in credits; None where it is paid in another currency, or the cost is unknown."""
        return self.cost if self.currency == CREDITS and isinstance(self.cost, int) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Balance:
    """
    What a key can spend.

    :param available: The amount; None if Hedra does not state it.
    :param currency: ``credits`` (v2) or ``USD`` (v3).
    :param pool: Whose it is, for messages: a workspace, or the key's own.
    """

    available: Decimal | int | None
    currency: str
    pool: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Voice:
    """
    A voice that can speak a text.

    :param id: A UUID on v2, ``voice_...`` on v3.
    :param name: Its name.
    :param labels: What Hedra says of it, e.g. ``{"language": "English", "gender": "female"}``.
    :param preview_url: A signed URL of a sample.
    """

    id: str
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    preview_url: str | None = field(default=None, repr=False)


def json_amount(amount: Decimal | int | None) -> float | int | None:
    """
    Return an amount as JSON has it: credits stay whole, US dollars become a number that sums can be made of.

    A text would be exact, but ``sum()`` over XComs would fail. Round a sum to cents.

    :param amount: Credits or US dollars; None if it is unknown.
    """
    return float(amount) if isinstance(amount, Decimal) else amount


def balance_words(amount: Decimal | float | int | None, currency: str) -> str:
    """
    Return an amount in words.

    :param amount: The amount; None if it is unknown.
    :param currency: ``credits`` or ``USD``.
    """
    if currency != CREDITS:
        return "an unknown amount" if amount is None else f"{amount:.2f} {currency}"
    if amount is None:
        return "an unknown number of credits"
    return "1 credit" if amount == 1 else f"{amount} credits"


def version_of_id(generation_id: str) -> ApiVersion | None:
    """
    Return the version of Hedra's API that gave a generation its id; None if it is no such id.

    :param generation_id: The id of a generation.
    """
    if _UUID.fullmatch(generation_id):
        return 2
    return 3 if _JOB_ID.fullmatch(generation_id) else None
