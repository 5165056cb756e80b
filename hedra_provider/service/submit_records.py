"""Where a process of a task run keeps the records of its submits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hedra_provider.submission.v3.store import RecordStore


def _ignore(sentence: str) -> None:
    """Take a sentence for a log that nobody reads."""


@dataclass(frozen=True, kw_only=True)
class SubmitRecords:
    """
    The records of one process of a task run.

    :param store: Where they are kept: durable, and read by every worker.
    :param try_id: Names this process. No two processes share one.
    :param step: The paid step that makes the result: ``avatar``, or ``job`` for any other request.
    :param notify: Receives a sentence for the log when a submit waits, is sent again or is set aside.
        Default: nobody reads it.
    """

    store: RecordStore
    try_id: str
    step: str
    notify: Callable[[str], None] = _ignore
