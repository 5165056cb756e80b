"""The records that a sandbox keeps: pools of credits, assets, jobs, generations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hedra_provider.sandbox.media import Facts

JsonObject = dict[str, Any]


@dataclass
class Pool:
    """Credits of one workspace, or of the account itself.

    :param allocated: credits at the start.
    :param used: credits charged, less refunds; default 0.
    :param refunded: credits given back; default 0.
    """

    allocated: int
    used: int = 0
    refunded: int = 0

    @property
    def available(self) -> int:
        """Credits that are left."""
        return self.allocated - self.used


@dataclass
class Asset:
    """One asset. ``file`` is its name in the store, None before the upload; ``facts`` are measured once, at
    the upload.
    """

    id: str
    type: str
    name: str
    created_at: float
    workspace_id: str | None = None
    file: str | None = None
    media_type: str = "application/octet-stream"
    size: int = 0
    facts: Facts = field(default_factory=Facts)
    generation_id: str | None = None


@dataclass(frozen=True)
class Job:
    """The file of a generation, described by its contents: equal jobs give equal files.

    ``image`` and ``audio`` are names in the store; ``speech`` is a text to say instead of ``audio``.
    """

    kind: str
    duration_ms: int
    image: str | None = None
    audio: str | None = None
    speech: str | None = None
    speech_ms: int = 0
    audio_start_ms: int = 0
    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class Ending:
    """How a fault lets a generation end.

    :param error: the error object it shows; ``{"error_message": ...}`` alone gives only a message; default
        None, for no error.
    :param status: the final status; default ``error``.
    """

    error: JsonObject | None = None
    status: str = "error"


@dataclass
class Generation:
    """One generation: what was requested and charged, and how it will end.

    ``final_status`` is ``complete``, unless a fault or a failure set another one.
    """

    id: str
    asset_id: str
    type: str
    request: JsonObject
    created_at: float
    credits: int
    workspace_id: str | None
    job: Job
    queue_seconds: float
    seconds: float
    batch_id: str | None = None
    image_id: str | None = None
    audio_id: str | None = None
    error: JsonObject | None = None
    refunded: bool = False
    final_status: str = "complete"

    @property
    def ends_by_fault(self) -> bool:
        """Whether it ends without a file."""
        return self.error is not None or self.final_status != "complete"

    @property
    def asset_type(self) -> str:
        """Type of the asset it makes."""
        return "audio" if self.type == "text_to_speech" else "video"

    @property
    def ends_at(self) -> float:
        """When it ends, in seconds since 1970."""
        return self.created_at + self.queue_seconds + self.seconds


@dataclass(frozen=True)
class Phase:
    """Status, progress (0 to 1) and remaining seconds of a generation at a moment."""

    status: str
    progress: float
    eta_sec: int | None


@dataclass(frozen=True)
class Plan:
    """An accepted request: what to make, and the credits for each variation."""

    type: str
    credits: int
    job: Job
    image_id: str | None = None
    audio_id: str | None = None
