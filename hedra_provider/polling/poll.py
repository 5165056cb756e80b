"""One poll: a request about one generation or many."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from hedra_provider.api import calls
from hedra_provider.api.calls import Call

if TYPE_CHECKING:
    from hedra_provider.records import Generation

PAGE_ROWS = 100
"""The rows of a page without ``limit`` (documented)."""


class PollKind(Enum):
    """The endpoint of a poll."""

    STATUS = "status"
    """``GET /generations/{id}/status``: one generation. Its answer has precedence over the list."""

    BATCH = "batch"
    """``GET /generations?ids=``: several generations."""

    PAGE = "page"
    """``GET /generations``: the newest generations of the account."""


@dataclass(frozen=True, slots=True)
class Poll:
    """
    One request.

    :param kind: The endpoint.
    :param ids: The ids of the generations to poll, in lower case.
    :param sent_at: When it is sent, in seconds on the clock of the driver.
    :param offset: The first row of a page, 0 by default.
    :param created_after: The creation time from which a page is read, ISO 8601; None by default: all.
    """

    kind: PollKind
    ids: tuple[str, ...]
    sent_at: float
    offset: int = 0
    created_after: str | None = None

    def call(self) -> Call[list[Generation]]:
        """Return the call that sends the request; its answer may have other generations too."""
        if self.kind is PollKind.STATUS:
            found = yield from calls.get_status(self.ids[0])
            return [] if found is None else [found]
        if self.kind is PollKind.BATCH:
            return (yield from calls.list_as_answered(self.ids, limit=max(len(self.ids), PAGE_ROWS)))
        since = {} if self.created_after is None else {"created_after": self.created_after}
        return (yield from calls.list_as_answered(limit=PAGE_ROWS, offset=self.offset, **since))
