"""The sandbox's time: real time plus an offset, so that a test moves the clock instead of sleeping."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def iso(epoch_seconds: float) -> str:
    """Format a time as Hedra does: ISO 8601 in UTC.

    :param epoch_seconds: seconds since 1970.
    """
    return datetime.fromtimestamp(epoch_seconds, UTC).isoformat().replace("+00:00", "Z")


# The years 1971 to 7990. Python can write years up to 9999, and generations may take centuries.
_EARLIEST_SECONDS = 31_536_000.0
_LATEST_SECONDS = 190_000_000_000.0


class Clock:
    """Real time plus an offset that tests change."""

    def __init__(self) -> None:
        self.offset_seconds = 0.0

    def now(self) -> float:
        """Return seconds since 1970."""
        return time.time() + self.offset_seconds

    def advance(self, seconds: float) -> None:
        """Move the clock.

        :param seconds: how far; negative moves it back.
        :raises ValueError: if the clock would leave the years 1971 to 7990.
        """
        if not _EARLIEST_SECONDS <= self.now() + seconds <= _LATEST_SECONDS:
            raise ValueError(f"advance_seconds is {seconds}; the clock must stay in the years 1971 to 7990")
        self.offset_seconds += seconds
