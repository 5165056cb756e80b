"""What a step of a task run is submitted with, and what comes of it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hedra_provider.submission.v3.keys import idempotency_key, owner_fingerprint
from hedra_provider.submission.v3.record import BodyCipher, KeyPlace

if TYPE_CHECKING:
    import uuid

    from hedra_provider.api.calls import Call
    from hedra_provider.records import Generation
    from hedra_provider.submission.plan import Rule

RETRY_IN_PLACE_SECONDS = 30.0
"""How long a submit is repeated in place if Hedra surely did not accept it (429, no connection)."""


def _ignore(sentence: str) -> None:
    """Take a sentence for a log that nobody reads."""


@dataclass(frozen=True, kw_only=True)
class JobRun:
    """
    One attempt at a step of a task run.

    :param key: The task run's key, or the user's idempotency key.
    :param attempt_group: The attempts since the last clear.
    :param step: ``speech``, ``avatar`` or ``job``: each is paid for by itself.
    :param namespace: The account's, of :func:`hedra_provider.submission.identity.account_namespace`.
    :param api_key: The v3 key, ``<id>:<secret>``. It encrypts the bodies.
    :param try_id: Names this attempt. No two processes may share one. A process keeps it for all its steps.
    :param place: Where the idempotency key is sent: ``header`` (default), ``body`` or ``both``.
    :param retry_in_place_seconds: How long a submit that Hedra surely did not accept is repeated here, in
        seconds; 30 by default.
    :param notify: Receives a sentence for the log when this attempt waits, sends again or passes a submit
        over.
    :param now: Returns the worker's epoch seconds; ``time.time`` by default. A test moves a clock instead.
    :param jitter: Returns random numbers in [0, 1): submits that were rate-limited together must not be
        repeated together.
    """

    key: str
    attempt_group: str
    step: str
    namespace: uuid.UUID
    api_key: str = field(repr=False)
    try_id: str
    place: KeyPlace = "header"
    retry_in_place_seconds: float = RETRY_IN_PLACE_SECONDS
    notify: Callable[[str], None] = _ignore
    now: Callable[[], float] = time.time
    jitter: Callable[[], float] = random.random

    @property
    def owner(self) -> str:
        """The fingerprint of the API key's owner."""
        return owner_fingerprint(self.api_key)

    @property
    def cipher(self) -> BodyCipher:
        """What encrypts the bodies."""
        return BodyCipher(self.api_key)

    def idempotency_key(self, n: int) -> str:
        """Return the ``Idempotency-Key`` of the n-th submit of the step."""
        return idempotency_key(self.namespace, self.key, self.step, n)


@dataclass(frozen=True, kw_only=True)
class PreparedBody:
    """
    A body that is ready to be sent: its files are uploaded.

    :param content: The exact bytes of the JSON object.
    :param handles_expire_at: Epoch seconds at which the first upload handle in it lapses; None without
        handles.
    """

    content: bytes = field(repr=False)
    handles_expire_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class JobDraft:
    """
    A request, before anything of it is sent.

    :param model: Hedra's name of the model.
    :param fingerprint: Of the request, from :func:`hedra_provider.service.job_request.request_fingerprint`.
    :param make_body: Uploads the files and returns the body. It is called only if a new submit is needed, so
        only then is anything uploaded.
    """

    model: str
    fingerprint: str
    make_body: Callable[[], Call[PreparedBody]]


@dataclass(frozen=True, kw_only=True)
class JobSubmission:
    """
    A job to wait for.

    :param generation: Its latest state.
    :param n: Which submit of the step made it, from 0.
    :param rule: Why the step gets this job.
    :param adopted: Whether it existed already; False if a send of this call was accepted.
    :param paid_here: Whether this attempt group paid for it.
    """

    generation: Generation
    n: int
    rule: Rule
    adopted: bool
    paid_here: bool

    @property
    def job_id(self) -> str:
        """The id of the job."""
        return self.generation.id
