"""Whether a job in Hedra's list may be the one whose answer was lost. Pure.

Nothing in the list proves whose a job is: every task uses the same default prompt, and a length is shared by
many. So only the absence of candidates counts, and a candidate is named, not adopted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hedra_provider.submission.v3.clock import epoch_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hedra_provider.records import Generation
    from hedra_provider.submission.v3.record import TryRecord

CLOCK_TOLERANCE_SECONDS = 5 * 60.0
"""How long before the intent the search begins."""

SEARCHABLE_SECONDS = 3 * 24 * 3600.0
"""
How long after the intent "none" counts: about four days after its submit Hedra erases a job
(documented).
"""


def searched_since(intent_at: float) -> float:
    """Return the time of the oldest job that may be a candidate, epoch seconds."""
    return intent_at - CLOCK_TOLERANCE_SECONDS


def is_older(job: Generation, since: float) -> bool:
    """
    Return whether a job surely existed before the search begins.

    :param job: A row of the list.
    :param since: Of :func:`searched_since`.
    """
    created_at = epoch_of(job.created_at)
    return created_at is not None and created_at < since


def candidates(
    jobs: Iterable[Generation],
    since: float,
    records: Iterable[TryRecord],
    is_named_elsewhere: Callable[[str], bool],
) -> list[Generation]:
    """
    Return the jobs that may be the lost one.

    :param jobs: Rows of the list of the model's jobs.
    :param since: Of :func:`searched_since`.
    :param records: All records of the key: a job that they name is not lost.
    :param is_named_elsewhere: Whether a record of another key names a job.
    :return: Those that did not fail and that no record names. A job without a readable time counts.
    """
    named = {intent.job_id for record in records for intent in record.intents if intent.job_id}
    return [
        job
        for job in jobs
        if not job.is_failed
        and not is_older(job, since)
        and job.id not in named
        and not is_named_elsewhere(job.id)
    ]
