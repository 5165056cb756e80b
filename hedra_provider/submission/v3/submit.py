"""Submit once on v3: adopt, send again, search or begin, as the records decide.

An operator calls :func:`resume_job` first, which needs no request: no file is read, no template counts. If
that returns None, it drafts the request and calls :func:`obtain_job`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hedra_provider.api.errors import HedraError, HedraNotFoundError, HedraStateError, HedraValueError
from hedra_provider.api.v3 import calls
from hedra_provider.records import Generation, version_of_id
from hedra_provider.submission.plan import Rule
from hedra_provider.submission.v3 import decide as deciding
from hedra_provider.submission.v3.attempt import Attempt
from hedra_provider.submission.v3.clock import utc
from hedra_provider.submission.v3.journal import Journal
from hedra_provider.submission.v3.record import Intent, digest_of
from hedra_provider.submission.v3.run import JobDraft, JobRun, JobSubmission, PreparedBody
from hedra_provider.submission.v3.searching import search
from hedra_provider.submission.v3.sending import send, with_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hedra_provider.api.calls import Call
    from hedra_provider.submission.v3.merge import Submit
    from hedra_provider.submission.v3.record import TryRecord
    from hedra_provider.submission.v3.store import RecordStore

__all__ = [
    "JobDraft",
    "JobRun",
    "JobSubmission",
    "PreparedBody",
    "adopt_job",
    "check_job",
    "note_outcome",
    "note_v2_generation",
    "obtain_job",
    "resume_job",
]

UNLISTED_SECONDS = 10 * 60.0
"""How long after its submit a job that Hedra does not know may still appear: then it is waited for."""


def resume_job(run: JobRun, store: RecordStore) -> Call[JobSubmission | None]:
    """
    Continue with what the records say, without a request: adopt a job, or send recorded bytes again.

    :param run: The attempt.
    :param store: Where its records are kept.
    :return: The job; None if nothing is paid for or under way, so that a request is needed for
        :func:`obtain_job`.
    :raises HedraStateError: If a record can't be read or written, or an outcome stays unknown: nothing is
        paid.
    :raises HedraError: As :func:`obtain_job`.
    """
    attempt = Attempt(run, store)
    found = yield from attempt.clock.watch(_carry_out(attempt, None))
    return found if isinstance(found, JobSubmission) else None


def check_job(run: JobRun, draft: JobDraft, store: RecordStore) -> Call[JobSubmission | Rule]:
    """
    Find the job of a request, as :func:`obtain_job`, but begin no new submit: nothing is uploaded.

    :param run: The attempt.
    :param draft: The request.
    :param store: Where the records are kept.
    :return: The job; else why a new submit is needed.
    :raises HedraError: As :func:`obtain_job`.
    """
    attempt = Attempt(run, store)
    found = yield from attempt.clock.watch(_carry_out(attempt, draft, begin=False))
    if found is None:
        raise AssertionError("a request that is known is always decided")
    return found


def obtain_job(run: JobRun, draft: JobDraft, store: RecordStore) -> Call[JobSubmission]:
    """
    Return the job of a request: one that is paid for already, else a new one.

    An outcome that stays unknown after the replay window is searched in Hedra's list. Before "none" counts,
    up to ten minutes pass here, in pauses; ``run.notify`` receives a line that says until when.

    :param run: The attempt.
    :param draft: The request.
    :param store: Where the records are kept.
    :return: The job.
    :raises HedraStateError: If a record can't be read or written, or an outcome stays unknown: nothing is
        paid.
    :raises HedraError: If the submit was rejected or rate-limited, or its outcome is unknown
        (``outcome_unknown``). A retry sends the same bytes again.
    """
    attempt = Attempt(run, store)
    found = yield from attempt.clock.watch(_carry_out(attempt, draft))
    if not isinstance(found, JobSubmission):
        raise AssertionError("a request that is known is always decided")
    return found


def _carry_out(
    attempt: Attempt, draft: JobDraft | None, *, begin: bool = True
) -> Call[JobSubmission | Rule | None]:
    """Read the records, decide, act; until there is a job, or a request or a new submit is needed."""
    while True:
        _require_no_v2(attempt.journal.read())
        submits = attempt.submits()
        yield from _learn_time(attempt, submits)
        decision = deciding.decide(submits, attempt.facts(draft), attempt.jobs)
        if isinstance(decision, deciding.AskStatus):
            status = yield from calls.get_status(decision.job_id)
            attempt.jobs[decision.job_id] = status.record() if status else None
        elif isinstance(decision, deciding.Adopt):
            return _adopted(attempt, decision)
        elif isinstance(decision, deciding.SendRequest):
            submission = yield from send(attempt, decision)
            if submission is not None:
                return submission
        elif isinstance(decision, deciding.SearchJobs):
            yield from search(attempt, decision.submit)
        elif isinstance(decision, deciding.Begin) and not begin:
            return decision.rule
        elif isinstance(decision, deciding.Begin) and draft is not None:
            yield from _begin(attempt, decision, draft)
        else:
            return None


def _learn_time(attempt: Attempt, submits: list[Submit]) -> Call[None]:
    """Read Hedra's clock if a replay window decides what is done next."""
    undecided = [one for one in submits if one.job_id is None]
    try:
        if undecided:
            yield from attempt.learn_time()
    except HedraError as error:
        error.outcome_unknown = any(one.is_outcome_unknown for one in undecided)
        raise


