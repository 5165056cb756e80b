"""A round of pages: the list of jobs, read from the newest on until every waiting job was seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from hedra_provider.polling.job_poll import JobPoll

PAGE_WORTH = 3
"""How many waiting jobs a page must show to be worth its request."""


@dataclass
class PageRound:
    """
    The state of a round, without I/O.

    :param awaited: The ids that no page of the round has shown yet, as keys: in a fixed order, found quickly.
    :param began: When it began.
    :param oldest: The creation time of the oldest awaited job; None if that of one is not known.
    :param cursor: Where the next page begins; None by default: at the newest job.
    :param sent: The page that is requested now; None without one.
    :param read_to_the_end: Whether no further page can show an awaited job.
    """

    awaited: dict[str, None]
    began: float
    oldest: datetime | None = None
    cursor: str | None = None
    sent: JobPoll | None = None
    read_to_the_end: bool = False
    _useless: int = 0
    _has_restarted: bool = False

    def read(
        self, shown: Collection[str], last_created: datetime | None, next_cursor: str | None, missing: int
    ) -> bool:
        """
        Note a page.

        Useless pages in a row may be as many as a third of the jobs that are missing: so a round never costs
        much more than the status requests that it saves.

        :param shown: The awaited ids that the page showed.
        :param last_created: The creation time of its last row; None if not known.
        :param next_cursor: The cursor of the next page; None after the last.
        :param missing: How many awaited jobs no page has shown yet.
        :return: Whether to request the next page.
        """
        self.sent, self.cursor = None, next_cursor
        self._useless = 0 if len(shown) >= PAGE_WORTH else self._useless + 1
        is_past = self.oldest is not None and last_created is not None and last_created < self.oldest
        self.read_to_the_end = (
            next_cursor is None or is_past or self._useless >= max(1, missing // PAGE_WORTH)
        )
        return not self.read_to_the_end and missing >= PAGE_WORTH

    def restart(self) -> bool:
        """
        Begin again at the newest job, after Hedra rejected the cursor: a slow round may outlive it.

        :return: Whether the round goes on. It restarts once.
        """
        self.sent, goes_on = None, self.cursor is not None and not self._has_restarted
        self.cursor, self._has_restarted = None, True
        return goes_on
