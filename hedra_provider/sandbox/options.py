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

_CHOICES = {
    "api": ("2", "3", "both"),
    "duplicate_id": DUPLICATE_ID_MODES,
    "idempotency": ("header", "body", "both", "ignore"),
    "key_form": ("any", "uuid"),
    "two_at_once": ("conflict", "wait", "both"),
    "compare": ("bytes", "json"),
    "lapsed_replay": ("replay", "expired"),
}

# Every time that follows from these stays before the year 9999, the last one that Python can write.
_CENTURIES_SECONDS = 28_000_000_000
_MOST = {
    "port": 65_535, "credits": 2**53, "seconds": _CENTURIES_SECONDS, "queue_seconds": _CENTURIES_SECONDS,
    "max_parallel": 2**53, "rate": 10**6, "url_seconds": _CENTURIES_SECONDS, "max_bytes": 2**53,
    "max_kept_bytes": 2**53, "usd": 2**32, "requests_per_window": 2**53,
    "window_seconds": _CENTURIES_SECONDS, "key_hours": _CENTURIES_SECONDS // 3600, "submit_seconds": 3600,
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
    api: str = _option(
        "both",
        "which API has a key. 2: /web-app/public; 3: /v3; both: each has its own key and its own money, and "
        "base_url, api_key and connection are those of API v2",
        choices=_CHOICES["api"],
    )
    api_key: str | None = _option(
        None, "the only key that is accepted; with --api 3, that of API v3 (default: a new one)"
    )
    api_key_v3: str | None = _option(
        None, "the only key that API v3 accepts, <key_id>:<secret> (default: a new one)"
    )
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
        "answer of API v2 to a generation_id that exists, which Hedra does not document. conflict: 409 "
        "ALREADY_EXISTS; return: 200 and the existing generation; error: 400 ALREADY_IN_PROGRESS or "
        "ALREADY_EXISTS; ignore: ids of clients are not used, and every submit is charged",
        choices=DUPLICATE_ID_MODES,
    )
    usd: float = _option(100.0, "balance of API v3, in US dollars", type=float)
    requests_per_window: int = _option(
        60_000, "requests to API v3 in a window; one more is answered 429; 0: no limit, and no X-RateLimit "
        "headers. Hedra has 60 in 60 seconds, which would block tests; the default is never reached",
        metavar="N", type=int,
    )  # fmt: skip
    window_seconds: float = _option(
        60.0,
        "length of that window, in seconds of the sandbox's clock, which runs with real time",
        type=float,
    )
    idempotency: str = _option(
        "header",
        "where API v3 reads the idempotency key: the header Idempotency-Key, the field idempotency_key of "
        "the body, both, or nowhere (ignore: every submit is charged)",
        choices=_CHOICES["idempotency"],
    )
    key_hours: float = _option(
        24.0,
        "after how many hours of the sandbox's clock an idempotency key is forgotten (assumed)",
        type=float,
    )
    key_form: str = _option(
        "any", "which idempotency keys are accepted (assumed)", choices=_CHOICES["key_form"]
    )
    compare: str = _option(
        "bytes",
        "how the bodies of two submits with one idempotency key are compared (assumed): bytes, or as JSON",
        choices=_CHOICES["compare"],
    )
    burn_rejected_keys: bool = _option(
        False,
        "a rejected submit uses up its idempotency key: the same submit gets the same rejection again, "
        "another body gets 409 (assumed; otherwise the key stays free)",
        action="store_true",
    )
    two_at_once: str = _option(
        "conflict",
        "answer to a submit while another one with its idempotency key is worked on (assumed). conflict: 409 "
        "ALREADY_IN_PROGRESS; wait: the answer to the first; both: both are charged",
        choices=_CHOICES["two_at_once"],
    )
    submit_seconds: float = _option(
        0.0, "how long a submit to API v3 is worked on, in seconds of real time", type=float
    )
    lapsed_replay: str = _option(
        "replay",
        "answer to a repeated submit whose upload handles have expired (assumed). replay: the first answer; "
        "expired: 400",
        choices=_CHOICES["lapsed_replay"],
    )
    batch: bool = _option(True, "GET /generations ignores ids", flag="--no-batch", action="store_false")
    media: bool = _option(
        True, "placeholder files instead of videos; rejects no upload; needs neither PyAV nor Pillow",
        flag="--no-media", action="store_false",
    )  # fmt: skip
    url_seconds: int = _option(
        3600,
        "lifetime of file URLs and of API v3's upload handles, in seconds of the sandbox's clock; an hour "
        "was observed at Hedra",
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
        # Sandbox(api=3) is as clear as Sandbox(api="3").
        object.__setattr__(self, "api", str(self.api))
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(choices)}")
        for name in ("api_key", "api_key_v3"):
            key = getattr(self, name)
            is_v3 = name == "api_key_v3" or self.api == "3"
            if key is not None and (":" in key) != is_v3:
                raise ValueError(
                    f"{name} has {'no' if is_v3 else 'a'} colon; keys of API v3 are <key_id>:<secret>, those "
                    "of API v2 have no colon"
                )
        for name, most in _MOST.items():
            value = getattr(self, name)
            # "not": also for what is no number.
            if value is not None and not 0 <= value <= most:
                raise ValueError(f"{name} is {value}; it must be 0 to {most}")
        if self.window_seconds == 0:
            raise ValueError("window_seconds is 0; for no limit, set requests_per_window to 0")
        if self.rate == 0:
            raise ValueError("rate is 0, which would reject every request; leave it out for no limit")

    @property
    def default_credits(self) -> int:
        """Credits of the default pool at the start."""
        if self.credits is not None:
            return self.credits
        return 0 if self.workspaces else DEFAULT_CREDITS