def _begin(attempt: Attempt, decision: deciding.Begin, draft: JobDraft) -> Call[None]:
    """Upload, and make the intent durable. The next decision sends it."""
    run = attempt.run
    for submit in decision.maybe_paid:
        run.notify(_passed_over(submit))
    prepared = yield from draft.make_body()
    yield from attempt.learn_time()
    key = run.idempotency_key(decision.n)
    content = with_key(prepared.content, key, run.place)
    attempt.journal.put(
        Intent(
            step=run.step,
            n=decision.n,
            idempotency_key=key,
            place=run.place,
            model=draft.model,
            fingerprint=draft.fingerprint,
            attempt_group=run.attempt_group,
            owner=run.owner,
            began_at=attempt.clock.now(),
            handles_expire_at=prepared.handles_expire_at,
            digest=digest_of(content),
            body=attempt.cipher.encrypt(content),
        )
    )
    attempt.rule = decision.rule


def _passed_over(submit: Submit) -> str:
    return (
        f"The submit of {utc(submit.began_at)} may be accepted and paid for: its outcome is unknown. It has "
        "another "
        "request, of before a clear or of another task. This request is submitted and paid for besides it "
        f"(key {submit.idempotency_key})."
    )


def _adopted(attempt: Attempt, decision: deciding.Adopt) -> JobSubmission:
    """
    Continue with a job.

    :raises HedraStateError: If Hedra does not know it any more.
    """
    submit, job, job_id = decision.submit, decision.job, str(decision.submit.job_id)
    if job is None:
        if attempt.clock.now() - submit.began_at > UNLISTED_SECONDS:
            raise HedraStateError(
                f"The job of {utc(submit.began_at)} is paid for, but Hedra does not know it any more, or "
                "this API "
                "key does not own it. Nothing more is submitted.",
                generation_id=job_id,
                retryable=False,
                remedy='Hedra erases jobs after about four days. To pay for a new one, set on_clear="new" '
                "and "
                "clear the task, or give it another idempotency_key.",
            )
        job = Generation(id=job_id, status="queued")
    attempt.name_job(job_id)
    return JobSubmission(
        generation=job,
        n=submit.n,
        rule=decision.rule,
        adopted=True,
        paid_here=submit.paying_group == attempt.run.attempt_group,
    )


def _require_no_v2(records: Iterable[TryRecord]) -> None:
    """
    Stop a v3 submit of a task run that submitted with API v2 before its key was replaced.

    :raises HedraStateError: If a record names a generation of v2.
    """
    ids = [one for record in records for one in record.v2_generation_ids]
    if ids:
        raise HedraStateError(
            "This task run submitted with a v2 key, and the connection has a v3 key now. v3 does not find "
            "what v2 "
            "was paid for, so nothing more is submitted.",
            generation_id=ids[-1],
            retryable=False,
            remedy="Put the v2 key back until the task has ended, or fetch the result with "
            "HedraDownloadOperator "
            'and the v2 key. To pay on v3, set on_clear="new" and clear the task, or give it another '
            "idempotency_key.",
        )


