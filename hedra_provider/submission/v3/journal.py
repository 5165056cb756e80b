"""The own record of an attempt. Each change is durable before the attempt goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hedra_provider.api.errors import HedraStateError
from hedra_provider.submission.v3.record import NOT_SENT, TryRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from hedra_provider.submission.v3.record import Intent, Send
    from hedra_provider.submission.v3.store import RecordStore


class Journal:
    """
    The own record of an attempt, and the records of the others.

    :param store: Where they are kept.
    :param key: The task run's key.
    :param try_id: Of this attempt.
    :param attempt_group: Of this attempt.
    :raises HedraStateError: If the records can't be read.
    """

    def __init__(self, store: RecordStore, *, key: str, try_id: str, attempt_group: str) -> None:
        self._store = store
        self._is_written = False
        self.own = TryRecord(key=key, try_id=try_id, attempt_group=attempt_group)
        for record in store.read():
            if record.try_id == try_id:
                self.own = record

    def read(self) -> list[TryRecord]:
        """
        Return the records of all attempts, the own included.

        The own record is compared with what was written. A store that answers "nothing there" to an attempt
        that it no longer serves is found out this way: Airflow's does to an attempt that a retry has
        replaced.

        :raises HedraStateError: If they can't be read, or the store has lost the own one.
        """
        records = self._store.read()
        if self._is_written and self.own not in records:
            raise HedraStateError(
                f"{self._store.where} does not return the record that this attempt wrote to it.",
                retryable=True,
                remedy="Nothing is submitted without a durable record. Check that all workers share it.",
            )
        return records

    def others(self) -> list[TryRecord]:
        """Return the records of all other attempts; raises as :meth:`read` does."""
        return [record for record in self.read() if record.try_id != self.own.try_id]

    def put(self, intent: Intent) -> None:
        """
        Write an intent of this attempt, in place of its earlier state.

        :param intent: The intent.
        :raises HedraStateError: If it can't be written.
        """
        place = _place(intent)
        others = tuple(one for one in self.own.intents if _place(one) != place)
        self._write(replace(self.own, intents=(*others, intent)))

    def put_v2(self, generation_ids: tuple[str, ...]) -> None:
        """
        Write which generations this attempt submitted with API v2.

        :param generation_ids: Their ids.
        :raises HedraStateError: If they can't be written.
        """
        known = dict.fromkeys((*self.own.v2_generation_ids, *generation_ids))
        self._write(replace(self.own, v2_generation_ids=tuple(known)))

    def own_of(self, intent: Intent) -> Intent:
        """
        Return this attempt's own state of an intent. That of another attempt is copied, without body and
        sends.

        :param intent: An intent, of any attempt.
        """
        for one in self.own.intents:
            if _place(one) == _place(intent):
                return one
        return replace(intent, body=None, sends=(), job_id=None, job_status=None, closed=None, closed_at=None)

    def without_last_send(self, records: list[TryRecord], intent: Intent) -> list[TryRecord]:
        """Return records as they would be without the last send of an own intent."""
        before = replace(intent, sends=(*intent.sends[:-1], replace(intent.sends[-1], outcome=NOT_SENT)))
        intents = tuple(before if one == intent else one for one in self.own.intents)
        own = replace(self.own, intents=intents)
        return [own if record.try_id == own.try_id else record for record in records]

    def is_sending_elsewhere(self, is_recent: Callable[[Send], bool], step: str, n: int) -> bool:
        """
        Return whether another attempt may be sending the n-th submit right now.

        :param is_recent: Whether a send began so lately that its answer may still come.
        :param step: The step.
        :param n: Which submit.
        """
        return any(
            send.outcome is None and is_recent(send)
            for record in self.others()
            for intent in record.intents
            if (intent.step, intent.n) == (step, n)
            for send in intent.sends
        )

    def _write(self, record: TryRecord) -> None:
        self._store.write(record)
        self.own, self._is_written = record, True


def _place(intent: Intent) -> tuple[str, int, str]:
    return intent.step, intent.n, intent.digest
