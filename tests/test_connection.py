"""Concurrent readers of a connection share one lookup; later readers read it again."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider import connection
from hedra_provider.api.errors import HedraConfigurationError
from hedra_provider.connection import read_connection
from tests.polling.over_http import CONNECTION, TASK, tasks, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from hedra_provider.connection_fields import HedraSettings


def with_key(key: str) -> str:
    return json.dumps({"conn_type": "hedra", "password": key})


class Reading:
    """Every reading waits for its gate, then reads."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.gates: list[asyncio.Event] = []
        self.are_open = False
        self.read: list[tuple[str, str]] = []
        original = connection.read_async

        async def gated(conn_id: str) -> HedraSettings:
            self.read.append((conn_id, TASK.get()))
            self.gates.append(asyncio.Event())
            if not self.are_open:
                await self.gates[-1].wait()
            return await original(conn_id)

        patch.setattr(connection, "read_async", gated)

    def open(self) -> None:
        self.are_open = True
        for gate in self.gates:
            gate.set()


@pytest.fixture
async def reading(monkeypatch: pytest.MonkeyPatch) -> Reading:
    monkeypatch.setenv(CONNECTION, with_key("the-first-key"))
    return Reading(monkeypatch)


async def asked(reading: Reading, count: int, conn_id: str = "hedra_default") -> list[asyncio.Task[Any]]:
    """Let so many ask, and wait until the first reading waits."""
    tasks = [asyncio.ensure_future(read_connection(conn_id)) for _ in range(count)]
    await until(lambda: bool(reading.read))
    return tasks


async def test_a_thousand_concurrent_readers_share_one_lookup(reading: Reading):
    TASK.set("mine")
    readers = await asked(reading, 1000)
    reading.open()
    assert {settings.api_key for settings in await asyncio.gather(*readers)} == {"the-first-key"}
    # In a context of nobody's: what is logged there goes into no task's log.
    assert reading.read == [("hedra_default", "nobody's")]


async def test_each_connection_has_its_own_lookup(reading: Reading, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW_CONN_HEDRA_OTHER", with_key("the-other-key"))
    readers = await asked(reading, 2) + await asked(reading, 2, "hedra_other")
    reading.open()
    keys = [settings.api_key for settings in await asyncio.gather(*readers)]
    assert keys == ["the-first-key"] * 2 + ["the-other-key"] * 2


async def test_settings_are_not_cached(reading: Reading, monkeypatch: pytest.MonkeyPatch):
    reading.open()
    await read_connection("hedra_default")
    monkeypatch.setenv(CONNECTION, with_key("the-second-key"))
    assert (await read_connection("hedra_default")).api_key == "the-second-key"


async def test_reading_again_ignores_an_earlier_lookup(reading: Reading, monkeypatch: pytest.MonkeyPatch):
    (before,) = await asked(reading, 1)
    again = asyncio.ensure_future(read_connection("hedra_default", again=True))
    await until(lambda: len(reading.read) == 2)
    reading.gates[0].set()
    await before
    # Who comes now gets what the newer one brings.
    monkeypatch.setenv(CONNECTION, with_key("the-second-key"))
    after = asyncio.ensure_future(read_connection("hedra_default"))
    await asyncio.sleep(0)
    reading.open()
    assert [(await one).api_key for one in (before, again, after)] == [
        "the-first-key",
        *["the-second-key"] * 2,
    ]
    assert len(reading.read) == 2


async def test_a_cancelled_wait_cancels_no_other(reading: Reading):
    readers = await asked(reading, 3)
    readers[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await readers[0]
    reading.open()
    assert [settings.api_key for settings in await asyncio.gather(*readers[1:])] == ["the-first-key"] * 2
    assert len(reading.read) == 1


async def test_a_lookup_that_never_ends_fails_for_all_readers(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(connection, "READING_SECONDS", 0.05)
    readers = await asked(reading, 3)
    readers[0].cancel()
    for reader in readers[1:]:
        with pytest.raises(
            HedraConfigurationError, match="could not be read in the triggerer within"
        ) as raised:
            await reader
        assert raised.value.retryable
    reading.open()
    # On a busy machine a reading takes longer than that.
    monkeypatch.setattr(connection, "READING_SECONDS", 60.0)
    assert (await read_connection("hedra_default")).api_key == "the-first-key"


def test_a_loop_that_ends_during_a_lookup_is_freed(monkeypatch: pytest.MonkeyPatch):
    async def hangs(conn_id: str) -> HedraSettings:
        await asyncio.Event().wait()
        raise AssertionError

    async def begin() -> None:
        nonlocal begun
        begun = asyncio.ensure_future(read_connection("hedra_default"))
        await asyncio.sleep(0.01)

    monkeypatch.setattr(connection, "read_async", hangs)
    begun: asyncio.Future[HedraSettings] | None = None
    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    # Without the clean-up of asyncio.run().
    loop.close()
    kept = weakref.ref(loop)
    begun = loop = None
    gc.collect()
    assert kept() is None


def no_connection(patch: pytest.MonkeyPatch) -> None:
    patch.delenv(CONNECTION)


def no_key(patch: pytest.MonkeyPatch) -> None:
    patch.setenv(CONNECTION, with_key(""))


@pytest.mark.parametrize("wrong", [no_connection, no_key])
async def test_each_gets_an_error_of_its_own_and_none_is_kept(
    reading: Reading, monkeypatch: pytest.MonkeyPatch, wrong: Callable[[pytest.MonkeyPatch], None]
):
    wrong(monkeypatch)
    readers = await asked(reading, 3)
    reading.open()
    errors = await asyncio.gather(*readers, return_exceptions=True)
    assert {type(error) for error in errors} == {HedraConfigurationError}
    assert len({id(error) for error in errors}) == 3
    assert {str(error) for error in errors} == {str(errors[0])}
    # Airflow says that there is none also when its lookup failed.
    assert {error.retryable for error in errors} == {wrong is no_connection}
    monkeypatch.setenv(CONNECTION, with_key("the-second-key"))
    assert (await read_connection("hedra_default")).api_key == "the-second-key"


async def test_an_error_after_all_readers_were_cancelled_is_not_logged(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
):
    no_key(monkeypatch)
    troubles: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, trouble: troubles.append(trouble))
    (gone,) = await asked(reading, 1)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    reading.open()
    await until(lambda: "hedra-connection" not in tasks())
    # asyncio complains when it goes.
    del gone
    gc.collect()
    assert troubles == []