def adopt_job(run: JobRun, store: RecordStore, generation_id: str) -> Call[JobSubmission]:
    """
    Continue with a job that the user names, and record it, so that retries keep to it. Nothing is paid.

    :param run: The attempt.
    :param store: Where its records are kept.
    :param generation_id: The id of the job, ``job_...``.
    :return: The job.
    :raises HedraValueError: If it is no id of a v3 job.
    :raises HedraNotFoundError: If Hedra does not know the job.
    :raises HedraStateError: If it can't be recorded.
    """
    if version_of_id(generation_id) != 3:
        raise HedraValueError(
            f"generation_id: {generation_id!r} is no id of a v3 job.",
            param="generation_id",
            remedy="Give the id that Hedra's console shows, job_...; with a v3 key a v2 generation can't be "
            "adopted.",
        )
    attempt = Attempt(run, store)
    return (yield from attempt.clock.watch(_adopt_named(attempt, generation_id)))


def _adopt_named(attempt: Attempt, job_id: str) -> Call[JobSubmission]:
    status = yield from calls.get_status(job_id)
    if status is None:
        raise HedraNotFoundError(
            "Hedra does not know this job, or this API key does not own it.",
            status_code=404,
            generation_id=job_id,
            retryable=False,
            remedy="Check generation_id. Hedra erases jobs after about four days.",
        )
    job, run = status.record(), attempt.run
    submits = attempt.submits()
    known = next((one for one in submits if one.job_id == job_id), None)
    # The submit whose answer was lost has this job, if there is one. It was paid for by its attempt group.
    lost = next((one for one in reversed(submits) if one.is_outcome_unknown), None)
    if known is None:
        n = lost.n if lost else max((one.n for one in submits), default=-1) + 1
        origin = lost.requests[0].intent if lost else None
        attempt.journal.put(
            Intent(
                step=run.step,
                n=n,
                idempotency_key=lost.idempotency_key if lost else run.idempotency_key(n),
                place=run.place,
                model=job.model or (origin.model if origin else ""),
                fingerprint=origin.fingerprint if origin else "",
                attempt_group=run.attempt_group,
                owner=run.owner,
                began_at=origin.began_at if origin else attempt.clock.now(),
                job_id=job_id,
                is_adopted=True,
            )
        )
    else:
        n = known.n
    attempt.name_job(job_id)
    # A job that no record knows was not paid for by this task run, as far as anyone can say.
    paid_here = known.paying_group == run.attempt_group if known else lost is not None
    return JobSubmission(generation=job, n=n, rule=Rule.PAID_BY_US, adopted=True, paid_here=paid_here)


def note_outcome(run: JobRun, store: RecordStore, job: Generation) -> None:
    """
    Record that a job ended, so that a later attempt need not ask Hedra, which erases jobs after some days.

    :param run: The attempt.
    :param store: Where its records are kept.
    :param job: The job, complete or failed; another status is ignored.
    :raises HedraStateError: If it can't be recorded.
    """
    if not job.is_finished:
        return
    attempt = Attempt(run, store)
    submit = next((one for one in attempt.submits() if one.job_id == job.id), None)
    if submit and submit.job_request and submit.job_status is None:
        intent = attempt.journal.own_of(submit.job_request)
        status = "error" if job.is_failed else "complete"
        attempt.journal.put(replace(intent, job_id=job.id, job_status=status))


def note_v2_generation(
    store: RecordStore, *, key: str, try_id: str, attempt_group: str, generation_ids: Iterable[str]
) -> None:
    """
    Record what an attempt submits with API v2. If the key is replaced by a v3 key, a retry stops.

    :param store: Where the records are kept.
    :param key: The task run's key.
    :param try_id: Names the attempt.
    :param attempt_group: The attempts since the last clear.
    :param generation_ids: What is submitted.
    :raises HedraStateError: If it can't be recorded.
    """
    Journal(store, key=key, try_id=try_id, attempt_group=attempt_group).put_v2(tuple(generation_ids))
