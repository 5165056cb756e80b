"""One run of a task: which generations are its own, over all its tries and on every worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hedra_provider.operators.base import task_run
from hedra_provider.submission.identity import RunIdentity

if TYPE_CHECKING:
    import uuid

    from airflow.providers.common.compat.sdk import Context


@dataclass(frozen=True)
class TaskRun(RunIdentity):
    """
    The identity of an Airflow task run. It is made once in each process, and needs no storage.

    :param named: The generation that the operator's ``generation_id`` names for this task. Default: None.
    """

    named: str | None = None

    @classmethod
    def of(
        cls,
        context: Context,
        namespace: uuid.UUID,
        *,
        idempotency_key: str | None = None,
        on_clear: str = "adopt",
        generation_id: str | Mapping[int, str] | None = None,
    ) -> TaskRun:
        """
        Read who runs from the context.

        :param namespace: The account's.
        :param idempotency_key: The operator's, as :func:`hedra_provider.arguments.key` reads it; None: it has
            none.
        :param on_clear: ``new``: each attempt group has a key of its own.
        :param generation_id: The operator's: an id, or ids by map index. Default: None.
        """
        ti = context["ti"]
        if isinstance(generation_id, Mapping):
            generation_id = generation_id.get(-1 if ti.map_index is None else ti.map_index)
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
            named=generation_id,
        )
