"""The calls that users need most, as methods of both clients. Each method runs one call of ``calls``.

There is no method for a submit: :func:`hedra_provider.submission.submit.submit_once` pays once even if an
answer is lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from hedra_provider.api import by_version, calls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping

    from hedra_provider.api.calls import Call
    from hedra_provider.api.responses import Credits, Model, Voice
    from hedra_provider.api.v3.responses import (
        BalanceAnswer,
        DeliveryPage,
        EstimateAnswer,
        Job,
        JobPage,
        UsageAnswer,
    )
    from hedra_provider.records import ApiVersion, Generation

T = TypeVar("T")


class SyncMethods:
    """
    The methods of :class:`hedra_provider.api.client.HedraClient`.

    A method that the client's version of the API does not have raises a ``HedraValueError`` that names the
    one to use.
    """

    api_version: ApiVersion

    def run(self, call: Call[T]) -> T:
        """Drive a call to its end."""
        raise NotImplementedError

    def list_voices(self, model: str | None = None) -> list[Voice]:
        """
        Return the voices that can speak a text.

        :param model: The speech model (v3 only); ``elevenlabs-v3`` by default.
        :raises HedraError: If Hedra could not be asked.
        """
        return self.run(by_version.voices(self.api_version, model))

    def list_models(self, types: Iterable[str] = ()) -> list[Model]:
        """
        Return the models; on v2 with their limits and prices.

        :param types: Generation types (v3: modalities) to keep, e.g. ``["video"]``; all by default.
        :raises HedraError: If Hedra could not be asked.
        """
        return self.run(by_version.models(self.api_version, types))

    def get_credits(self) -> Credits:
        """
        Return the credits of the account and of its workspaces (v2).

        :raises HedraError: If Hedra could not be asked.
        """
        by_version.require_version(self.api_version, "get_credits")
        return self.run(calls.get_credits())

    def get_generation(self, generation_id: str) -> Generation:
        """
        Return the status of one generation. It has the URL of its file, but no cost and no request.

        :param generation_id: Its id.
        :return: The generation.
        :raises HedraNotFoundError: If Hedra does not know it (yet: seen for a moment after a submit).
        :raises HedraError: If Hedra could not be asked.
        """
        found: Generation = self.run(by_version.generation(self.api_version, generation_id))
        return found

    def list_generations(self, ids: Iterable[str] = (), **filters: str | int) -> list[Generation]:
        """
        Return generations, newest first, with fields that the status lacks: ``cost``, ``request``, ``width``,
        ``height`` and ``duration_ms``.

        :param ids: Generations to keep; all by default.
        :param filters: ``type``, ``created_after``, ``created_before``, ``limit`` (100), ``offset`` (0).
        :raises HedraError: If Hedra could not be asked.
        """
        by_version.require_version(self.api_version, "list_generations")
        return self.run(calls.list_generations(ids, **filters))

    def get_balance(self) -> BalanceAnswer:
        """
        Return what the key's account can spend, in US dollars (v3).

        :raises HedraError: If Hedra could not be asked.
        """
        return self.run(by_version.balance(self.api_version))

    def get_usage(
        self, start: str | None = None, end: str | None = None, group_by: str | None = None
    ) -> UsageAnswer:
        """
        Return what the account has spent (v3).

        :param start: ISO 8601, included; Hedra's default without it.
        :param end: ISO 8601, not included; Hedra's default without it.
        :param group_by: ``total``, ``day`` or ``model``; Hedra's default without it.
        :raises HedraError: If Hedra could not be asked.
        """
        return self.run(by_version.usage(self.api_version, start, end, group_by))

    def list_jobs(self, *, model: str | None = None, cursor: str | None = None, limit: int = 100) -> JobPage:
        """
        Return a page of the jobs, newest first (v3).

        :param model: Jobs of one model only; all by default.
        :param cursor: ``next_cursor`` of the page before; the first page by default.
        :param limit: Rows of a page, 1 to 100 (default).
        :raises HedraError: If Hedra could not be asked.
        """
        return self.run(by_version.jobs(self.api_version, model, cursor, limit))

    def get_job(self, job_id: str) -> Job:
        """
        Return a job with its outputs, error and cost (v3).

        :param job_id: The job.
        :raises HedraNotFoundError: If Hedra does not know it.
        :raises HedraError: If Hedra could not be asked.
        """
        return self.run(by_version.job(self.api_version, job_id))

    def estimate(self, model: str, model_input: Mapping[str, Any]) -> EstimateAnswer:
        """
        Return the price of a job; nothing is charged (v3). Hedra rejects avatar models.

        :param model: The model.
        :param model_input: ``input`` of the submit.
        :raises HedraError: If Hedra could not be asked.
        """
        return self.run(by_version.price(self.api_version, model, model_input))

    def list_deliveries(self, cursor: str | None = None, limit: int = 100) -> DeliveryPage:
        """
        Return a page of the webhook deliveries, newest first (v3).

        :param cursor: ``next_cursor`` of the page before; the first page by default.
        :param limit: Rows of a page, 1 to 100 (default).
        :raises HedraError: If Hedra could not be asked.
        """
        return self.run(by_version.deliveries(self.api_version, cursor, limit))


class AsyncMethods:
    """The methods of ``AsyncHedraClient``, to await. :class:`SyncMethods` documents their parameters."""

    api_version: ApiVersion

    async def run(self, call: Call[T]) -> T:
        """Drive a call to its end."""
        raise NotImplementedError

    def list_voices(self, model: str | None = None) -> Awaitable[list[Voice]]:
        """Return the voices that can speak a text."""
        return self.run(by_version.voices(self.api_version, model))

    def list_models(self, types: Iterable[str] = ()) -> Awaitable[list[Model]]:
        """Return the models with their limits and prices."""
        return self.run(by_version.models(self.api_version, types))

    def get_credits(self) -> Awaitable[Credits]:
        """Return the credits of the account and of its workspaces."""
        by_version.require_version(self.api_version, "get_credits")
        return self.run(calls.get_credits())

    def get_generation(self, generation_id: str) -> Awaitable[Generation]:
        """Return the status of one generation."""
        return self.run(by_version.generation(self.api_version, generation_id))

    def list_generations(self, ids: Iterable[str] = (), **filters: str | int) -> Awaitable[list[Generation]]:
        """Return generations, newest first, with the fields that their status lacks."""
        by_version.require_version(self.api_version, "list_generations")
        return self.run(calls.list_generations(ids, **filters))

    def get_balance(self) -> Awaitable[BalanceAnswer]:
        """Return what the key's account can spend, in US dollars (v3)."""
        return self.run(by_version.balance(self.api_version))

    def get_usage(
        self, start: str | None = None, end: str | None = None, group_by: str | None = None
    ) -> Awaitable[UsageAnswer]:
        """Return what the account has spent (v3)."""
        return self.run(by_version.usage(self.api_version, start, end, group_by))

    def list_jobs(
        self, *, model: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> Awaitable[JobPage]:
        """Return a page of the jobs, newest first (v3)."""
        return self.run(by_version.jobs(self.api_version, model, cursor, limit))

    def get_job(self, job_id: str) -> Awaitable[Job]:
        """Return a job with its outputs, error and cost (v3)."""
        return self.run(by_version.job(self.api_version, job_id))

    def estimate(self, model: str, model_input: Mapping[str, Any]) -> Awaitable[EstimateAnswer]:
        """Return the price of a job; nothing is charged (v3). Hedra rejects avatar models."""
        return self.run(by_version.price(self.api_version, model, model_input))

    def list_deliveries(self, cursor: str | None = None, limit: int = 100) -> Awaitable[DeliveryPage]:
        """Return a page of the webhook deliveries, newest first (v3)."""
        return self.run(by_version.deliveries(self.api_version, cursor, limit))
