"""Decide what an attempt does next, from the merged records and what Hedra says of their jobs. Pure.

The states and actions are the table of :mod:`hedra_provider.submission.v3`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hedra_provider.records import ERROR
from hedra_provider.submission.plan import Rule
from hedra_provider.submission.v3.merge import Submit

if TYPE_CHECKING:
    from hedra_provider.records import Generation
    from hedra_provider.submission.v3.merge import Request


@dataclass(frozen=True, kw_only=True)
class Facts:
    """
    What an attempt knows of itself.

    :param attempt_group: Its attempt group.
    :param fingerprint: Of the request as it is now; None before there is one.
    :param now: Epoch seconds by Hedra's clock.
    :param can_read: Whether the body of a request can be decrypted.
    :param exhausted: The digests of bodies that Hedra answered with 409, too often to send them again now.
    """

    attempt_group: str
    fingerprint: str | None
    now: float
    can_read: Callable[[Request], bool]
    exhausted: frozenset[tuple[int, str]] = frozenset()


@dataclass(frozen=True)
class AskStatus:
    """Ask Hedra for the status of a job, then decide again."""

    job_id: str


@dataclass(frozen=True)
class Adopt:
    """
    Continue with a job that exists.

    :param submit: The submit that made it.
    :param job: Its latest status; None if Hedra does not know it.
    :param rule: Why.
    """

    submit: Submit
    job: Generation | None
    rule: Rule


@dataclass(frozen=True)
class SendRequest:
    """Send the recorded bytes of a request, for the first time or again."""

    submit: Submit
    request: Request


@dataclass(frozen=True)
class SearchJobs:
    """Search Hedra's list for a job whose answer was lost."""

    submit: Submit


@dataclass(frozen=True)
class NeedRequest:
    """The request as it is now must be known before anything can be decided."""


@dataclass(frozen=True)
class Begin:
    """
    Begin a new submit.

    :param n: Its number.
    :param rule: Why: nothing exists, the job before failed, or it has another request.
    :param maybe_paid: Earlier submits of other attempt groups, with another request and an unknown outcome.
    """

    n: int
    rule: Rule
    maybe_paid: tuple[Submit, ...]


Decision = AskStatus | Adopt | SendRequest | SearchJobs | NeedRequest | Begin


def decide(submits: Sequence[Submit], facts: Facts, jobs: Mapping[str, Generation | None]) -> Decision:
    """
    Decide what to do next.

    :param submits: The merged records of the step.
    :param facts: What this attempt knows of itself.
    :param jobs: The latest status of jobs, by id, as far as Hedra was asked; None: Hedra does not know the
        job.
    :return: The next action.
    """
    own = _latest_of_group(submits, facts.attempt_group)
    if own and own.job_id and own.job_status != ERROR:
        # A retry keeps the request of its attempt group: its job comes first.
        if own.job_id not in jobs:
            return AskStatus(own.job_id)
        if not _has_failed(own, jobs):
            return Adopt(own, jobs[own.job_id], Rule.PAID_BY_US)
    wanted = facts.fingerprint or _recorded_fingerprint(submits, facts.attempt_group)
    rule, maybe_paid = Rule.NEW, tuple[Submit, ...]()
    for submit in submits:
        if submit.job_id:
            if submit.job_id not in jobs and submit.job_status != ERROR:
                return AskStatus(submit.job_id)
            if _has_failed(submit, jobs):
                rule = Rule.FAILED_BEFORE
                continue
            if wanted is None:
                return NeedRequest()
            if submit.job_request and submit.job_request.fingerprint == wanted:
                return Adopt(submit, jobs[submit.job_id], Rule.SAME)
            rule = Rule.CHANGED
        elif not submit.is_closed(facts.now):
            if _concerns(submit, facts.attempt_group, wanted):
                return _resolve(submit, facts, wanted)
            if wanted is None:
                return NeedRequest()
            # Another attempt group wanted another video. This one is paid for in any case.
            rule, maybe_paid = Rule.CHANGED, (*maybe_paid, submit)
    if facts.fingerprint is None:
        return NeedRequest()
    # Not a gap: a record that was deleted may have used its key.
    return Begin(max((submit.n for submit in submits), default=-1) + 1, rule, maybe_paid)


def _resolve(submit: Submit, facts: Facts, wanted: str | None) -> Decision:
    """Decide about a submit whose outcome is unknown, or that was not sent yet."""
    for request in submit.requests:
        is_ours = _is_ours(request, facts.attempt_group, wanted)
        is_exhausted = (submit.n, request.intent.digest) in facts.exhausted
        if (
            is_ours
            and not is_exhausted
            and facts.now < submit.replay_until(request)
            and facts.can_read(request)
        ):
            return SendRequest(submit, request)
    return SearchJobs(submit)


def _has_failed(submit: Submit, jobs: Mapping[str, Generation | None]) -> bool:
    job = jobs.get(submit.job_id or "")
    return submit.job_status == ERROR or bool(job and job.is_failed)


def _is_ours(request: Request, attempt_group: str, wanted: str | None) -> bool:
    return request.intent.attempt_group == attempt_group or request.intent.fingerprint == wanted


def _concerns(submit: Submit, attempt_group: str, wanted: str | None) -> bool:
    return any(_is_ours(request, attempt_group, wanted) for request in submit.requests)


def _latest_of_group(submits: Sequence[Submit], attempt_group: str) -> Submit | None:
    """Return the latest job of an attempt group: its own request, or one that its send paid for."""
    for submit in reversed(submits):
        made_by = submit.job_request.attempt_group if submit.job_request else None
        if submit.job_id and attempt_group in (made_by, submit.paying_group):
            return submit
    return None


def _recorded_fingerprint(submits: Sequence[Submit], attempt_group: str) -> str | None:
    """Return the fingerprint of the latest request of an attempt group; None if it has none."""
    own = [
        request.intent
        for submit in submits
        for request in submit.requests
        if request.intent.attempt_group == attempt_group
    ]
    return max(own, key=lambda intent: (intent.n, intent.began_at)).fingerprint if own else None
