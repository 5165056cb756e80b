"""Where a task keeps the records of its v3 submits: the connection's ``state_path``, else Airflow's task
state.

Airflow 3.3 keeps the state of a task beside its run. It survives retries, deferrals and clears. Airflow
deletes it with the run, and on success if ``[state_store] clear_on_success`` is set.

This module is loaded when a task works, not when a DAG file is parsed.
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

from hedra_provider.api.errors import HedraStateError
from hedra_provider.api.redaction import fit_cause, words_of
from hedra_provider.storage.state_path import StatePathStore, require_state_path
from hedra_provider.submission.v3.record import TryRecord

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from hedra_provider.submission.v3.store import RecordStore

_SLOT = "hedra/{try_number}"


def new_try_id(try_number: int) -> str:
    """
    Return a name for an attempt that no other process has: a deferred try is continued by another process.

    :param try_number: Airflow's number of the try.
    """
    return f"{try_number:04d}-{secrets.token_hex(8)}"


class TaskStateStore:
    """
    A :class:`hedra_provider.submission.v3.store.RecordStore` in Airflow's task state store (3.3 and later).

    Each try number has a slot of its own, because the store has no request that lists its keys. A slot holds
    the records of all processes of its try. Of other tasks' jobs it knows nothing.

    :param state: ``context["task_state_store"]``.
    :param try_number: Of this try.
    :param key: The key whose records are read: with ``on_clear="new"`` each attempt group has another one.
    """

    where = "Airflow's task state store"

    def __init__(self, state: Any, try_number: int, key: str) -> None:
        self._state = state
        self._try_number = try_number
        self._key = key

    def read(self) -> list[TryRecord]:
        """
        Return the records of all tries of the key.

        :raises HedraStateError: If one can't be read.
        """
        # A try that is run by `airflow tasks test` has the number 0.
        slots = range(min(1, self._try_number), self._try_number + 1)
        return [record for n in slots for record in self._slot(n) if record.key == self._key]

    def write(self, record: TryRecord) -> None:
        """
        Write the record of this try. Those of earlier processes of the same try stay.

        :raises HedraStateError: If it can't be written.
        """
        from airflow.sdk.execution_time.context import NEVER_EXPIRE

        others = [one for one in self._slot(self._try_number) if one.try_id != record.try_id]
        texts = [one.to_json() for one in (*others, record)]
        slot = _SLOT.format(try_number=self._try_number)
        try:
            self._state.set(slot, json.dumps(texts), retention=NEVER_EXPIRE)
        except Exception as error:  # noqa: BLE001  Airflow's, a backend's, or of a text that is no record
            raise _state_error("written", error) from fit_cause(error)

    def is_named_elsewhere(self, job_id: str) -> bool:
        """Return False: a task can't read the state of others."""
        return False

    def name_job(self, job_id: str) -> None:
        """Do nothing: other tasks can't read it."""

    def _slot(self, try_number: int) -> list[TryRecord]:
        try:
            text = self._state.get(_SLOT.format(try_number=try_number))
            return [TryRecord.from_json(one) for one in json.loads(text)] if text else []
        except Exception as error:  # noqa: BLE001  Airflow's, a backend's, or of a text that is no record
            raise _state_error("read", error) from fit_cause(error)


def _state_error(done: str, error: Exception) -> HedraStateError:
    return HedraStateError(
        f"A record of this task's submits can't be {done} in {TaskStateStore.where}: {words_of(error)}.",
        retryable=not isinstance(error, (TypeError, ValueError)),
        remedy="Nothing is submitted without it. If this repeats, set state_path in the connection's extra.",
    )


def choose_store(
    context: Context | None, *, state_path: str | None, key: str, has_idempotency_key: bool
) -> RecordStore:
    """
    Return where a task keeps its records. It is called before anything is uploaded.

    :param context: The task's context; None outside a task.
    :param state_path: Of the connection; it is used where it is given.
    :param key: The task run's key, or the user's idempotency key.
    :param has_idempotency_key: Whether other task runs may have the same key: the state of one task is not
        enough.
    :raises HedraConfigurationError: If there is no durable place. Nothing was uploaded or submitted.
    """
    found = find_store(context, state_path=state_path, key=key, has_idempotency_key=has_idempotency_key)
    if found is not None:
        return found
    if has_idempotency_key:
        why = "With an idempotency_key, other task runs must find the record too"
    elif context is None:
        why = "Outside a task there is no other place for it"
    else:
        why = "This Airflow has no task state store: 3.3 is the first version with one"
    return require_state_path(state_path, key, why)


def find_store(
    context: Context | None, *, state_path: str | None, key: str, has_idempotency_key: bool
) -> RecordStore | None:
    """
    Return where a task keeps its records, as :func:`choose_store`; None if there is no durable place.

    For submits with a v2 key, which need no record: with one, a retry after the key was replaced stops.

    :param context: The task's context; None outside a task.
    :param state_path: Of the connection.
    :param key: The task run's key, or the user's idempotency key.
    :param has_idempotency_key: Whether other task runs may have the same key.
    """
    if state_path:
        return StatePathStore(state_path, key)
    state = context.get("task_state_store") if context is not None else None
    if state is None or has_idempotency_key or context is None:
        return None
    return TaskStateStore(state, context["ti"].try_number, key)
