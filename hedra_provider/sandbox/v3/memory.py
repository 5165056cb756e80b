"""All that API v3 remembers: uploads, jobs, keys, money. Only the event loop uses it, so there are no locks.

The status of a job is computed from the clock at each request: a test moves the clock instead of sleeping.
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hedra_provider.sandbox import envelope
from hedra_provider.sandbox.media import Facts
from hedra_provider.sandbox.records import Job as Work
from hedra_provider.sandbox.v3.models import MICRO
from hedra_provider.sandbox.v3.records import Delivery, File, JobRecord, KeyRecord

if TYPE_CHECKING:
    from hedra_provider.sandbox.clock import Clock
    from hedra_provider.sandbox.options import Options

JsonObject = dict[str, Any]

HOUR_SECONDS = 3600.0
DAY_SECONDS = 24 * HOUR_SECONDS

OUTPUT_SECONDS = DAY_SECONDS
"""How long after the submit an output can be fetched (documented)."""

JOB_SECONDS = 4 * DAY_SECONDS
"""How long after the submit a job is kept (documented: about four days)."""

UPLOAD_SECONDS = DAY_SECONDS
"""How long after the upload a file is kept (documented: about a day)."""


class Memory:
    """See the module.

    :param options: how the sandbox was started.
    :param clock: the sandbox's clock.
    """

    def __init__(self, options: Options, clock: Clock) -> None:
        self.options = options
        self.clock = clock
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.files: dict[str, File] = {}
        # Handles outlive their files, so that a late one is known as expired.
        self.handles: dict[str, File] = {}
        self._uploads: deque[File] = deque()
        # Failed jobs whose money was not given back yet.
        self._owed: dict[str, JobRecord] = {}
        self.jobs: dict[str, JobRecord] = {}
        self.keys: dict[str, KeyRecord] = {}
        self.deliveries: dict[str, Delivery] = {}
        self.submissions: list[JsonObject] = []
        self.default_webhook: JsonObject = {"url": None, "enabled": False}
        self.funds = round(self.options.usd * MICRO)
        self.spent = 0
        self.refunded = 0
        self._last_number = 0

    def next_number(self) -> int:
        """Return the number of a new row."""
        self._last_number += 1
        return self._last_number

    # Money

    @property
    def balance(self) -> int:
        """What is left, in millionths of a US dollar."""
        self.settle()
        return self.funds - self.spent

    def charge(self, price: int) -> None:
        """Take the price of a job.

        :param price: in millionths of a US dollar.
        :raises Rejection: 402 without enough money.
        """
        if self.balance < price:
            balance = self.balance / MICRO
            raise envelope.rejection(
                402,
                f"Your API wallet balance is ${balance:.2f} and this request costs ${price / MICRO:.2f}. Add "
                f"funds at {envelope.FUNDING_URL}, then retry.",
                billing={
                    "balance": balance, "required": price / MICRO, "currency": "USD",
                    "funding_url": envelope.FUNDING_URL, "reason": None,
                },
            )  # fmt: skip
        self.spent += price

    def settle(self) -> None:
        """Refund jobs that have failed by now, and erase what is too old."""
        now = self.clock.now()
        for job in [one for one in self._owed.values() if one.ends_at <= now]:
            del self._owed[job.id]
            job.refunded = True
            self.spent -= job.price
            self.refunded += job.price
        while self.jobs and now >= (oldest := next(iter(self.jobs.values()))).created_at + JOB_SECONDS:
            self.erase(oldest)
        while self._uploads and now >= self._uploads[0].created_at + UPLOAD_SECONDS:
            self.files.pop(self._uploads.popleft().id, None)

    # Uploads

    def add_upload(self, file: File) -> None:
        """Enter an upload under its handle."""
        self.files[file.id] = self.handles[str(file.url)] = file
        self._uploads.append(file)

    # Jobs

    def add(self, job: JobRecord) -> None:
        """Enter a job."""
        self.jobs[job.id] = job
        if job.error and not job.refunded:
            self._owed[job.id] = job

    def fail(self, job: JobRecord, error: JsonObject) -> None:
        """Let a job end in an error.

        :param job: what failed.
        :param error: the error object it shows.
        """
        job.error, job.final_status = error, "FAILED"
        if not job.refunded:
            self._owed[job.id] = job

    def erase(self, job: JobRecord) -> None:
        """Forget a job and its output. Its delivery stays in the list."""
        del self.jobs[job.id]
        self.files.pop(job.asset_id, None)

    def job(self, job_id: str) -> JobRecord:
        """Find a job.

        :param job_id: its id.
        :raises Rejection: 404 for an unknown or erased one.
        """
        self.settle()
        if job_id not in self.jobs:
            raise envelope.not_found("Job")
        return self.jobs[job_id]

    def newest_jobs(self, model: str | None = None) -> list[JobRecord]:
        """Return the jobs, newest first.

        :param model: only of this model; default None: of all.
        """
        self.settle()
        return [job for job in reversed(self.jobs.values()) if model in (None, job.model)]

    def status(self, job: JobRecord) -> str:
        """Compute the status of a job from the clock."""
        now = self.clock.now()
        if job.ends_at <= now:
            if job.ends_by_fault:
                return job.final_status
            # Due by the clock, but the file may still be made.
            return "COMPLETED" if self.has_file(job) else "IN_PROGRESS"
        return "IN_QUEUE" if now < job.created_at + job.queue_seconds else "IN_PROGRESS"

    def progress(self, job: JobRecord) -> float:
        """Compute the progress of a job from the clock, 0 to 1."""
        if self.is_ended(job):
            return 1.0
        worked = self.clock.now() - job.created_at - job.queue_seconds
        return round(min(0.99, max(0.0, worked / job.seconds)), 4) if job.seconds else 0.99

    def is_ended(self, job: JobRecord) -> bool:
        """Return whether a job has ended, well or not."""
        return job.ends_at <= self.clock.now() and (job.ends_by_fault or self.has_file(job))

    def has_file(self, job: JobRecord) -> bool:
        """Return whether the output of a job exists."""
        output = self.files.get(job.asset_id)
        return output is not None and output.file is not None

    def check_parallel(self) -> None:
        """Reject a job beyond ``max_parallel``.

        :raises Rejection: 429.
        """
        limit = self.options.max_parallel
        now = self.clock.now()
        if limit is not None and sum(job.ends_at > now for job in self.jobs.values()) >= limit:
            raise envelope.rejection(429, f"Too many jobs in progress: your plan allows {limit} at a time.")

    # Saving

    def dump(self) -> JsonObject:
        """Return everything as JSON."""
        return {
            "uploads": [asdict(one) for one in self.handles.values()],
            "outputs": [asdict(one) for one in self.files.values() if one.job_id is not None],
            "jobs": [asdict(one) for one in self.jobs.values()],
            "keys": [asdict(one) for one in self.keys.values()],
            "deliveries": [asdict(one) for one in self.deliveries.values()],
            "submissions": self.submissions,
            "default_webhook": self.default_webhook,
            "money": [self.funds, self.spent, self.refunded],
            "last_number": self._last_number,
        }

    def load(self, saved: JsonObject) -> None:
        """Restore what :meth:`dump` returned."""
        self.clear()
        for row in saved["uploads"]:
            self.add_upload(_file(row))
        for row in saved["outputs"]:
            self.files[row["id"]] = _file(row)
        for row in saved["jobs"]:
            self.add(JobRecord(**{**row, "work": Work(**row["work"])}))
        self.keys = {row["key"]: KeyRecord(**row) for row in saved["keys"]}
        self.deliveries = {row["job_id"]: Delivery(**row) for row in saved["deliveries"]}
        self.submissions = saved["submissions"]
        self.default_webhook = saved["default_webhook"]
        self.funds, self.spent, self.refunded = saved["money"]
        self._last_number = saved["last_number"]


def _file(row: JsonObject) -> File:
    return File(**{**row, "facts": Facts(**row["facts"])})
