"""Send a recorded request: durable before it leaves, recorded however it ends."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from hedra_provider.api.calls import Pause
from hedra_provider.api.errors import HedraError, HedraStateError, join_sentences
from hedra_provider.api.v3 import calls
from hedra_provider.submission.plan import Rule
from hedra_provider.submission.v3.clock import utc
from hedra_provider.submission.v3.merge import merge
from hedra_provider.submission.v3.outcome import outcome_of
from hedra_provider.submission.v3.record import (
    ACCEPTED,
    CONFLICT,
    NOT_SENT,
    RATE_LIMITED,
    REJECTED,
    UNKNOWN,
    Send,
)
from hedra_provider.submission.v3.run import JobSubmission

if TYPE_CHECKING:
    from hedra_provider.api.calls import Call
    from hedra_provider.records import Generation
    from hedra_provider.submission.v3.attempt import Attempt
    from hedra_provider.submission.v3.decide import SendRequest
    from hedra_provider.submission.v3.merge import Submit
    from hedra_provider.submission.v3.record import Intent

RESEND_PAUSES_SECONDS = (2.0, 10.0)
"""Pauses before the same bytes are sent again in this attempt, after an unknown outcome. They are few: an
API that ignores the key would take payment for each send that arrives. The task's retries send again."""

CONFLICT_PAUSES_SECONDS = (5.0, 30.0)
"""Pauses after a 409, for another attempt's record to appear, before the same bytes are sent again."""

SIBLING_SECONDS = 20.0
"""How long another attempt's send may be under way. Its record is awaited so long before the same bytes are
sent: what Hedra answers to two sends at the same moment is not documented."""

SIBLING_PAUSE_SECONDS = 5.0


def with_key(content: bytes, key: str, place: str) -> bytes:
    """
    Return a body with the idempotency key in it, where the key is sent there.

    :param content: The bytes of a JSON object.
    :param key: The idempotency key.
    :param place: ``header``, ``body`` or ``both``.
    :return: The content itself for ``header``.
    """
    if place == "header":
        return content
    return json.dumps(json.loads(content) | {"idempotency_key": key}, separators=(",", ":")).encode()


def send(attempt: Attempt, decision: SendRequest) -> Call[JobSubmission | None]:
    """
    Send the recorded bytes of a request.

    :return: The job; None if the records must be read again first.
    :raises HedraStateError: If the send could not be recorded before. Then nothing was sent.
    :raises HedraError: If it was rejected, or was not accepted in time, or its outcome is unknown.
    """
    submit, request = decision.submit, decision.request
    clock, journal = attempt.clock, attempt.journal
    if journal.is_sending_elsewhere(
        lambda other: clock.now() - other.began_at < SIBLING_SECONDS, attempt.run.step, submit.n
    ):
        yield Pause(SIBLING_PAUSE_SECONDS)
        return None
    content = attempt.content_of(request)
    intent = journal.own_of(request.intent)
    intent = replace(intent, sends=(*intent.sends, Send(began_at=clock.now())))
    journal.put(intent)
    if content is None or _is_overtaken(attempt, submit, intent, until=submit.replay_until(request)):
        journal.put(_ended(intent, NOT_SENT))
        return None
    key, place = request.intent.idempotency_key, request.intent.place
    if submit.is_outcome_unknown:
        attempt.run.notify(
            f"The outcome of the submit of {utc(submit.began_at)} is unknown. The same bytes are sent again "
            "with "
            f"the same idempotency key, so nothing is paid twice (key {key})."
        )
    try:
        answer = yield from calls.submit_job(request.intent.model, content, idempotency_key=key, place=place)
    except HedraError as error:
        yield from _failed(attempt, submit, intent, error)
        return None
    job = answer.record()
    return _accepted(attempt, submit, _ended(intent, ACCEPTED, 202, job_id=job.id), job)


def _is_overtaken(attempt: Attempt, submit: Submit, intent: Intent, until: float) -> bool:
    """
    Return whether a send must not leave any more, although it is recorded.

    It is recorded first and checked then. Another attempt that closes this submit writes that first, and then
    checks for sends. So at least one of the two sees the other.
    """
    if attempt.clock.now() >= until:
        return True
    records = attempt.journal.without_last_send(attempt.journal.read(), intent)
    now = next(one for one in merge(records, attempt.run.step) if one.n == submit.n)
    return now.job_id is not None or now.is_closed(attempt.clock.now())


def _ended(
    intent: Intent, outcome: str, status_code: int | None = None, *, job_id: str | None = None
) -> Intent:
    """Return an intent whose last send has ended."""
    last = replace(intent.sends[-1], outcome=outcome, status_code=status_code)
    return replace(intent, sends=(*intent.sends[:-1], last), job_id=job_id or intent.job_id)


