"""Delivers webhooks, signed with Ed25519, and lists the deliveries.

Hedra sends to public addresses only. The sandbox does the opposite: it sends to this machine only, so that no
test reaches another one. Any other URL is accepted and listed, and its delivery fails as a blocked one does
at Hedra (``FAILED_PRECONDITION``).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hedra_provider.sandbox import envelope
from hedra_provider.sandbox.clock import iso
from hedra_provider.sandbox.loopback import is_loopback
from hedra_provider.sandbox.v3.records import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable

    from hedra_provider.sandbox.v3.answers import Answers
    from hedra_provider.sandbox.v3.memory import Memory
    from hedra_provider.sandbox.v3.records import JobRecord

JsonObject = dict[str, Any]

_LADDER_SECONDS = (10, 30, 90, 270, 810, 2430, 3600, 3600, 3600, 3600, 3600)
"""Delays between the twelve attempts, by the sandbox's clock (documented)."""

_TIMEOUT_SECONDS = 10.0
_CHECK_SECONDS = 0.05
_MAX_URL_CHARACTERS = 8192
_CODES = {401: "UNAUTHORIZED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}


class Webhooks:
    """See the module.

    :param memory: has the deliveries.
    :param answers: writes their bodies.
    :param seed: 32 bytes of the private key.
    :param save: saves the state; called after every attempt.
    """

    def __init__(self, memory: Memory, answers: Answers, seed: bytes, save: Callable[[], None]) -> None:
        self._memory = memory
        self._answers = answers
        self._seed = seed
        self._save = save
        self._task: asyncio.Task[None] | None = None

    # The list

    def register(self, job: JobRecord, url: str | None) -> None:
        """Enter the delivery of a new job, if a URL is known.

        :param job: the job.
        :param url: its own webhook; None takes the default one.
        """
        default = self._memory.default_webhook
        source = "per_job" if url is not None else "default"
        if url is None and default["enabled"]:
            url = default["url"]
        if url is not None:
            now = self._memory.clock.now()
            self._memory.deliveries[job.id] = Delivery(job.id, job.number, job.model, url, source, now)
            self.start()

    def row(self, delivery: Delivery) -> JsonObject:
        """Return the row of a list."""
        last = delivery.last_attempt_at
        return {
            "job_id": delivery.job_id,
            "job_accessible": delivery.job_id in self._memory.jobs,
            "model": delivery.model,
            "event_type": delivery.event,
            "status": delivery.status,
            "source": delivery.source,
            "attempts": delivery.attempts,
            "redelivery_count": len(delivery.redeliveries),
            "redeliveries": delivery.redeliveries,
            "last_response_status": delivery.last_response_status,
            "last_error": delivery.last_error,
            "webhook_url": delivery.url,
            "created_at": iso(delivery.created_at),
            "last_attempt_at": None if last is None else iso(last),
        }

    def newest(self) -> list[Delivery]:
        """Return the deliveries, newest first."""
        return list(reversed(self._memory.deliveries.values()))

    def redeliver(self, job_id: str) -> Delivery:
        """Send a finished delivery again.

        :param job_id: of its job.
        :raises Rejection: 404 for an unknown one, 409 while it is in flight.
        """
        delivery = self._memory.deliveries.get(job_id)
        if delivery is None:
            raise envelope.not_found("Delivery")
        if delivery.status not in ("DELIVERED", "FAILED"):
            raise envelope.rejection(409, "A delivery for this job is in flight.", code="ALREADY_IN_PROGRESS")
        before = self.row(delivery)
        names = ("status", "attempts", "last_response_status", "last_error", "last_attempt_at")
        delivery.redeliveries.append(
            {"requested_at": iso(self._memory.clock.now()), **{name: before[name] for name in names}}
        )
        delivery.status, delivery.tries, delivery.due_at = "PENDING", 0, self._memory.clock.now()
        self.start()
        return delivery

    def public_key(self) -> str:
        """Return the public key in base64."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        public = Ed25519PrivateKey.from_private_bytes(self._seed).public_key()
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return base64.b64encode(raw).decode()

    # Sending

    def start(self) -> None:
        """Watch for jobs that end, for as long as a delivery is open."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        """Stop sending."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _watch(self) -> None:
        while open_ones := [one for one in self._memory.deliveries.values() if one.status == "PENDING"]:
            for delivery in open_ones:
                await self._advance(delivery)
            await asyncio.sleep(_CHECK_SECONDS)

    async def _advance(self, delivery: Delivery) -> None:
        job = self._memory.jobs.get(delivery.job_id)
        if job is None:
            delivery.status = "FAILED"
            delivery.last_error = envelope.error("INTERNAL", "The payload could not be built.")
        elif delivery.event is None and self._memory.is_ended(job):
            good = self._memory.status(job) == "COMPLETED"
            delivery.event = "job.completed" if good else "job.failed"
            delivery.due_at = job.ends_at
        if job is not None and delivery.due_at is not None and self._memory.clock.now() >= delivery.due_at:
            body = json.dumps(self._answers.result(job, webhook=True)).encode()
            delivery.status = "DELIVERING"
            delivery.attempts += 1
            delivery.tries += 1
            delivery.last_attempt_at = self._memory.clock.now()
            status, problem = await self.post(
                delivery.url, body, delivery.job_id, str(delivery.event),
                attempt=delivery.tries, again=bool(delivery.redeliveries),
            )  # fmt: skip
            self._finish(delivery, status, problem)
            self._save()

    def _finish(self, delivery: Delivery, status: int | None, problem: JsonObject | None) -> None:
        delivery.last_response_status, delivery.last_error = status, problem
        if problem is None:
            delivery.status, delivery.due_at = "DELIVERED", None
        elif problem["code"] == "FAILED_PRECONDITION" or delivery.tries > len(_LADDER_SECONDS):
            delivery.status, delivery.due_at = "FAILED", None
        else:
            delivery.status = "PENDING"
            delivery.due_at = self._memory.clock.now() + _LADDER_SECONDS[delivery.tries - 1]

    async def post(
        self, url: str, body: bytes, event_id: str, event: str, *, attempt: int, again: bool
    ) -> tuple[int | None, JsonObject | None]:
        """Send one signed request.

        :param url: where to.
        :param body: the JSON.
        :param event_id: header ``X-Hedra-Webhook-Id``.
        :param event: header ``X-Hedra-Webhook-Event``.
        :param attempt: header ``X-Hedra-Webhook-Attempt``.
        :param again: whether this is a redelivery.
        :return: HTTP status of the receiver, if it answered, and the error object, if it did not take it.
        """
        import httpx

        if not is_loopback(urlsplit(url).hostname or ""):
            message = "The sandbox sends webhooks to this machine only."
            return None, envelope.error("FAILED_PRECONDITION", message)
        headers = self._signed(body, event_id, event, again=again) | {
            "Content-Type": "application/json",
            "X-Hedra-Webhook-Attempt": str(attempt),
        }
        try:
            # Without certificates and proxies: the receiver is on this machine.
            async with httpx.AsyncClient(
                trust_env=False,
                verify=False,  # noqa: S501
                timeout=_TIMEOUT_SECONDS,
            ) as client:
                status = (await client.post(url, content=body, headers=headers)).status_code
        except httpx.TimeoutException:
            return None, envelope.error("DEADLINE_EXCEEDED", "The endpoint did not answer in time.")
        except (httpx.HTTPError, httpx.InvalidURL, OSError):
            return None, envelope.error("UNAVAILABLE", "The endpoint could not be reached.")
        if 200 <= status < 300:
            return status, None
        code = _CODES.get(status, "INVALID_ARGUMENT" if 400 <= status < 500 else "UNAVAILABLE")
        return status, envelope.error(code, "The endpoint did not accept the delivery.")

    def _signed(self, body: bytes, event_id: str, event: str, *, again: bool) -> dict[str, str]:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        timestamp = str(int(self._memory.clock.now()))
        redelivery = "true" if again else "false"
        signed = "\n".join((timestamp, event_id, event, redelivery, hashlib.sha256(body).hexdigest()))
        signature = Ed25519PrivateKey.from_private_bytes(self._seed).sign(signed.encode())
        return {
            "X-Hedra-Webhook-Id": event_id,
            "X-Hedra-Webhook-Timestamp": timestamp,
            "X-Hedra-Webhook-Event": event,
            "X-Hedra-Webhook-Redelivery": redelivery,
            "X-Hedra-Webhook-Signature": signature.hex(),
        }


def require_url(field: str, value: Any) -> str:
    """Check the URL of a webhook.

    :param field: its name in the body.
    :param value: the URL.
    :raises Rejection: 400 if it is none.
    """
    if (
        isinstance(value, str)
        and len(value) <= _MAX_URL_CHARACTERS
        and value.isascii()
        and value.isprintable()
    ):
        with contextlib.suppress(ValueError):
            parts = urlsplit(value)
            # Reading the port checks it.
            if (
                parts.scheme in ("http", "https")
                and parts.hostname
                and (parts.port or 1) > 0
                and " " not in value
            ):
                return value
    raise envelope.invalid(field, "Input should be a valid URL", "format")
