"""Idempotency keys of submits: replay, conflict, and the points that Hedra does not document.

Documented: the same key with the same body gets the first 202 again; observed: another body gets 409. The
rest is assumed, and each assumption is an option of the sandbox.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

from hedra_provider.sandbox import envelope
from hedra_provider.sandbox.rejections import Rejection
from hedra_provider.sandbox.v3.memory import HOUR_SECONDS
from hedra_provider.sandbox.v3.records import KeyRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from hedra_provider.sandbox.v3.memory import Memory

JsonObject = dict[str, Any]

_MAX_KEY_CHARACTERS = 255


class Submit:
    """One request to submit a job.

    :param model: of the path.
    :param content: the body's bytes.
    :param body: the body.
    :param header: the header ``Idempotency-Key``; None without one.
    """

    def __init__(self, model: str, content: bytes, body: JsonObject, header: str | None) -> None:
        self.model = model
        self.content = content
        self.body = body
        self.header = header
        self.key: str | None = None
        self.place: str | None = None

    def choose_key(self, where: str, form: str) -> None:
        """Read the idempotency key.

        :param where: option ``idempotency``.
        :param form: option ``key_form``.
        :raises Rejection: 400 for a key of a wrong form.
        """
        field = self.body.get("idempotency_key")
        if where in ("header", "both") and self.header is not None:
            self.key, self.place = self.header, "header"
        elif where in ("body", "both") and field is not None:
            self.key, self.place = field, "body"
        if self.key is not None and not _is_valid(self.key, form):
            name = "Idempotency-Key" if self.place == "header" else "idempotency_key"
            raise envelope.invalid(name, "The idempotency key is not valid", "format")

    def fingerprint(self, compare: str) -> str:
        """Return what two equal submits have in common.

        :param compare: option ``compare``.
        """
        content = json.dumps(self.body, sort_keys=True).encode() if compare == "json" else self.content
        return hashlib.sha256(self.model.encode() + b"\0" + content).hexdigest()


class Submits:
    """The keys that were used; see the module.

    :param memory: keeps them.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._working: dict[str, asyncio.Event] = {}

    async def run(
        self, submit: Submit, work: Callable[[], JsonObject], check: Callable[[], None]
    ) -> JsonObject:
        """Answer a submit: do the work, or repeat the first answer.

        :param submit: the request.
        :param work: submits the job and returns the answer; raises Rejection.
        :param check: raises Rejection if an upload handle of the body has expired.
        :raises Rejection: of the work, or 409.
        """
        options = self._memory.options
        submit.choose_key(options.idempotency, options.key_form)
        key = submit.key
        if key is not None and options.two_at_once != "both":
            while (working := self._working.get(key)) is not None:
                if options.two_at_once == "conflict":
                    self._note(submit, conflict=True)
                    message = "A request with this idempotency key is in progress."
                    raise envelope.rejection(409, message, code="ALREADY_IN_PROGRESS", retry_after=1)
                await working.wait()
        if key is not None and (known := self._known(key)) is not None:
            return self._again(submit, known, check)
        if key is not None:
            self._working[key] = asyncio.Event()
        try:
            if options.submit_seconds:
                await asyncio.sleep(options.submit_seconds)
            return self._first(submit, work)
        finally:
            if key is not None and key in self._working:
                self._working.pop(key).set()

    def _known(self, key: str) -> KeyRecord | None:
        known = self._memory.keys.get(key)
        lifetime = self._memory.options.key_hours * HOUR_SECONDS
        if known is not None and self._memory.clock.now() >= known.at + lifetime:
            del self._memory.keys[key]
            return None
        return known

    def _again(self, submit: Submit, known: KeyRecord, check: Callable[[], None]) -> JsonObject:
        options = self._memory.options
        if submit.fingerprint(options.compare) != known.body:
            self._note(submit, conflict=True)
            raise envelope.rejection(409, "This idempotency key was used with another request body.")
        if options.lapsed_replay == "expired":
            check()
        self._note(submit, replay_of=known.job_id, job_id=known.job_id)
        if known.job_id is None:
            raise Rejection(known.status, known.answer)
        return known.answer

    def _first(self, submit: Submit, work: Callable[[], JsonObject]) -> JsonObject:
        options = self._memory.options
        try:
            answer = work()
        except Rejection as rejection:
            if options.burn_rejected_keys and submit.key is not None:
                self._keep(submit, rejection.status, rejection.body, None)
            raise
        self._keep(submit, 202, answer, answer["job_id"])
        self._note(submit, job_id=answer["job_id"], usd=self._memory.jobs[answer["job_id"]].price / 1_000_000)
        return answer

    def _keep(self, submit: Submit, status: int, answer: JsonObject, job_id: str | None) -> None:
        if submit.key is not None:
            body = submit.fingerprint(self._memory.options.compare)
            now = self._memory.clock.now()
            self._memory.keys[submit.key] = KeyRecord(
                submit.key, submit.model, body, now, status, answer, job_id
            )

    def _note(
        self,
        submit: Submit,
        *,
        job_id: str | None = None,
        replay_of: str | None = None,
        conflict: bool = False,
        usd: float = 0.0,
    ) -> None:
        self._memory.submissions.append(
            {
                "job_id": job_id,
                "model": submit.model,
                "idempotency_key": submit.key,
                "place": submit.place,
                "replay_of": replay_of,
                "conflict": conflict,
                "usd": usd,
                "body": self._reduced(submit.body),
                "body_sha256": hashlib.sha256(submit.content).hexdigest(),
                "at": self._memory.clock.now(),
            }
        )

    def _reduced(self, value: Any) -> Any:
        """Replace upload handles, which anyone could use."""
        if isinstance(value, dict):
            return {key: self._reduced(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self._reduced(one) for one in value]
        if isinstance(value, str) and value in self._memory.handles:
            return f"file:{self._memory.handles[value].id}"
        return value


def _is_valid(key: Any, form: str) -> bool:
    if not isinstance(key, str) or not 0 < len(key) <= _MAX_KEY_CHARACTERS or not key.isprintable():
        return False
    if form == "any":
        return True
    try:
        return str(UUID(key)) == key.lower()
    except ValueError:
        return False
