"""What can be set when a sandbox starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DUPLICATE_ID_MODES = ("conflict", "return", "error", "ignore")

DEFAULT_CREDITS = 10_000


@dataclass(frozen=True)
class Options:
    """The options of a sandbox; the command line has the same names.

    :param host: address both origins listen on.
    :param port: port of the API; 0 lets the system choose. The file origin always takes a free one.
    :param api_key: the only key that is accepted; None makes one.
    :param workspaces: credits of each workspace by its id.
    :param credits: credits of the default pool; None means 10,000, or 0 when there are workspaces, as an
        account whose money lives in its workspaces has it.
    :param seconds: how long a generation takes once it has left the queue, in seconds of the sandbox's clock.
    :param queue_seconds: how long it is queued before.
    :param max_parallel: generations that may run at once; one more is answered 429. None: no limit.
    :param rate: API requests per second, with bursts of a second's worth; more are answered 429 with
        ``Retry-After``. None: no limit.
    :param duplicate_id: what a ``generation_id`` that exists answers. Hedra does not document it:
        ``conflict`` 409 ALREADY_EXISTS, ``return`` 200 with the existing generation, ``error`` 400
        ALREADY_IN_PROGRESS or ALREADY_EXISTS, ``ignore`` ids of clients are never honoured: every submit
        makes and charges a generation with a new id.
    :param batch: whether ``GET /generations`` honours ``ids``.
    :param media: make and measure real media; without, files are placeholder bytes and lengths are estimates.
    :param url_seconds: lifetime of file URLs, in seconds of the sandbox's clock (about an hour, observed).
    :param max_bytes: disk space that files may take.
    :param max_kept_bytes: memory that assets, generations and the requests for them may take, about.
    :param state: file that keeps everything over a restart; files go to a folder of the same name with
        ``.files``.
    """

    host: str = "127.0.0.1"
    port: int = 0
    api_key: str | None = None
    workspaces: Mapping[str, int] = field(default_factory=dict)
    credits: int | None = None
    seconds: float = 5.0
    queue_seconds: float = 1.0
    max_parallel: int | None = None
    rate: float | None = None
    duplicate_id: str = "conflict"
    batch: bool = True
    media: bool = True
    url_seconds: int = 3600
    max_bytes: int = 8 * 1024**3
    max_kept_bytes: int = 512 * 1024**2
    state: Path | None = None

    def __post_init__(self) -> None:
        if self.duplicate_id not in DUPLICATE_ID_MODES:
            known = ", ".join(DUPLICATE_ID_MODES)
            raise ValueError(f"duplicate_id is {self.duplicate_id!r}; it must be one of {known}")
        for name in ("seconds", "queue_seconds", "rate", "max_parallel", "credits"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} is {value}; it must not be negative")
        if self.rate == 0:
            raise ValueError("rate is 0, which would refuse every request; leave it out for no limit")

    @property
    def default_credits(self) -> int:
        """Credits of the default pool at the start."""
        if self.credits is not None:
            return self.credits
        return 0 if self.workspaces else DEFAULT_CREDITS
