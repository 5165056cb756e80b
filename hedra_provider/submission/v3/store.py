"""Where the records of submits are kept, so that they survive the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hedra_provider.submission.v3.record import TryRecord


class RecordStore(Protocol):
    """
    The records of one key.

    A store never expires a record by itself. A write is durable when it returns, and a read that begins
    after it returns the written record: two attempts at once rely on that.

    :param where: Its name, for messages, e.g. ``"state_path s3://bucket/hedra"``.
    """

    where: str

    def read(self) -> list[TryRecord]:
        """
        Return the records of all attempts of the key.

        :raises HedraStateError: If one can't be read.
        """

    def write(self, record: TryRecord) -> None:
        """
        Write the record of this attempt, whole or not at all. Other records stay as they are.

        :param record: The record.
        :raises HedraStateError: If it can't be written.
        """

    def is_named_elsewhere(self, job_id: str) -> bool:
        """
        Return whether a record of another key names a job.

        :param job_id: The job.
        :return: False too if the store can't know it.
        :raises HedraStateError: If that can't be read.
        """

    def name_job(self, job_id: str) -> None:
        """
        Remember that a record of this key names a job.

        :param job_id: The job.
        :raises HedraStateError: If that can't be written.
        """


class MemoryStore:
    """
    A store in memory, for tests and for code that runs in one process.

    :param key: The key whose records it reads and writes.
    :param shared: What other stores of the same memory share; an own memory by default.
    """

    where = "memory"

    def __init__(self, key: str, shared: dict[tuple[str, str], str] | None = None) -> None:
        self.key = key
        self.shared = {} if shared is None else shared

    def read(self) -> list[TryRecord]:
        """Return the records of all attempts of the key."""
        from hedra_provider.submission.v3.record import TryRecord

        return [TryRecord.from_json(text) for (key, _), text in self.shared.items() if key == self.key]

    def write(self, record: TryRecord) -> None:
        """Write the record of this attempt."""
        self.shared[self.key, record.try_id] = record.to_json()

    def is_named_elsewhere(self, job_id: str) -> bool:
        """Return whether a record of another key names a job."""
        return self.shared.get(("", job_id), self.key) != self.key

    def name_job(self, job_id: str) -> None:
        """Remember that a record of this key names a job."""
        self.shared["", job_id] = self.key
