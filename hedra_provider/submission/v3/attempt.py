"""The state of one attempt while it runs: the clock, the own record, what Hedra answered so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hedra_provider.api.errors import HedraStateError
from hedra_provider.api.v3 import calls
from hedra_provider.submission.v3.clock import HedraClock
from hedra_provider.submission.v3.decide import Facts
from hedra_provider.submission.v3.journal import Journal
from hedra_provider.submission.v3.merge import merge

if TYPE_CHECKING:
    from hedra_provider.api.calls import Call
    from hedra_provider.records import Generation
    from hedra_provider.submission.plan import Rule
    from hedra_provider.submission.v3.merge import Request, Submit
    from hedra_provider.submission.v3.record import Intent
    from hedra_provider.submission.v3.run import JobDraft, JobRun
    from hedra_provider.submission.v3.store import RecordStore


class Attempt:
    """
    One attempt at a step.

    :param run: What it is.
    :param store: Where its records are kept.
    :raises HedraStateError: If the records can't be read.
    """

    def __init__(self, run: JobRun, store: RecordStore) -> None:
        self.run = run
        self.store = store
        self.clock = HedraClock(run.now)
        self.cipher = run.cipher
        self.journal = Journal(store, key=run.key, try_id=run.try_id, attempt_group=run.attempt_group)
        self.jobs: dict[str, Generation | None] = {}
        self.rule: Rule | None = None
        """Why the latest submit was begun; None: this attempt began none."""
        self.exhausted: set[tuple[int, str]] = set()
        self.conflicts: dict[tuple[int, str], int] = {}
        self.unknown_outcomes = 0
        self.rate_limits = 0
        self.waited_seconds = 0.0
        self.searches: dict[int, int] = {}
        self.sightings: dict[int, int] = {}
        self.search_again_at = 0.0
        self._asked_time = False

    def submits(self) -> list[Submit]:
        """Return the merged records of the step as they are now."""
        return merge(self.journal.read(), self.run.step)

    def submit(self, n: int) -> Submit:
        """Return the n-th submit as it is now."""
        return next(one for one in self.submits() if one.n == n)

    def facts(self, draft: JobDraft | None) -> Facts:
        """Return what the decision needs to know of this attempt."""
        return Facts(
            attempt_group=self.run.attempt_group,
            fingerprint=draft.fingerprint if draft else None,
            now=self.clock.now(),
            can_read=lambda request: self.content_of(request) is not None,
            exhausted=frozenset(self.exhausted),
        )

    def content_of(self, request: Request) -> bytes | None:
        """Return the recorded bytes of a request; None if they can't be decrypted."""
        return self.cipher.decrypt(request.body, request.intent.digest)

    def learn_time(self) -> Call[None]:
        """Read Hedra's clock before a window is measured by it, unless an answer had its date already."""
        if not self.clock.is_known and not self._asked_time:
            self._asked_time = True
            yield from calls.list_jobs(limit=1)

    def put_if_possible(self, intent: Intent, what: str) -> None:
        """
        Write what is known of an intent after its send. A failure is logged: the send can't be undone.

        :param intent: The intent.
        :param what: What is not recorded, for the log.
        """
        try:
            self.journal.put(intent)
        except HedraStateError as error:
            self.run.notify(f"{what} could not be recorded: {error}")

    def name_job(self, job_id: str) -> None:
        """Mark a job as named by a record, so that other keys do not take it for a lost one of theirs."""
        try:
            self.store.name_job(job_id)
        except HedraStateError as error:
            self.run.notify(f"Job {job_id} could not be marked as named by this task: {error}")
