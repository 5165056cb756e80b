"""Whether the list of jobs works, as far as its answers show. If it does not, jobs are polled one by one."""

from __future__ import annotations

import math

LIST_REST_SECONDS = 60.0
"""How long a list that fails is not requested, and how long a job that it lacks is polled alone."""

LIST_FAILURES = 3
"""After so many failed lists in a row, the status endpoint is tried."""


class ListHealth:
    """The health of the list. Times are seconds on the clock of the driver."""

    def __init__(self) -> None:
        self._failures = 0
        self._again_at = -math.inf
        self.is_down_alone = False
        """Whether the list fails while the status endpoint answers."""

    def is_usable(self, now: float) -> bool:
        """Return whether to request the list now."""
        return now >= self._again_at

    def answered(self) -> None:
        """Note a good answer of the list."""
        self._failures, self.is_down_alone = 0, False

    def status_answered(self, now: float) -> None:
        """Note a good answer of the status endpoint: if the list keeps failing, it fails alone."""
        if self._failures >= LIST_FAILURES and not self.is_down_alone:
            self.is_down_alone = True
            self.rest(now)

    def failed(self) -> bool:
        """Note that the list failed; return whether to try the status endpoint."""
        self._failures += 1
        return self._failures >= LIST_FAILURES

    def rest(self, now: float) -> None:
        """Request no list for a minute."""
        self._again_at = now + LIST_REST_SECONDS
