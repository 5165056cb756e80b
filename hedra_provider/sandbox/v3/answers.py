"""Writes the answers of API v3 as Hedra's schema has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from hedra_provider.sandbox import envelope
from hedra_provider.sandbox.clock import iso
from hedra_provider.sandbox.v3.memory import OUTPUT_SECONDS
from hedra_provider.sandbox.v3.models import MICRO, SPEECH_MODELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hedra_provider.sandbox.signing import Signer
    from hedra_provider.sandbox.v3.memory import Memory
    from hedra_provider.sandbox.v3.records import File, JobRecord

JsonObject = dict[str, Any]

_DEFAULT_DAYS = 7
_MOST_DAYS = 90
_FPS = 25


class Answers:
    """See the module.

    :param memory: what the answers are about.
    :param signer: makes URLs.
    """

    def __init__(self, memory: Memory, signer: Signer) -> None:
        self._memory = memory
        self._signer = signer

    def uploaded(self, file: File) -> JsonObject:
        """Answer ``POST /files``."""
        return {"url": file.url, "content_type": file.media_type, "expires_at": iso(file.expires_at)}

    def submitted(self, job: JobRecord) -> JsonObject:
        """Answer a submit."""
        return {
            "job_id": job.id,
            "model": job.model,
            "status": "IN_QUEUE",
            "status_url": f"/v3/jobs/{job.id}/status",
            "result_url": f"/v3/jobs/{job.id}",
            "estimated_completion_at": iso(job.ends_at),
        }

    def row(self, job: JobRecord) -> JsonObject:
        """Return the row of a list."""
        return {
            "job_id": job.id,
            "model": job.model,
            "quality": None,
            "status": self._memory.status(job),
            "created_at": iso(job.created_at),
        }

    def status(self, job: JobRecord) -> JsonObject:
        """Answer ``GET /jobs/{id}/status``."""
        return {
            "job_id": job.id,
            "status": self._memory.status(job),
            "progress": self._memory.progress(job),
            "estimated_completion_at": iso(job.ends_at),
        }

    def result(self, job: JobRecord, *, webhook: bool = False) -> JsonObject:
        """Answer ``GET /jobs/{id}``.

        :param job: the job.
        :param webhook: without logs and cost, as webhooks have it; default False.
        """
        status = self._memory.status(job)
        answer: JsonObject = {
            "job_id": job.id,
            "model": job.model,
            "quality": None,
            "status": status,
            "outputs": [self._output(job)] if status == "COMPLETED" else [],
            "metrics": {"processing_time_ms": round(job.seconds * 1000)} if status == "COMPLETED" else None,
            "error": self.error(job),
        }
        if job.model not in SPEECH_MODELS:
            answer["prompt"] = job.input["prompt"]
        if not webhook:
            self._memory.settle()
            answer["logs"] = self.logs(job)
            answer["cost"] = 0 if job.refunded else job.price / MICRO
            answer["currency"] = "USD"
        return answer

    def error(self, job: JobRecord) -> JsonObject | None:
        """Return the error of a job that has failed; None of any other one.

        A fault may give the error in the shape of API v2.
        """
        given = job.error
        if given is None or not self._memory.is_ended(job):
            return None
        named = given.get("code") or given.get("type")
        code = named if named in envelope.CODES else "INTERNAL"
        message = given.get("message") or given.get("error_message") or "The job failed."
        more = {key: value for key, value in given.items() if key in ("retryable", "param", "details")}
        return envelope.error(str(code), str(message), **more)

    def logs(self, job: JobRecord) -> list[JsonObject]:
        """Return the events of a job, oldest first."""
        now = self._memory.clock.now()
        begins = job.created_at + job.queue_seconds
        events = [("queued", job.created_at, "api", "info", "The job was queued.")]
        if begins <= now:
            events.append(("started", begins, "worker", "info", "The job was started."))
        if self._memory.is_ended(job):
            good = self._memory.status(job) == "COMPLETED"
            events.append(
                ("completed", job.ends_at, "worker", "info", "The job is complete.")
                if good
                else ("failed", job.ends_at, "worker", "error", "The job failed.")
            )
        return [
            {
                "id": number, "timestamp": iso(at), "level": level, "event": event, "message": message,
                "source": source, "data": {},
            }
            for number, (event, at, source, level, message) in enumerate(events, 1)
        ]  # fmt: skip

    def balance(self) -> JsonObject:
        """Answer ``GET /balance``."""
        return {"balance": self._memory.balance / MICRO, "spent": None, "currency": "USD"}

    def usage(self, query: Mapping[str, str]) -> JsonObject:
        """Answer ``GET /usage``. Jobs that were erased are not counted.

        :param query: of the request: ``start``, ``end`` and ``group_by``.
        :raises Rejection: 400 for a wrong value.
        """
        now = datetime.fromtimestamp(self._memory.clock.now(), UTC)
        end = _moment("end", query.get("end"), now)
        start = _moment("start", query.get("start"), max(end, _FIRST) - timedelta(days=_DEFAULT_DAYS))
        if not timedelta() <= end - start <= timedelta(days=_MOST_DAYS):
            raise envelope.invalid("start", f"The window must have at most {_MOST_DAYS} days", "range")
        group_by = query.get("group_by", "total")
        if group_by not in ("total", "day", "model"):
            allowed = ["total", "day", "model"]
            raise envelope.invalid("group_by", "Input is not one of the allowed values", "enum", allowed)
        buckets: dict[str, list[int]] = {"total": [0, 0]} if group_by == "total" else {}
        totals = [0, 0]
        for job in reversed(self._memory.newest_jobs()):
            if not start.timestamp() <= job.created_at < end.timestamp():
                continue
            key = {"total": "total", "day": iso(job.created_at)[:10], "model": job.model}[group_by]
            for bucket in (totals, buckets.setdefault(key, [0, 0])):
                bucket[0] += 1
                bucket[1] += 0 if job.refunded else job.price
        return {
            "start": iso(start.timestamp()),
            "end": iso(end.timestamp()),
            "group_by": group_by,
            "total_jobs": totals[0],
            "total_spent": totals[1] / MICRO,
            "currency": "USD",
            "data": [{"key": key, "jobs": n, "spent": usd / MICRO} for key, (n, usd) in buckets.items()],
        }

    def voices(self, voices: list[JsonObject]) -> list[JsonObject]:
        """Return the rows of a list of voices.

        :param voices: of the catalogue.
        """
        return [{**voice, "preview_url": self._signer.url(f"/files/{voice['id']}")} for voice in voices]

    def _output(self, job: JobRecord) -> JsonObject:
        file = self._memory.files[job.asset_id]
        expires_at = job.created_at + OUTPUT_SECONDS
        lapsed = self._memory.clock.now() >= expires_at
        video = file.media_type.startswith("video/")
        return {
            "status": "EXPIRED" if lapsed else "COMPLETED",
            "asset_id": None if lapsed else job.asset_id,
            "url": None if lapsed else self._signer.url(f"/files/{job.asset_id}"),
            "content_type": file.media_type,
            "width": file.facts.width if video else None,
            "height": file.facts.height if video else None,
            "duration_ms": file.facts.duration_ms,
            "fps": _FPS if video else None,
            "error": None,
            "expires_at": iso(expires_at),
        }


_FIRST = datetime(1, 3, 1, tzinfo=UTC)


def _moment(name: str, value: str | None, default: datetime) -> datetime:
    if value is None:
        return default
    try:
        moment = datetime.fromisoformat(value)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        # The window is computed from it, and a time zone moves it.
        return max(moment.astimezone(UTC), _FIRST)
    except (ValueError, OverflowError):
        raise envelope.invalid(name, "Input should be a valid datetime", "type") from None
