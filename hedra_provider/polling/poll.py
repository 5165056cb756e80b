"""One poll: a request about one generation or many."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from hedra_provider.api import calls
from hedra_provider.api.calls import Call

if TYPE_CHECKING:
    from hedra_provider.api.responses import Generation

PAGE_ROWS = 100
"""The rows of a page where ``limit`` is not given (documented)."""


class PollKind(Enum):
    """Which endpoint a poll asks."""

    STATUS = "status"
    """``GET /generations/{id}/status``: one generation. It has the last word."""

    BATCH = "batch"
    """``GET /generations?ids=``: several generations."""

    PAGE = "page"
    """``GET /generations``: the newest generations, whoever asks."""


@dataclass(frozen=True, slots=True)
class Poll:
    """
    One request.

    :param kind: Which endpoint it asks.
    :param ids: The generations that it is for, in lower case.
    :param sent_at: Seconds on the clock of the driver.
    :param offset: The first row of a page.
    :param created_after: The oldest generation of a page, ISO 8601.
    """

    kind: PollKind
    ids: tuple[str, ...]
    sent_at: float
    offset: int = 0
    created_after: str | None = None

    def call(self) -> Call[list[Generation]]:
        """Return the call that sends it; its answer may hold generations that nobody asked for."""
        if self.kind is PollKind.STATUS:
            found = yield from calls.get_status(self.ids[0])
            return [] if found is None else [found]
        if self.kind is PollKind.BATCH:
            return (yield from calls.list_as_answered(self.ids, limit=max(len(self.ids), PAGE_ROWS)))
        since = {} if self.created_after is None else {"created_after": self.created_after}
        return (yield from calls.list_as_answered(limit=PAGE_ROWS, offset=self.offset, **since))
