r"""The idempotency keys of v3, and the fingerprint by which two owners are compared.

::

    Idempotency-Key = uuid5(namespace, "v3" \0 key \0 step \0 n)

A hash of the body is no part of the key: each upload makes other handles, so a retry would have another key
and pay again. The scheme is versioned and pinned by ``tests/submission/v3/golden/keys.json``.
"""

from __future__ import annotations

import hashlib
import uuid

SCHEME = "v3"


def idempotency_key(namespace: uuid.UUID, key: str, step: str, n: int) -> str:
    """
    Return the ``Idempotency-Key`` of a submit.

    :param namespace: The account's, of :func:`hedra_provider.submission.identity.account_namespace`.
    :param key: The task run's key, or the user's idempotency key.
    :param step: ``speech``, ``avatar`` or ``job``.
    :param n: Which submit of the step, from 0.
    :return: A UUID as text.
    """
    return str(uuid.uuid5(namespace, f"{SCHEME}\0{key}\0{step}\0{n}"))


def owner_fingerprint(api_key: str) -> str:
    """
    Return the fingerprint of an API key's owner: of the id part, without the secret.

    :param api_key: A v3 key, ``<id>:<secret>``.
    :return: A SHA-256 in hex.
    """
    return hashlib.sha256(api_key.strip().partition(":")[0].encode()).hexdigest()
