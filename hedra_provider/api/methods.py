"""The calls that users need most, as methods of both clients. Each method runs one call of ``calls``.

There is no method for a submit: :func:`hedra_provider.submission.submit.submit_once` pays once even if an
answer is lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from hedra_provider.api import calls
from hedra_provider.api.lookups import get_known_status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from hedra_provider.api.calls import Call
    from hedra_provider.api.responses import Credits, Model, Voice
    from hedra_provider.records import Generation

T = TypeVar("T")


class SyncMethods:
    """The methods of :class:`hedra_provider.api.client.HedraClient`."""

    def run(self, call: Call[T]) -> T:
        """Drive a call to its end."""
        raise NotImplementedError

    def list_voices(self) -> list[Voice]:
        """
        Return the voices for inline speech.

        :raises HedraError: If Hedra could not be asked.
        """
        return self.run(calls.list_voices())

    def list_models(self, types: Iterable[str] = ()) -> list[Model]:
        """
        Return the models with their limits and prices.

        :param types: Generation types to keep, e.g. ``["video"]``; all by default.
        :raises HedraError: If Hedra could not be asked.
        """
        return self.run(calls.list_models(types))

    def get_credits(self) -> Credits:
        """
        Return the credits of the account and of its workspaces.

        :raises HedraError: If Hedra could not be asked.
        """
        return self.run(calls.get_credits())

    def get_generation(self, generation_id: str) -> Generation:
        """
        Return the status of one generation. It has the URL of its file, but no cost and no request.

        :param generation_id: Its id.
        :return: The generation.
        :raises HedraNotFoundError: If Hedra does not know it (yet: seen for a moment after a submit).
        :raises HedraError: If Hedra could not be asked.
        """
        return self.run(get_known_status(generation_id))

    def list_generations(self, ids: Iterable[str] = (), **filters: str | int) -> list[Generation]:
        """
        Return generations, newest first, with fields that the status lacks: ``cost``, ``request``, ``width``,
        ``height`` and ``duration_ms``.

        :param ids: Generations to keep; all by default.
        :param filters: ``type``, ``created_after``, ``created_before``, ``limit`` (100), ``offset`` (0).
        :raises HedraError: If Hedra could not be asked.
        """
        return self.run(calls.list_generations(ids, **filters))


class AsyncMethods:
    """The methods of ``AsyncHedraClient``, to await. :class:`SyncMethods` documents their parameters."""

    async def run(self, call: Call[T]) -> T:
        """Drive a call to its end."""
        raise NotImplementedError

    def list_voices(self) -> Awaitable[list[Voice]]:
        """Return the voices for inline speech."""
        return self.run(calls.list_voices())

    def list_models(self, types: Iterable[str] = ()) -> Awaitable[list[Model]]:
        """Return the models with their limits and prices."""
        return self.run(calls.list_models(types))

    def get_credits(self) -> Awaitable[Credits]:
        """Return the credits of the account and of its workspaces."""
        return self.run(calls.get_credits())

    def get_generation(self, generation_id: str) -> Awaitable[Generation]:
        """Return the status of one generation."""
        return self.run(get_known_status(generation_id))

    def list_generations(self, ids: Iterable[str] = (), **filters: str | int) -> Awaitable[list[Generation]]:
        """Return generations, newest first, with the fields that their status lacks."""
        return self.run(calls.list_generations(ids, **filters))
