"""The options of a sandbox: the one list that the command line and ``docs/reference/sandbox.md`` are made of.

``hedra_provider.testing.Sandbox`` repeats the names, so that an editor shows them; a test compares both.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

DUPLICATE_ID_MODES = ("conflict", "return", "error", "ignore")

DEFAULT_CREDITS = 10_000

# Every time that follows from these stays before the year 9999, the last one that Python can write.
_CENTURIES_SECONDS = 28_000_000_000
_MOST = {
    "port": 65_535, "credits": 2**53, "seconds": _CENTURIES_SECONDS, "queue_seconds": _CENTURIES_SECONDS,
    "max_parallel": 2**53, "rate": 10**6, "url_seconds": _CENTURIES_SECONDS, "max_bytes": 2**53,
    "max_kept_bytes": 2**53,
}  # fmt: skip
"""The largest value of each number; the smallest is 0."""


def _option(default: Any, help: str, **command_line: Any) -> Any:  # noqa: A002  argparse's name for it
    """Declare an option.

    :param default: its value when it is not given.
    :param help: what it means, with its unit.
    :param command_line: further arguments of argparse for it; ``flag`` replaces the flag's name.
    """
    return field(default=default, metadata={"help": help, **command_line})


def _workspace(text: str) -> tuple[str, int]:
    name, _, credits = text.rpartition("=")
    if not name or not credits.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not ID=CREDITS")
    return name, int(credits)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a sandbox behaves; each field is an option of ``python -m hedra_provider.sandbox``."""

    host: str = _option("127.0.0.1", "address to listen on; others than loopback let other machines in")
    port: int = _option(0, "port of the API; 0 takes a free one, and files always have a free one", type=int)
    api_key: str | None = _option(None, "the only key that is accepted (default: a new one)")
    workspaces: Mapping[str, int] | None = _option(
        None, "a workspace and its credits; may be repeated (default: none)", flag="--workspace",
        metavar="ID=CREDITS", action="append", type=_workspace,
    )  # fmt: skip
    credits: int | None = _option(
        None, f"credits of the default pool (default: {DEFAULT_CREDITS}, or 0 with workspaces)", type=int
    )
    seconds: float = _option(
        5.0, "how long a generation takes after the queue, in seconds of the sandbox's clock", type=float
    )
    queue_seconds: float = _option(
        1.0, "how long a generation is queued, in seconds of the sandbox's clock", type=float
    )
    max_parallel: int | None = _option(
        None, "generations at once; one more is answered 429 (default: no limit)", metavar="N", type=int
    )
    rate: float | None = _option(
        None, "API requests per second, in bursts of one second; more are answered 429 (default: no limit)",
        metavar="N", type=float,
    )  # fmt: skip
    duplicate_id: str = _option(
        "conflict",
        "answer to a generation_id that exists, which Hedra does not document. conflict: 409 ALREADY_EXISTS; "
        "return: 200 and the existing generation; error: 400 ALREADY_IN_PROGRESS or ALREADY_EXISTS; "
        "ignore: ids of clients are not used, and every submit is charged",
        choices=DUPLICATE_ID_MODES,
    )
    batch: bool = _option(True, "GET /generations ignores ids", flag="--no-batch", action="store_false")
    media: bool = _option(
        True, "placeholder files instead of videos; rejects no upload; needs neither PyAV nor Pillow",
        flag="--no-media", action="store_false",
    )  # fmt: skip
    url_seconds: int = _option(
        3600,
        "lifetime of file URLs, in seconds of the sandbox's clock; an hour was observed at Hedra",
        type=int,
    )
    max_bytes: int = _option(8 * 1024**3, "disk space for files, in bytes", type=int)
    max_kept_bytes: int = _option(
        512 * 1024**2, "memory for assets and generations, in bytes, roughly", type=int
    )
    state: Path | None = _option(  # noqa: RUF009  declares a field
        None, "save everything for the next start in FILE, files in FILE.files/ (default: nothing is saved)",
        metavar="FILE", type=Path,
    )  # fmt: skip

    def __post_init__(self) -> None:
        if self.duplicate_id not in DUPLICATE_ID_MODES:
            known = ", ".join(DUPLICATE_ID_MODES)
            raise ValueError(f"duplicate_id is {self.duplicate_id!r}; it must be one of {known}")
        for name, most in _MOST.items():
            value = getattr(self, name)
            # "not": also for what is no number.
            if value is not None and not 0 <= value <= most:
                raise ValueError(f"{name} is {value}; it must be 0 to {most}")
        if self.rate == 0:
            raise ValueError("rate is 0, which would reject every request; leave it out for no limit")

    @property
    def default_credits(self) -> int:
        """Credits of the default pool at the start."""
        if self.credits is not None:
            return self.credits
        return 0 if self.workspaces else DEFAULT_CREDITS
