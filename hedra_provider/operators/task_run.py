"""One run of a task: which generations are its own, over all its tries and on every worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hedra_provider.operators.base import task_run
from hedra_provider.submission import identity

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Sequence

    from airflow.providers.common.compat.sdk import Context


@dataclass(frozen=True)
class TaskRun:
    """
    The identity of a task run that generates. It is made once in each process, and needs no storage.

    :param namespace: The account's, of :func:`hedra_provider.submission.identity.account_namespace`.
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

    @classmethod
    def of(
        cls,
        context: Context,
        namespace: uuid.UUID,
        *,
        idempotency_key: str | None = None,
        on_clear: str = "adopt",
    ) -> TaskRun:
        """
        Read who runs from the context.

        :param namespace: The account's.
        :param idempotency_key: The operator's, as :func:`hedra_provider.arguments.key` reads it; None: it has
            none.
        :param on_clear: ``new``: each attempt group has a key of its own.
        """
        ti = context["ti"]
        # A run that was deleted and made again is another attempt group, though it has the same id.
        began = getattr(context.get("dag_run"), "start_date", None)
        attempt_group = task_run(context, max_tries=ti.max_tries, began=str(began or ""))
        key = idempotency_key or (attempt_group if on_clear == "new" else task_run(context))
        return cls(
            namespace=namespace,
            key=key,
            attempt_group=attempt_group,
            is_shared=idempotency_key is not None,
            is_retry=ti.try_number > 1,
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
        from hedra_provider.submission.plan import MAX_GENERATIONS_PER_KEY

        ids = self.ids(variation)
        # It is the first one, unless that failed or belongs to another request.
        return any(ids(n)[0] == generation_id for n in range(MAX_GENERATIONS_PER_KEY))
