r"""The ids of generations and assets, computed from the task run. Nothing is stored.

::

    generation_id = uuid5(namespace, "v1" \0 key \0 variation \0 n)

So a retry computes the same id on any machine. The scheme is versioned and pinned by
``tests/submission/golden/ids.json``: if it changed, running tasks would not find the generations that they
paid for.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEME = "v1"
_ROOT = uuid.UUID("7d0c1f6e-3c1b-5f0a-9b51-6d1f1c4f2a90")


def account_namespace(api_key: str, id_namespace: str | None = None) -> uuid.UUID:
    """
    Return the namespace of an account's ids: two accounts that run the same DAG must not share an id.

    :param api_key: The connection's key. Its hash makes the namespace, so a new key makes new ids.
    :param id_namespace: A name that replaces the key, so that the ids survive a key rotation; by default the
        key is used.
    :return: A namespace for ``uuid5``.
    """
    if id_namespace:
        return uuid.uuid5(_ROOT, f"name\0{id_namespace}")
    return uuid.uuid5(_ROOT, f"key\0{hashlib.sha256(api_key.encode()).hexdigest()}")


def task_run_key(
    dag_id: str, run_id: str, task_id: str, map_index: int, *, max_tries: int | None = None, began: str = ""
) -> str:
    """
    Return the key of a task run, the same in all its attempts.

    :param dag_id: The DAG.
    :param run_id: The DAG run.
    :param task_id: The task.
    :param map_index: The index of a mapped task; -1 for another.
    :param max_tries: Airflow's ``max_tries``. Retries and deferrals keep it, a clear changes it (seen on
        3.0.6 to 3.3.2), so with it each clear makes another key. None by default.
    :param began: When the DAG run began; used with ``max_tries`` only. Retries and deferrals keep it too.
    :return: The parts, joined by NUL characters.
    """
    parts = [dag_id, run_id, task_id, str(map_index)]
    if max_tries is not None:
        parts += [str(max_tries), began]
    return "\0".join(parts)


def generation_ids(
    namespace: uuid.UUID, key: str, variation: int = 0, *, attempt_group: str = ""
) -> Callable[[int], tuple[str, str]]:
    """
    Return the function that computes the n-th ids of a key.

    :param namespace: The account's namespace, from :func:`account_namespace`.
    :param key: The task run's key, or an idempotency key.
    :param variation: The position in a batch, 0 by default.
    :param attempt_group: Hashed into the asset id, so that an asset with this id proves that this attempt
        group paid.
    :return: A function from n to the id of the generation and the id of the asset that it makes.
    """

    def nth(n: int) -> tuple[str, str]:
        name = f"{SCHEME}\0{key}\0{variation}\0{n}"
        return str(uuid.uuid5(namespace, name)), str(
            uuid.uuid5(namespace, f"result\0{name}\0{attempt_group}")
        )

    return nth


def asset_id(
    namespace: uuid.UUID,
    sha256: str,
    asset_type: str,
    workspace_id: str | None,
    *,
    only_for: str | None = None,
) -> str:
    """
    Return the id of a file as an asset: the same bytes have the same id and are uploaded once.

    :param namespace: The account's namespace, from :func:`account_namespace`.
    :param sha256: The hash of the content, in hex.
    :param asset_type: ``image``, ``audio`` or ``video``.
    :param workspace_id: The workspace that owns the asset; None for the key's default one.
    :param only_for: The key of a task run that needs its own asset: each of its attempts computes the same
        id. None by default: the asset is shared.
    :return: A UUID.
    """
    name = f"asset\0{SCHEME}\0{workspace_id or ''}\0{asset_type}\0{sha256}"
    return str(uuid.uuid5(namespace, name if only_for is None else f"{name}\0{only_for}"))


@dataclass(frozen=True)
class RunIdentity:
    """
    The identity of a task run that generates, the same in all its attempts and on every worker.

    :param namespace: The account's, of :func:`account_namespace`.
    :param key: What the generation is for: the task run, or what ``idempotency_key`` says. It makes the ids
        of generations.
    :param attempt_group: The tries since the last clear. It is hashed into the asset id, so an asset with
        that id proves that this group paid.
    :param is_shared: Whether other task runs may have the same key: it is the user's ``idempotency_key``.
    :param is_retry: Whether an earlier try may have submitted.
    :param is_resumed: Whether this try was deferred before its submit.
    """

    namespace: uuid.UUID
    key: str
    attempt_group: str
    is_shared: bool
    is_retry: bool
    is_resumed: bool = False

    @property
    def began_elsewhere(self) -> bool:
        """Whether another worker may have begun, which had the files that this one may lack."""
        return self.is_retry or self.is_resumed

    def ids(self, variation: int = 0) -> Callable[[int], tuple[str, str]]:
        """
        Return the function that gives the n-th ids: of a generation, and of the asset that it makes.

        :param variation: Which one of a batch.
        """
        return generation_ids(self.namespace, self.key, variation, attempt_group=self.attempt_group)

    @property
    def first_id(self) -> str:
        """The id of the first generation of this key. It identifies the key, on every version."""
        return self.ids()(0)[0]
