r"""Which generation belongs to which task run.

The id of a generation is a function of the task run and needs no storage::

    generation_id = uuid5(namespace, "v1" \0 key \0 variation \0 n)

so a retry, on whatever machine, asks for the same one. The scheme is versioned and pinned by
``tests/golden/ids.json``: changing it would make every running task forget what it paid for.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEME = "v1"
_ROOT = uuid.UUID("7d0c1f6e-3c1b-5f0a-9b51-6d1f1c4f2a90")


def account_namespace(api_key: str, id_namespace: str | None = None) -> uuid.UUID:
    """
    Return the namespace in which an account's ids are made.

    Two accounts that run the same example must not ask for the same id.

    :param api_key: The connection's key; a hash of it makes the namespace, so another key makes another.
    :param id_namespace: A name of one's own, kept over a rotation of the key.
    """
    if id_namespace:
        return uuid.uuid5(_ROOT, f"name\0{id_namespace}")
    return uuid.uuid5(_ROOT, f"key\0{hashlib.sha256(api_key.encode()).hexdigest()}")


def task_run_key(
    dag_id: str, run_id: str, task_id: str, map_index: int, *, max_tries: int | None = None, began: str = ""
) -> str:
    """
    Return the key of a task run: the same over all its tries.

    :param max_tries: Airflow's number that stays as it is over retries and deferrals and moves on a clear
        (seen on 3.0.6 to 3.3.2): with it, each clear makes another key.
    :param began: When the run began, with ``max_tries``: it stays as it is over retries and deferrals too.
    """
    parts = [dag_id, run_id, task_id, str(map_index)]
    if max_tries is not None:
        parts += [str(max_tries), began]
    return "\0".join(parts)


def generation_ids(
    namespace: uuid.UUID, key: str, variation: int = 0, *, attempt_group: str = ""
) -> Callable[[int], tuple[str, str]]:
    """
    Return the function that gives the n-th ids of a key: of the generation, and of the asset that it makes.

    :param namespace: The account's, of :func:`account_namespace`.
    :param key: The task run's, or a business key.
    :param variation: Which one of a batch.
    :param attempt_group: Hashed into the asset id, so an asset with that id proves that this attempt
        group paid.
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
    Return the id that a file has as an asset, so that the same bytes are uploaded once.

    :param sha256: The hash of the content, in hex.
    :param only_for: The key of a task run that wants an asset of its own; each of its tries finds it again.
    """
    name = f"asset\0{SCHEME}\0{workspace_id or ''}\0{asset_type}\0{sha256}"
    return str(uuid.uuid5(namespace, name if only_for is None else f"{name}\0{only_for}"))
