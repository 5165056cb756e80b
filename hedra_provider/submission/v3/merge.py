"""The records of all attempts as one view: the n-th submit, its requests, its sends, its job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hedra_provider.submission.v3.record import ACCEPTED, NONE_FOUND, NOT_ACCEPTED, NOT_SENT, REJECTED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hedra_provider.submission.v3.record import Intent, Send, TryRecord

REPLAY_WINDOW_SECONDS = 30 * 60.0
"""How long the recorded bytes are sent again with the same key, from the intent on. How long Hedra remembers
a key is not documented; upload handles live for an hour (documented)."""

SETTLED_SECONDS = 10 * 60.0
"""How long after the last send a search must be, so that "none" counts."""


@dataclass(frozen=True)
class Request:
    """
    One body of the n-th submit. Two attempts that began at once have one each, under the same key.

    :param intent: The first intent with this body.
    :param sends: All sends of it, of every attempt.
    :param body: The encrypted body; None if no record has it.
    """

    intent: Intent
    sends: tuple[Send, ...]
    body: str | None


@dataclass(frozen=True)
class Submit:
    """
    The n-th submit of a step, as all attempts together know it.

    :param n: From 0.
    :param requests: Its requests, the oldest first. All attempts sort them alike, so that two attempts send
        the same bytes.
    :param job_id: Its job; None until that is known.
    :param job_request: The intent that became the job; None until that is known.
    :param paying_group: The attempt group whose send was accepted; None until that is known.
    :param job_status: ``complete`` or ``error`` if an attempt recorded the end of the job.
    :param closings: When searches found none, epoch seconds.
    """

    n: int
    requests: tuple[Request, ...]
    job_id: str | None = None
    job_request: Intent | None = None
    paying_group: str | None = None
    job_status: str | None = None
    closings: tuple[float, ...] = ()

    @property
    def began_at(self) -> float:
        """When the first intent was written, epoch seconds."""
        return min(one.intent.began_at for one in self.requests)

    @property
    def idempotency_key(self) -> str:
        """The recorded key: a rotated API key would compute another one."""
        return self.requests[0].intent.idempotency_key

    @property
    def sends(self) -> list[Send]:
        """All sends that may have left a worker, of all requests."""
        return [send for one in self.requests for send in one.sends if send.outcome != NOT_SENT]

    @property
    def last_send_at(self) -> float | None:
        """When the last send began, epoch seconds; None if there was none."""
        return max((send.began_at for send in self.sends), default=None)

    @property
    def is_outcome_unknown(self) -> bool:
        """Whether Hedra may have made a job of it that no record names."""
        return self.job_id is None and any(send.outcome not in NOT_ACCEPTED for send in self.sends)

    def replay_until(self, request: Request) -> float:
        """
        Return until when a request may be sent, epoch seconds.

        The window of all requests begins with the first intent: Hedra knows the key since then.
        """
        window = self.began_at + REPLAY_WINDOW_SECONDS
        handles = request.intent.handles_expire_at
        return window if handles is None else min(window, handles)

    def is_closed(self, now: float) -> bool:
        """
        Return whether this submit surely made no job and never will.

        :param now: Epoch seconds by Hedra's clock.
        """
        if self.job_id is not None:
            return False
        # A send that another attempt began since the search makes the search worthless.
        settled_at = (self.last_send_at or self.began_at) + SETTLED_SECONDS
        if any(closed_at >= settled_at for closed_at in self.closings):
            return True
        if self.is_outcome_unknown:
            return False
        if any(send.outcome == REJECTED for send in self.sends):
            return True
        return all(now >= self.replay_until(one) for one in self.requests)


def merge(records: Iterable[TryRecord], step: str) -> list[Submit]:
    """
    Merge the records of all attempts.

    :param records: Of one key.
    :param step: The step to read.
    :return: The submits of the step, sorted by n. An n that no record has is left out.
    """
    records = sorted(records, key=lambda record: record.try_id)
    by_n: dict[int, list[tuple[Intent, str]]] = {}
    for record in records:
        for intent in record.intents:
            if intent.step == step:
                by_n.setdefault(intent.n, []).append((intent, record.attempt_group))
    return [_submit(n, by_n[n]) for n in sorted(by_n)]


def _submit(n: int, found: list[tuple[Intent, str]]) -> Submit:
    named = [pair for pair in found if pair[0].job_id]
    intent, paying_group = min(named, key=lambda pair: _job_order(pair[0])) if named else (None, None)
    ends = [one.job_status for one, _ in found if one.job_status and intent and one.job_id == intent.job_id]
    return Submit(
        n,
        _requests([one for one, _ in found]),
        job_id=intent.job_id if intent else None,
        job_request=intent,
        paying_group=paying_group,
        job_status=ends[0] if ends else None,
        closings=tuple(one.closed_at for one, _ in found if one.closed == NONE_FOUND and one.closed_at),
    )


def _job_order(intent: Intent) -> tuple[bool, bool, float]:
    """
    Sort the intents that name a job: first the send that was accepted first, last one that a user
    named.
    """
    accepted = [send.began_at for send in intent.sends if send.outcome == ACCEPTED]
    return intent.is_adopted, not accepted, min(accepted, default=intent.began_at)


def _requests(intents: list[Intent]) -> tuple[Request, ...]:
    """Return the different bodies, the oldest first."""
    by_body: dict[tuple[str, str], list[Intent]] = {}
    for intent in intents:
        by_body.setdefault((intent.digest, intent.fingerprint), []).append(intent)
    requests = []
    for same in by_body.values():
        # An attempt that sends another's bytes again copies its intent, without the body.
        first = min(same, key=lambda intent: (intent.began_at, intent.body is None))
        sends = sorted((send for one in same for send in one.sends), key=lambda send: send.began_at)
        body = next((one.body for one in same if one.body), None)
        requests.append(Request(first, tuple(sends), body))
    return tuple(sorted(requests, key=lambda one: (one.intent.began_at, one.intent.digest)))
