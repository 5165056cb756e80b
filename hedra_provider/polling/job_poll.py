"""One poll of the v3 API: a request about one job, or a page about many."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from hedra_provider.api.v3 import calls

if TYPE_CHECKING:
    from hedra_provider.api.calls import Call
    from hedra_provider.records import Generation

PAGE_ROWS = 100
"""The most rows of a page (documented)."""


class JobPollKind(Enum):
    """The endpoint of a poll."""

    STATUS = "status"
    """``GET /jobs/{id}/status``: one job. It has progress and an estimate, but neither error nor result."""

    RESULT = "result"
    """``GET /jobs/{id}``: one job that has ended, with its error, its cost and its file."""

    PAGE = "page"
    """``GET /jobs``: the newest jobs of the key's owner, without progress."""


class JobRows(NamedTuple):
    """
    The answer to a poll.

    :param rows: The jobs; a page has other jobs too. Empty if Hedra does not know the job.
    :param next_cursor: The cursor of the next page; None after the last.
    """

    rows: list[Generation]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class JobPoll:
    """
    One request.

    :param kind: The endpoint.
    :param ids: The ids of the jobs to poll.
    :param sent_at: When it is sent, in seconds on the clock of the driver.
    :param cursor: Where a page begins; None by default: at the newest job.
    """

    kind: JobPollKind
    ids: tuple[str, ...]
    sent_at: float
    cursor: str | None = None

    def call(self) -> Call[JobRows]:
        """Return the call that sends the request."""
        if self.kind is JobPollKind.PAGE:
            page = yield from calls.list_jobs(cursor=self.cursor, limit=PAGE_ROWS)
            return JobRows([row.record() for row in page.data], page.next_cursor)
        if self.kind is JobPollKind.STATUS:
            status = yield from calls.get_status(self.ids[0])
            return JobRows([] if status is None else [status.record()])
        job = yield from calls.get_job(self.ids[0])
        return JobRows([] if job is None else [job.record()])
