"""What one attempt knows of its submits, as JSON. Each attempt writes a record of its own.

A reader ignores fields that a later version of the provider added. A request's body holds upload handles,
which are secrets: it is encrypted with a key derived from the API key.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from collections.abc import Mapping

R = TypeVar("R")

KeyPlace = Literal["header", "body", "both"]
"""Where the idempotency key is sent."""

RECORD_VERSION = 1

ACCEPTED = "accepted"
REJECTED = "rejected"
RATE_LIMITED = "rate_limited"
CONFLICT = "conflict"
UNKNOWN = "unknown"
NOT_SENT = "not_sent"

NOT_ACCEPTED = frozenset({REJECTED, RATE_LIMITED, NOT_SENT})
"""The endings of a send after which Hedra surely made no job of it. Every other ending, also one that a later
version adds, and none at all leave the outcome unknown."""

NONE_FOUND = "none_found"


@dataclass(frozen=True, kw_only=True)
class Send:
    """
    One sending of a submit.

    :param began_at: Epoch seconds by Hedra's clock. Written before the request is sent.
    :param outcome: How it ended: ``accepted``, ``rejected``, ``rate_limited``, ``conflict``, ``unknown`` or
        ``not_sent``; None until that is known, so also after a kill.
    :param status_code: The HTTP status of the answer; None without an answer.
    """

    began_at: float
    outcome: str | None = None
    status_code: int | None = None


@dataclass(frozen=True, kw_only=True)
class Intent:
    """
    The intent to submit once. It is durable before the submit.

    :param step: ``speech``, ``avatar`` or ``job``: each step of a task is paid for by itself.
    :param n: Which submit of the step it is, from 0.
    :param idempotency_key: The ``Idempotency-Key`` of all its sends.
    :param place: Where the key is sent: ``header``, ``body`` or ``both``.
    :param model: Hedra's name of the model.
    :param fingerprint: Of the request, from :func:`hedra_provider.service.job_request.request_fingerprint`.
    :param attempt_group: The attempt group that made the request.
    :param owner: The fingerprint of the API key's owner.
    :param began_at: Epoch seconds by Hedra's clock. The replay window begins here.
    :param handles_expire_at: Epoch seconds at which the first upload handle lapses; None without handles.
    :param digest: The SHA-256 of the body, in hex; empty for an adopted job.
    :param body: The exact body, encrypted; None where the record of another attempt has it.
    :param sends: All sends of this attempt, in order.
    :param job_id: The job that Hedra made of it; None until that is known.
    :param job_status: ``complete`` or ``error`` after the job ended; None until that is known.
    :param is_adopted: Whether a user named the job with ``generation_id``. False by default.
    :param closed: ``none_found``: a search found no job of this intent. None by default.
    :param closed_at: When it was closed, epoch seconds by Hedra's clock.
    """

    step: str
    n: int
    idempotency_key: str
    place: KeyPlace
    model: str
    fingerprint: str
    attempt_group: str
    owner: str
    began_at: float
    handles_expire_at: float | None = None
    digest: str = ""
    body: str | None = None
    sends: tuple[Send, ...] = ()
    job_id: str | None = None
    job_status: str | None = None
    is_adopted: bool = False
    closed: str | None = None
    closed_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class TryRecord:
    """
    What one attempt knows.

    :param key: The task run's key, or the user's idempotency key.
    :param try_id: Names the attempt. No two processes share one.
    :param attempt_group: The attempt group of this attempt.
    :param intents: Its intents, of all steps.
    :param v2_generation_ids: Generations that it submitted with API v2.
    :param version: Of this format.
    """

    key: str
    try_id: str
    attempt_group: str
    intents: tuple[Intent, ...] = ()
    v2_generation_ids: tuple[str, ...] = ()
    version: int = RECORD_VERSION

    def to_json(self) -> str:
        """Return the record as JSON text. It has no secret in clear."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """
        Read a record.

        :param text: What :meth:`to_json` returned, also of a later version of the provider.
        :raises ValueError: If it is no record.
        """
        try:
            found = json.loads(text)
            intents = tuple(
                _read(Intent, {**one, "sends": tuple(_read(Send, send) for send in one.get("sends", ()))})
                for one in found.get("intents", ())
            )
            v2_ids = tuple(found.get("v2_generation_ids", ()))
            return _read(cls, {**found, "intents": intents, "v2_generation_ids": v2_ids})
        except (TypeError, AttributeError, KeyError, RecursionError) as error:
            # Not the error's text: it may quote the record.
            raise ValueError(f"it is no record of a submit ({type(error).__name__})") from None


def _read(kind: type[R], fields: Mapping[str, Any]) -> R:
    """Make a record of those fields that this version knows."""
    known = {one.name for one in dataclasses.fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in fields.items() if name in known})


def digest_of(content: bytes) -> str:
    """Return the SHA-256 of a body, in hex."""
    return hashlib.sha256(content).hexdigest()


class BodyCipher:
    """
    Encrypts the bodies of submits.

    :param api_key: The API key. A record that was written with another key can't be decrypted, so its body
        can't be sent again.
    """

    def __init__(self, api_key: str) -> None:
        derived = HKDF(SHA256(), 32, salt=None, info=b"hedra_provider submit body 1").derive(api_key.encode())
        self._fernet = Fernet(base64.urlsafe_b64encode(derived))

    def encrypt(self, content: bytes) -> str:
        """Return the encrypted body as text."""
        return self._fernet.encrypt(content).decode()

    def decrypt(self, body: str | None, digest: str) -> bytes | None:
        """
        Return the exact body.

        :param body: What :meth:`encrypt` returned.
        :param digest: The SHA-256 that the body must have, in hex.
        :return: None if there is no body, another API key encrypted it, or it was changed.
        """
        try:
            content = self._fernet.decrypt(body.encode()) if body else None
        except (InvalidToken, ValueError):
            return None
        return content if content is not None and digest_of(content) == digest else None
