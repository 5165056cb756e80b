"""The answers of the v3 API as pydantic models, as lenient as those of v2.

Unknown fields are ignored, and missing or mistyped ones are None. Only fields that every caller needs are
required. ``record()`` makes the provider's own record, whose statuses are v2's words. Fields are those of
Hedra's published v3 schema.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field, FiniteFloat

from hedra_provider import records
from hedra_provider.api.responses import Answer, Lenient, Shown, ShownId, SignedUrl

STATUSES = {
    "IN_QUEUE": "queued",
    "IN_PROGRESS": "processing",
    "COMPLETED": records.COMPLETE,
    "FAILED": records.ERROR,
}
"""The words of v3 (documented as an open set), and those of the records."""

RESULT_LASTS = timedelta(hours=24)
"""From the submit on (documented)."""

Money = Annotated[Lenient[Annotated[Decimal, Field(ge=-(10**9), le=10**9, max_digits=30)]], Field()]
"""An amount; None if it is missing or is no amount."""


def _own_word(status: str | None) -> str | None:
    return STATUSES.get(status, status) if status else None


def _instant(text: str | None) -> datetime | None:
    """Return an instant of Hedra's, ISO 8601; None if it can't be read or names no time zone."""
    try:
        at = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return at if at and at.tzinfo else None


def _result_expiry(created_at: str | None) -> str | None:
    at = _instant(created_at)
    try:
        return (at + RESULT_LASTS).isoformat() if at else None
    except OverflowError:
        return None


class Dated(Answer):
    """An answer with the time at which Hedra sent it."""

    answered_at: Lenient[FiniteFloat] = None
    """Epoch seconds, from the ``Date`` header; None without one."""


class FileHandle(Answer):
    """The answer to ``POST /files``: a handle that lives one hour and is sent back unchanged."""

    url: Annotated[str, Field(repr=False)]
    content_type: Shown = None
    expires_at: Shown = None

    @property
    def expires_at_epoch(self) -> float | None:
        """When the handle lapses, in epoch seconds; None if Hedra does not state it."""
        at = _instant(self.expires_at)
        return at.timestamp() if at else None


class SubmittedJob(Dated):
    """The answer to a submit."""

    job_id: ShownId
    model: Shown = None
    status: Shown = None
    estimated_completion_at: Shown = None

    def record(self) -> records.Generation:
        """Return the job as the provider's own record."""
        return records.Generation(
            id=self.job_id,
            status=_own_word(self.status),
            model=self.model,
            eta_sec=_seconds_until(self.estimated_completion_at, self.answered_at),
        )


class JobStatus(Dated):
    """The answer to ``GET /jobs/{job_id}/status``. It has no URL, no error and no cost."""

    job_id: ShownId
    status: Shown = None
    progress: Lenient[FiniteFloat] = None
    estimated_completion_at: Shown = None

    def record(self) -> records.Generation:
        """Return the job as the provider's own record."""
        return records.Generation(
            id=self.job_id,
            status=_own_word(self.status),
            progress=self.progress,
            eta_sec=_seconds_until(self.estimated_completion_at, self.answered_at),
        )


class Output(Answer):
    """One output of a job. Its URL is signed and lasts up to an hour."""

    status: Shown = None
    asset_id: Shown = None
    url: SignedUrl = None
    content_type: Shown = None
    width: Lenient[int] = None
    height: Lenient[int] = None
    duration_ms: Lenient[int] = None
    expires_at: Shown = None
    error: Any = None


class Job(Dated):
    """The answer to ``GET /jobs/{job_id}``: the result."""

    job_id: ShownId
    model: Shown = None
    status: Shown = None
    created_at: Shown = None
    outputs: Lenient[list[Output]] = None
    error: Any = None
    cost: Money = None
    currency: Shown = None

    @property
    def output(self) -> Output | None:
        """The first output; None while there is none."""
        return self.outputs[0] if self.outputs else None

    def record(self) -> records.Generation:
        """
        Return the job as the provider's own record.

        A completed job whose only output failed is an error: there is nothing to fetch.
        """
        output = self.output or Output()
        failed = self.status == "COMPLETED" and output.status == "FAILED"
        return records.Generation(
            id=self.job_id,
            status=records.ERROR if failed else _own_word(self.status),
            type=(output.content_type or "").partition("/")[0] or None,
            created_at=self.created_at,
            asset_id=output.asset_id,
            error=output.error if failed else self.error,
            file_url=output.url,
            cost=self.cost,
            currency=self.currency or (records.USD if self.cost is not None else None),
            expires_at=output.expires_at or _result_expiry(self.created_at),
            model=self.model,
            width=output.width,
            height=output.height,
            duration_ms=output.duration_ms,
        )