def _accepted(attempt: Attempt, submit: Submit, intent: Intent, job: Generation) -> JobSubmission | None:
    """Record a job. Whatever fails now, it is paid for, so it is returned."""
    job_id = job.id
    attempt.put_if_possible(intent, f"Job {job_id}, which is submitted and paid for,")
    attempt.name_job(job_id)
    paid_here = True
    try:
        now = attempt.submit(submit.n)
    except HedraStateError:
        now = submit
    if now.job_id and now.job_id != job_id:
        attempt.run.notify(
            f"Hedra made two jobs for one idempotency key: {now.job_id} and {job_id}. Both may be paid for. "
            f"This task continues with {now.job_id} (key {intent.idempotency_key})."
        )
        return None
    if now.job_request and now.job_request.fingerprint != intent.fingerprint:
        # Hedra answered with the job of another request under the same key: it does not compare bodies.
        return None
    if now.paying_group is not None:
        paid_here = now.paying_group == attempt.run.attempt_group
    return JobSubmission(
        generation=replace(job, status=job.status or "queued", model=job.model or intent.model),
        n=submit.n,
        rule=attempt.rule or (Rule.PAID_BY_US if paid_here else Rule.SAME),
        adopted=False,
        paid_here=paid_here,
    )


def _failed(attempt: Attempt, submit: Submit, intent: Intent, error: HedraError) -> Call[None]:
    """Record how a send failed. Pause if it is to be sent again in this attempt, else raise."""
    outcome = outcome_of(error)
    attempt.put_if_possible(
        _ended(intent, outcome, error.status_code), f"The end of the send of {utc(intent.sends[-1].began_at)}"
    )
    was_unknown = _is_unknown_now(attempt, submit)
    error.outcome_unknown = was_unknown or outcome in (UNKNOWN, CONFLICT)
    if outcome in (RATE_LIMITED, NOT_SENT):
        yield from _repeat_in_place(attempt, error)
    elif outcome == CONFLICT:
        yield from _after_conflict(attempt, submit, intent, error)
    elif outcome == REJECTED:
        if was_unknown:
            # The lost send may have been accepted: this answer may be its consequence, e.g. an empty wallet.
            error.retryable = True
            error.message = join_sentences(error.message, _may_be_paid(submit))
        raise error
    else:
        yield from _after_unknown(attempt, submit, error)


def _is_unknown_now(attempt: Attempt, submit: Submit) -> bool:
    """Return whether another send of a submit may have been accepted, by the records as they are now."""
    try:
        return attempt.submit(submit.n).is_outcome_unknown
    except HedraStateError:
        return True


def _repeat_in_place(attempt: Attempt, error: HedraError) -> Call[None]:
    """Pause before a send that was surely not accepted is repeated with the same key and bytes."""
    run = attempt.run
    pause = max(error.retry_after or 0.0, min(2.0**attempt.rate_limits, 10.0)) * (1.0 + run.jitter())
    if not error.retryable or attempt.waited_seconds + pause > run.retry_in_place_seconds:
        raise error
    if not attempt.rate_limits:
        run.notify(
            f"{join_sentences(error.message)} The submit was not accepted and cost nothing. It is repeated "
            "for "
            f"up to {run.retry_in_place_seconds:.0f} s, first in {pause:.0f} s."
        )
    attempt.rate_limits, attempt.waited_seconds = attempt.rate_limits + 1, attempt.waited_seconds + pause
    yield Pause(pause)


def _after_conflict(attempt: Attempt, submit: Submit, intent: Intent, error: HedraError) -> Call[None]:
    """
    After a 409: another send has the key. Wait for the record of its job, then send the same bytes
    again.
    """
    place = submit.n, intent.digest
    count = attempt.conflicts[place] = attempt.conflicts.get(place, 0) + 1
    if count > len(CONFLICT_PAUSES_SECONDS):
        attempt.exhausted.add(place)
        return
    pause = CONFLICT_PAUSES_SECONDS[count - 1]
    attempt.run.notify(
        join_sentences(
            f"Hedra answered the submit with a conflict: {error.message}",
            "Another send has its idempotency key. Nothing is submitted with another key. The records are "
            "read "
            f"again in {pause:.0f} s (key {intent.idempotency_key})",
        )
    )
    yield Pause(pause)


def _after_unknown(attempt: Attempt, submit: Submit, error: HedraError) -> Call[None]:
    """
    After a lost answer: pause before the same bytes are sent again, or leave that to the task's
    retries.
    """
    attempt.unknown_outcomes += 1
    if attempt.unknown_outcomes > len(RESEND_PAUSES_SECONDS):
        error.retryable = True
        error.message = join_sentences(error.message, _may_be_paid(submit))
        raise error
    pause = RESEND_PAUSES_SECONDS[attempt.unknown_outcomes - 1]
    attempt.run.notify(
        join_sentences(
            f"Outcome of the submit unknown: {error.message}", f"It is sent again in {pause:.0f} s"
        )
    )
    yield Pause(pause)


def _may_be_paid(submit: Submit) -> str:
    until = max(submit.replay_until(request) for request in submit.requests)
    return (
        f"The submit of {utc(submit.began_at)} may be accepted and paid for. A retry until {utc(until)} "
        "sends the "
        "same bytes with the same idempotency key, so nothing is paid twice; a later one searches Hedra's "
        "jobs "
        f"(key {submit.idempotency_key})"
    )
