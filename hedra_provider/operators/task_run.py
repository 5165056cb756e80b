"""One run of a task: which generations are its own, over all its tries and on every worker."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hedra_provider import identity
from hedra_provider.operators.base import given, task_run

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Sequence

    from airflow.providers.common.compat.sdk import Context

    from hedra_provider.api.errors import HedraError


@dataclass(frozen=True)
class TaskRun:
    """
    The identity of a task run that generates. It is made once in each process, and needs no storage.

    :param namespace: The account's, of :func:`hedra_provider.identity.account_namespace`.
    :param key: What the generation is for: the task run, or what ``idempotency_key`` says. It makes the ids
        of generations.
    :param attempt_group: The tries since the last clear. It is hashed into the asset id, so an asset with
        that id proves that this group paid.
    :param is_shared: Whether other task runs may have the same key: it is the user's ``idempotency_key``.
    :param is_retry: Whether an earlier try may have submitted.
    :param worker: The host name of this worker, for messages.
    :param is_resumed: Whether this try was deferred before its submit.
    """

    namespace: uuid.UUID
    key: str
    attempt_group: str
    is_shared: bool
    is_retry: bool
    worker: str
    is_resumed: bool = False

    @classmethod
    def of(
        cls, context: Context, namespace: uuid.UUID, *, idempotency_key: Any = None, on_clear: str = "adopt"
    ) -> TaskRun:
        """
        Read who runs from the context.

        :param namespace: The account's.
        :param idempotency_key: What a template rendered of the operator's; None and blank: not given.
        :param on_clear: ``new``: each attempt group has a key of its own.
        :raises HedraValueError: If the key can't be one.
        """
        ti = context["ti"]
        # A run that was deleted and made again is another payer, though it has the same id.
        began = getattr(context.get("dag_run"), "start_date", None)
        attempt_group = task_run(context, max_tries=ti.max_tries, began=str(began or ""))
        shared = read_idempotency_key(idempotency_key)
        key = shared or (attempt_group if on_clear == "new" else task_run(context))
        return cls(
            namespace=namespace,
            key=key,
            attempt_group=attempt_group,
            is_shared=shared is not None,
            is_retry=ti.try_number > 1,
            worker=getattr(ti, "hostname", None) or socket.gethostname(),
        )

    @property
    def began_elsewhere(self) -> bool:
        """Whether another worker may have begun, which had the files that this one may lack."""
        return self.is_retry or self.is_resumed

    def ids(self, variation: int = 0) -> Callable[[int], tuple[str, str]]:
        """
        Return the function that gives the n-th ids: of a generation, and of the asset that it makes.

        :param variation: Which one of a batch.
        """
        return identity.generation_ids(self.namespace, self.key, variation, payer=self.attempt_group)

    @property
    def first_id(self) -> str:
        """The id of the first generation of this key."""
        return self.ids()(0)[0]

    def not_found_again(self, generation_ids: Sequence[str]) -> list[str]:
        """
        Return those generations that a retry would not find: their ids are not made from this key.

        :param generation_ids: One for each variation.
        """
        return [one for v, one in enumerate(generation_ids) if not self._makes(one.lower(), v)]

    def _makes(self, generation_id: str, variation: int) -> bool:
        from hedra_provider.api.plan import MAX_GENERATIONS_PER_KEY

        ids = self.ids(variation)
        # It is the first one, unless that failed or belongs to another request.
        return any(ids(n)[0] == generation_id for n in range(MAX_GENERATIONS_PER_KEY))

    def name_worker(self, error: HedraError) -> bool:
        """
        Add this worker's name to an error about a file, a folder or a driver that another worker may have.

        :return: Whether it is such an error: one of :mod:`hedra_provider.storage` has the system's error as
            its cause.
        """
        from hedra_provider.api.errors import join_sentences

        if not isinstance(error.__cause__, (OSError, ImportError)):
            return False
        error.message = join_sentences(error.message, f"This is worker {self.worker}")
        return True


def read_idempotency_key(value: Any) -> str | None:
    """
    Read an idempotency key, which a template may have rendered.

    :return: None where none is given.
    :raises HedraValueError: If it holds a NUL, which would let it read like another task run's own key, or
        half a character.
    """
    from hedra_provider.api.cleaning import shown
    from hedra_provider.api.errors import HedraValueError
    from hedra_provider.api.requests import require_sendable

    if given(value) is None:
        return None
    require_sendable(str(value), "idempotency_key")
    if "\0" in str(value):
        raise HedraValueError(f"idempotency_key: {shown(value)} holds a NUL.", param="idempotency_key")
    return str(value)
