"""The records that API v3 keeps: uploads, jobs, idempotency keys, webhook deliveries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hedra_provider.sandbox.media import Facts
from hedra_provider.sandbox.records import Job as Work

JsonObject = dict[str, Any]


@dataclass
class File:
    """A medium: an upload, or the output of a job.

    ``unreadable`` is the reason why an upload is no usable medium. ``url`` is an upload's handle.
    """

    id: str
    media_type: str
    created_at: float
    file: str | None = None
    size: int = 0
    facts: Facts = field(default_factory=Facts)
    unreadable: str | None = None
    url: str | None = None
    expires_at: float = 0.0
    job_id: str | None = None

    @property
    def name(self) -> str:
        """The name that the origin of files needs."""
        return self.id


@dataclass
class JobRecord:
    """One job. Money is in millionths of a US dollar."""

    id: str
    number: int
    model: str
    input: JsonObject
    created_at: float
    price: int
    work: Work
    queue_seconds: float
    seconds: float
    asset_id: str
    error: JsonObject | None = None
    final_status: str = "COMPLETED"
    refunded: bool = False

    @property
    def ends_by_fault(self) -> bool:
        """Whether it ends without a file."""
        return self.error is not None or self.final_status != "COMPLETED"

    @property
    def ends_at(self) -> float:
        """When it ends, in seconds since 1970."""
        return self.created_at + self.queue_seconds + self.seconds


@dataclass
class KeyRecord:
    """What was submitted under an idempotency key, and what was answered.

    ``status`` and ``answer`` are those of the first answer; ``job_id`` is None if that was a rejection.
    """

    key: str
    model: str
    body: str
    at: float
    status: int
    answer: JsonObject
    job_id: str | None = None


@dataclass
class Delivery:
    """One webhook delivery. ``due_at`` is when the next attempt is due, None while the job runs or after the
    last attempt.
    """

    job_id: str
    number: int
    model: str
    url: str
    source: str
    created_at: float
    status: str = "PENDING"
    event: str | None = None
    attempts: int = 0
    tries: int = 0
    due_at: float | None = None
    last_response_status: int | None = None
    last_error: JsonObject | None = None
    last_attempt_at: float | None = None
    redeliveries: list[JsonObject] = field(default_factory=list)


@dataclass(frozen=True)
class Planned:
    """An accepted input: what to make and what it costs, in millionths of a US dollar."""

    price: int
    work: Work
    media_type: str
    facts: Facts
