"""One run of a task: which generations are its own, over all its tries and on every worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hedra_provider.api.errors import HedraError
from hedra_provider.operators.base import task_run
from hedra_provider.operators.task_state import choose_store, find_store, new_try_id
from hedra_provider.service.protocol import SubmitRecords
from hedra_provider.submission.identity import RunIdentity

if TYPE_CHECKING:
    import uuid

    from airflow.providers.common.compat.sdk import Context

    from hedra_provider.hooks import HedraHook


@dataclass(frozen=True)
class TaskRun(RunIdentity):
    """
    The identity of an Airflow task run. It is made once in each process.

    :param named: The generation that the operator's ``generation_id`` names for this task. Default: None.
    :param records: Where its submits are recorded. Default: None, no place; only v2 does without.
    """

    named: str | None = None
    records: SubmitRecords | None = None

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


def open_records(
    context: Context, hook: HedraHook, run: TaskRun, *, step: str, log: Any
) -> SubmitRecords | None:
    """
    Choose where the submits of a task run are recorded, before anything is uploaded.

    :param hook: The operator's hook.
    :param run: The task run.
    :param step: The paid step that makes the result: ``avatar`` or ``job``.
    :param log: The task's log.
    :return: None if there is no place, and Hedra's API needs none (v2).
    :raises HedraConfigurationError: If there is no place, and Hedra's API needs one (v3).
    """
    needed = hook.service.needs_records
    try:
        store = (choose_store if needed else find_store)(
            context,
            state_path=hook.settings.state_path,
            key=run.key,
            has_idempotency_key=run.is_shared,
        )
    except HedraError as error:
        if needed:
            raise
        log.warning("What this task submits is not recorded, which v2 does not need: %s", error)
        return None
    if store is None:
        return None
    try_id = new_try_id(context["ti"].try_number)
    return SubmitRecords(store=store, try_id=try_id, step=step, notify=log.warning)