class JobSummary(Answer):
    """A row of the list of jobs."""

    job_id: ShownId
    model: Shown = None
    status: Shown = None
    created_at: Shown = None

    def record(self) -> records.Generation:
        """Return the job as the provider's own record."""
        return records.Generation(
            id=self.job_id,
            status=_own_word(self.status),
            created_at=self.created_at,
            model=self.model,
            expires_at=_result_expiry(self.created_at),
        )


class JobPage(Dated):
    """A page of the list of jobs, newest first. ``data`` is required, as on v2."""

    data: list[JobSummary]
    next_cursor: Lenient[str] = None


class BalanceAnswer(Answer):
    """The answer to ``GET /balance``."""

    balance: Money = None
    spent: Money = None
    currency: Shown = None

    def record(self) -> records.Balance:
        """Return the balance as the provider's own record."""
        return records.Balance(
            available=self.balance, currency=self.currency or records.USD, pool="the key's wallet"
        )


class UsageBucket(Answer):
    """What one day or one model has cost."""

    key: Shown = None
    jobs: Lenient[int] = None
    spent: Money = None


class UsageAnswer(Answer):
    """The answer to ``GET /usage``."""

    start: Shown = None
    end: Shown = None
    group_by: Shown = None
    total_jobs: Lenient[int] = None
    total_spent: Money = None
    currency: Shown = None
    data: Lenient[list[UsageBucket]] = None


class EstimateAnswer(Answer):
    """The answer to ``POST /models/{model}/estimate``."""

    model: Shown = None
    cost: Money = None
    currency: Shown = None


class ModelSummary(Answer):
    """A model of the catalogue."""

    id: ShownId
    modality: Shown = None
    name: Lenient[str] = None
    description: Lenient[str] = None
    price_description: Lenient[str] = None


class ModelDetail(ModelSummary):
    """A model with the JSON schema of its ``input``, which has the limits."""

    input_schema: Lenient[dict[str, Any]] = None
    output_schema: Lenient[dict[str, Any]] = None


class ModelPage(Answer):
    """The answer to ``GET /models``."""

    data: list[ModelSummary]


class VoiceAnswer(Answer):
    """A voice of a speech model."""

    id: ShownId
    name: Lenient[str] = None
    labels: Lenient[dict[str, Any]] = None
    preview_url: SignedUrl = None

    def record(self) -> records.Voice:
        """Return the voice as the provider's own record."""
        labels = {name: str(value) for name, value in (self.labels or {}).items() if value is not None}
        return records.Voice(id=self.id, name=self.name, labels=labels, preview_url=self.preview_url)


class VoicePage(Answer):
    """The answer to ``GET /models/{model}/voices``."""

    data: list[VoiceAnswer]


class Delivery(Answer):
    """One webhook delivery. Its URL is not shown: it may hold a secret of the user's."""

    job_id: ShownId
    model: Shown = None
    event_type: Shown = None
    status: Shown = None
    source: Shown = None
    attempts: Lenient[int] = None
    last_response_status: Lenient[int] = None
    webhook_url: SignedUrl = None
    created_at: Shown = None
    last_attempt_at: Shown = None


class DeliveryPage(Answer):
    """A page of the webhook deliveries, newest first."""

    data: list[Delivery]
    next_cursor: Lenient[str] = None


class PublicKey(Answer):
    """The key that webhook deliveries are signed by."""

    public_key: str
    algorithm: Shown = None


def _seconds_until(instant: str | None, now: float | None) -> float | None:
    at = _instant(instant)
    return None if at is None else max(at.timestamp() - (time.time() if now is None else now), 0.0)
