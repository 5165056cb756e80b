"""Search Hedra's list after a 409, or when a recorded request may not be sent again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hedra_provider.api.calls import Pause
from hedra_provider.api.errors import HedraError, HedraStateError
from hedra_provider.api.v3 import calls
from hedra_provider.submission.v3.clock import utc
from hedra_provider.submission.v3.merge import SETTLED_SECONDS
from hedra_provider.submission.v3.record import NONE_FOUND
from hedra_provider.submission.v3.search import (
    SEARCHABLE_SECONDS,
    candidates,
    is_older,
    searched_since,
)

if TYPE_CHECKING:
    from hedra_provider.api.calls import Call
    from hedra_provider.records import Generation
    from hedra_provider.submission.v3.attempt import Attempt
    from hedra_provider.submission.v3.merge import Submit

SEARCHES = 2
"""How many searches must find the same: none, or a candidate."""

SEARCH_AGAIN_SECONDS = 15.0
"""The least pause between two searches. Meanwhile another task may record that a job is its own."""

READ_AGAIN_SECONDS = 60.0
"""How often the records are read during a longer pause: another attempt may learn of the job."""

ANSWER_SECONDS = 3 * 60.0
"""How long the answer to a send may take: longer than the timeouts of the client."""

MAX_PAGES = 100
PAGE_ROWS = 100
_NAMED_CANDIDATES = 5

WAYS_ON = (
    'If it is yours, set generation_id="job_..." to adopt it without paying. If none is yours, set '
    'on_clear="new" '
    "and clear the task, or give it another idempotency_key: both pay for a new one."
)


def search(attempt: Attempt, submit: Submit) -> Call[None]:
    """
    Do the next part of a search: a pause, or one reading of the list. The caller reads the records between.

    When two searches found none, the last at least ten minutes after the last send, the submit is closed.

    :raises HedraStateError: If a candidate is left, or the list can't decide. Nothing is paid.
    :raises HedraError: If Hedra could not be asked.
    """
    _require_decidable(attempt, submit)
    if attempt.clock.now() < attempt.search_again_at:
        yield Pause(min(READ_AGAIN_SECONDS, attempt.search_again_at - attempt.clock.now()))
        return
    since = searched_since(submit.began_at)
    began_at = attempt.clock.now()
    try:
        found = candidates(
            (yield from _jobs_since(attempt, submit, since)),
            since,
            attempt.journal.read(),
            attempt.store.is_named_elsewhere,
        )
    except HedraError as error:
        error.outcome_unknown = True
        raise
    counts = attempt.sightings if found else attempt.searches
    (attempt.searches if found else attempt.sightings).pop(submit.n, None)
    count = counts[submit.n] = counts.get(submit.n, 0) + 1
    settled_at = (submit.last_send_at or submit.began_at) + SETTLED_SECONDS
    if found:
        if count >= SEARCHES and not _may_be_answered(attempt, submit):
            raise (yield from _candidates_left(attempt, submit, found))
        _search_again(attempt, submit, SEARCH_AGAIN_SECONDS, f"found {len(found)} that may be its job")
        return
    if count >= SEARCHES and began_at >= settled_at:
        intent = attempt.journal.own_of(submit.requests[0].intent)
        attempt.journal.put(replace(intent, closed=NONE_FOUND, closed_at=began_at))
        attempt.run.notify(
            f"Hedra has no job of the submit of {utc(submit.began_at)}: it was not accepted and cost nothing "
            f"(key {submit.idempotency_key})."
        )
        return
    pause = max(SEARCH_AGAIN_SECONDS, min(settled_at - attempt.clock.now(), SETTLED_SECONDS))
    _search_again(attempt, submit, pause, "found none of its jobs")


def _may_be_answered(attempt: Attempt, submit: Submit) -> bool:
    """Return whether another attempt may still get the answer that names the job."""
    now = attempt.clock.now()
    return attempt.journal.is_sending_elsewhere(
        lambda send: now - send.began_at < ANSWER_SECONDS, attempt.run.step, submit.n
    )


def _search_again(attempt: Attempt, submit: Submit, pause: float, what: str) -> None:
    attempt.search_again_at = attempt.clock.now() + pause
    attempt.run.notify(
        f"The outcome of the submit of {utc(submit.began_at)} is unknown, and it may not be sent again. A "
        "search "
        f"of Hedra's jobs {what}. That is checked again at {utc(attempt.search_again_at)}, in {pause:.0f} s; "
        f"until then nothing is submitted (key {submit.idempotency_key})."
    )


def _require_decidable(attempt: Attempt, submit: Submit) -> None:
    """
    Reject a search whose "none" would prove nothing.

    :raises HedraStateError: If the intent is another owner's, or too old.
    """
    if any(request.intent.owner != attempt.run.owner for request in submit.requests if request.sends):
        raise _stop(
            submit,
            "It was made with an API key of another owner, whose jobs this key does not list",
            "Put a key of that owner into the connection, or check its jobs in Hedra's console",
        )
    if attempt.clock.now() - submit.began_at > SEARCHABLE_SECONDS:
        raise _stop(
            submit,
            "It is older than three days, and Hedra erases jobs after about four",
            "Check the bill in Hedra's console",
        )


def _stop(submit: Submit, why: str, first: str) -> HedraStateError:
    error = HedraStateError(
        f"The outcome of the submit of {utc(submit.began_at)} is unknown: it may be paid for. {why}. "
        "Nothing more "
        "is submitted.",
        retryable=False,
        remedy=f"{first}. {WAYS_ON} (Key {submit.idempotency_key}.)",
    )
    error.outcome_unknown = True
    return error


def _jobs_since(attempt: Attempt, submit: Submit, since: float) -> Call[list[Generation]]:
    """
    Return the jobs of the submit's models from a time on, newest first.

    :raises HedraStateError: If the list is too long to be read.
    """
    found: list[Generation] = []
    for model in dict.fromkeys(request.intent.model for request in submit.requests):
        cursor = None
        for _ in range(MAX_PAGES):
            page = yield from calls.list_jobs(model=model, cursor=cursor, limit=PAGE_ROWS)
            rows = [row.record() for row in page.data]
            found += [row for row in rows if not is_older(row, since)]
            cursor = page.next_cursor
            if not cursor or (rows and all(is_older(row, since) for row in rows)):
                break
        else:
            raise _stop(
                submit,
                f"Its job may be among more than {MAX_PAGES * PAGE_ROWS} jobs of {model} since then",
                "Check the jobs of that time in Hedra's console",
            )
    return found


def _candidates_left(attempt: Attempt, submit: Submit, found: list[Generation]) -> Call[HedraStateError]:
    """Return the error that names the candidates, with what they cost where Hedra says it."""
    lines = []
    for job in found[:_NAMED_CANDIDATES]:
        cost = ""
        try:
            whole = yield from calls.get_job(job.id)
        except HedraError:
            whole = None
        if whole is not None and whole.record().cost is not None:
            cost = f", {whole.record().cost} {whole.record().currency or 'USD'}"
        lines.append(f"{job.id} ({job.created_at or 'time not known'}, {job.status}{cost})")
    more = f" and {len(found) - len(lines)} more" if len(found) > len(lines) else ""
    return _stop(
        submit,
        f"Hedra has {len(found)} job{'s' if len(found) > 1 else ''} since then that no record names, and "
        "nothing "
        f"proves whose they are: {'; '.join(lines)}{more}",
        "Compare them in Hedra's console",
    )
