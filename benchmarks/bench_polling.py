"""What do many waiting triggers cost? Compares this provider, one poller per trigger, and HttpSensorTrigger.

    python -m benchmarks.bench_polling [--counts 100,1000,10000] [--everything] [--repeat 1]

The triggers wait in one event loop, as in a triggerer. A fake API (``benchmarks/fake_api.py``, in its own
process, on loopback) answers after 200 ms. The poll interval is 1 s; for ten thousand triggers it is 5 s.

- ``hedra_provider``: :class:`HedraGenerationTrigger`.
- ``one poller each``: each trigger has a loop with its own client and a fixed interval, as in most providers.
  The TLS settings are shared here; most providers create them again for each client.
- ``HttpSensorTrigger`` of apache-airflow-providers-http. It reads 404 as "not yet", so it polls an endpoint
  that answers 404 until the end. Hedra has no such endpoint.

Each measurement runs in a new process. Three figures are taken while all triggers wait and no generation has
ended: requests per tick, the burst (the most requests within 250 ms, divided by the mean) and the load of a
core.

CPU is the processor time of the client process; other processes do not change it. The stall is the time that
a sleep of 2 ms took in excess. A busy machine lengthens the stall, so the next column has the processor time
that the loop used meanwhile. That time is compared with the target, without the time of Python's garbage
collector, which scans everything that Airflow has loaded. The collector's longest run has its own column. The
delay is the time from the end of a generation to its trigger's event.

The alternatives run with ten thousand triggers only with ``--everything``: they need as many connections, and
very much time.

Prints a table and writes ``benchmarks/results/polling.json``. Ends with 1 if this provider misses a target.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.fake_api import PREFIX, ends_at, generation_id
from benchmarks.report import publish, text_table
from testbed.airflow_home import ROOT, environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

OURS, EACH, SENSOR = "hedra_provider", "one poller each", "HttpSensorTrigger"
COUNTS = "100,1000,10000"
STEADY_SECONDS = 10.0
ENDING_SECONDS = 10.0
HEARTBEAT_SECONDS = 0.002
LIMIT_SECONDS = 120.0


@dataclass(frozen=True)
class Measure:
    """What waiting took."""

    who: str
    waiting: int
    interval: float
    requests: int
    per_tick: float
    connections: int
    threads: int
    cpu_seconds: float
    core_share: float
    stall_ms: float
    busy_ms: float
    collector_ms: float
    burst: float
    delay_p50: float
    delay_p99: float


def measure(who: str, waiting: int, interval: float) -> Measure:
    """
    Run so many waiting triggers in this process.

    :raises TimeoutError: If they did not end in time.
    """
    return asyncio.run(asyncio.wait_for(_Bench(who, waiting, interval).run(), LIMIT_SECONDS))


class _Collector:
    """Counts the processor time of Python's garbage collector."""

    def __init__(self) -> None:
        self.seconds = self.longest = 0.0
        self._began = 0.0
        gc.callbacks.append(self._note)

    def _note(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.thread_time()
        else:
            took = time.thread_time() - self._began
            self.seconds += took
            self.longest = max(self.longest, took)


class _Bench:
    def __init__(self, who: str, waiting: int, interval: float) -> None:
        self.who, self.waiting, self.interval = who, waiting, interval
        self.port = int(os.environ["FAKE_API_PORT"])
        self.noticed: list[float] = [0.0] * waiting
        self.stall = self.busy = 0.0
        self.threads = 0
        self.collector = _Collector()

    async def run(self) -> Measure:
        import httpx

        make = {OURS: self._ours, EACH: self._each, SENSOR: self._sensor}[self.who]
        # One trigger first, as its imports are no part of the figures. Until the clock is set, all
        # generations are over.
        await anext(make(0))
        starting = 2.0 + self.waiting / (1000.0 if self.who == OURS else 250.0)
        first = starting + STEADY_SECONDS
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=60) as back_door:
            query = {"count": self.waiting, "first": first, "last": first + ENDING_SECONDS}
            begun = tuple((await back_door.get("/_begin", params=query)).json())
            threads = threading.active_count()
            self.collector.longest = 0.0
            heart = asyncio.create_task(self._beat(threads))
            cpu = time.process_time()
            tasks = []
            for number in range(self.waiting):
                tasks.append(asyncio.create_task(self._wait(number, make(number))))
                if number % 5 == 4:
                    # A triggerer starts them one by one, too.
                    await asyncio.sleep(0.001)
            late = time.monotonic() - begun[0] - starting
            await asyncio.sleep(max(0.0, -late))
            steady_from, steady_cpu = time.monotonic(), time.process_time()
            await asyncio.sleep(max(1.0, begun[0] + first - time.monotonic()))
            steady_to, steady_cpu = time.monotonic(), time.process_time() - steady_cpu
            await asyncio.gather(*tasks)
            cpu = time.process_time() - cpu
            heart.cancel()
            ledger = (await back_door.get("/_ledger")).json()
        steady = [at for at in ledger["requests"] if steady_from <= at < steady_to]
        seconds = steady_to - steady_from
        delays = sorted(
            noticed - ends_at(number, begun)  # type: ignore[arg-type]
            for number, noticed in enumerate(self.noticed)
        )
        return Measure(
            self.who,
            self.waiting,
            self.interval,
            requests=len(ledger["requests"]),
            per_tick=len(steady) / seconds * self.interval,
            # One is the benchmark's own.
            connections=ledger["most"] - 1,
            threads=self.threads,
            cpu_seconds=cpu,
            core_share=steady_cpu / seconds,
            stall_ms=self.stall * 1000.0,
            busy_ms=self.busy * 1000.0,
            collector_ms=self.collector.longest * 1000.0,
            burst=_burst(steady, seconds),
            delay_p50=delays[len(delays) // 2],
            delay_p99=delays[min(len(delays) - 1, int(len(delays) * 0.99))],
        )

    async def _beat(self, threads: int) -> None:
        while True:
            before, cpu, collected = time.perf_counter(), time.thread_time(), self.collector.seconds
            await asyncio.sleep(HEARTBEAT_SECONDS)
            self.busy = max(self.busy, time.thread_time() - cpu - (self.collector.seconds - collected))
            self.stall = max(self.stall, time.perf_counter() - before - HEARTBEAT_SECONDS)
            self.threads = max(self.threads, threading.active_count() - threads)

    async def _wait(self, number: int, events: AsyncIterator[Any]) -> None:
        await anext(events)
        self.noticed[number] = time.monotonic()

    def _ours(self, number: int) -> AsyncIterator[Any]:
        from hedra_provider.triggers import HedraGenerationTrigger

        end_time = time.time() + 3600
        return HedraGenerationTrigger(
            generation_ids=[generation_id(number)], end_time=end_time, poll_interval=self.interval
        ).run()

    async def _each(self, number: int) -> AsyncIterator[Any]:
        from hedra_provider.api import calls
        from hedra_provider.hooks import HedraHook

        client = await HedraHook().get_async_conn()
        async with client:
            while True:
                found = await client.run(calls.get_status(generation_id(number)))
                if found is not None and found.is_finished:
                    yield found
                    return
                await asyncio.sleep(self.interval)

    def _sensor(self, number: int) -> AsyncIterator[Any]:
        from airflow.providers.http.triggers.http import HttpSensorTrigger

        endpoint = f"sensor/{generation_id(number)}"
        return HttpSensorTrigger(
            endpoint, http_conn_id="http_bench", method="GET", poke_interval=self.interval
        ).run()


def _burst(at: list[float], seconds: float) -> float:
    """Return the most requests within 250 ms over their mean."""
    most, start = 0, 0
    for end, moment in enumerate(at):
        while moment - at[start] >= 0.25:
            start += 1
        most = max(most, end - start + 1)
    return most / (len(at) / seconds * 0.25) if at else 0.0


@contextmanager
def fake_api() -> Iterator[int]:
    """Run the fake API; yield its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.fake_api"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.communicate("")


def in_a_process(who: str, waiting: int, interval: float) -> Measure | None:
    """Measure in a new process; None if it did not end in time."""
    with fake_api() as port, tempfile.TemporaryDirectory(prefix="hedra-bench-") as home:
        host = f"http://127.0.0.1:{port}{PREFIX}"
        hedra = {"conn_type": "hedra", "host": host, "password": "a-key-as-long-as-those-of-hedra-are-0123"}
        extra = {
            "FAKE_API_PORT": str(port),
            "AIRFLOW_CONN_HEDRA_DEFAULT": json.dumps(hedra),
            "AIRFLOW_CONN_HTTP_BENCH": json.dumps({"conn_type": "http", "host": host}),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            "PYTHONPATH": str(ROOT),
        }
        command = [
            sys.executable,
            "-m",
            "benchmarks.bench_polling",
            "--one",
            who,
            str(waiting),
            str(interval),
        ]
        env = environment(Path(home), Path(home), extra)
        try:
            done = subprocess.run(
                command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_SECONDS + 60
            )
        except subprocess.TimeoutExpired:
            return None
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"who"')]
    if not lines:
        print(f"{who}, {waiting} waiting: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return Measure(**json.loads(lines[-1]))


def missed(one: Measure) -> list[str]:
    """Return the targets that a measurement of this provider misses."""
    if one.waiting == 10_000:
        targets: dict[str, bool] = {"core_share under 0.25": one.core_share < 0.25}
    elif one.waiting == 1000:
        targets = {
            "at most 15 requests per tick": one.per_tick <= 15,
            "stall under 20 ms": one.busy_ms < 20,
            "burst under 3": one.burst < 3,
            "p99 within interval + 0.5 s": one.delay_p99 <= one.interval + 0.5,
        }
    else:
        targets = {}
    targets |= {"at most 4 connections": one.connections <= 4, "no thread": one.threads == 0}
    return [f"{one.waiting} waiting: {name}" for name, met in targets.items() if not met]


def main() -> int:
    """Measure all; 1 when a target is missed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--counts", default=COUNTS, help="default: %(default)s")
    parser.add_argument("--everything", action="store_true", help="the alternatives with 10,000, too")
    parser.add_argument(
        "--repeat", type=int, default=1, help="runs of ours, of which that with the least stall counts"
    )
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        who, waiting, interval = given.one
        print("\n" + json.dumps(asdict(measure(who, int(waiting), float(interval)))))
        return 0
    results: list[Measure] = []
    for waiting in map(int, given.counts.split(",")):
        interval = 5.0 if waiting > 1000 else 1.0
        for who in (OURS, EACH, SENSOR):
            if who != OURS and waiting > 1000 and not given.everything:
                continue
            runs = [in_a_process(who, waiting, interval) for _ in range(given.repeat if who == OURS else 1)]
            whole = [run for run in runs if run is not None]
            if whole:
                results.append(min(whole, key=lambda run: run.stall_ms))
    failures = [text for one in results if one.who == OURS for text in missed(one)]
    publish(
        "polling",
        "Waiting for many generations, API at 200 ms",
        text_table(*_table(results)),
        {"measures": [asdict(one) for one in results]},
        missed=failures,
        keep=given.counts == COUNTS,
    )
    return 1 if failures or not results else 0


def _table(results: list[Measure]) -> tuple[list[str], list[list[str]]]:
    columns: dict[str, Callable[[Measure], str]] = {
        "who": lambda one: one.who,
        "waiting": lambda one: f"{one.waiting:,}",
        "every": lambda one: f"{one.interval:g} s",
        "requests": lambda one: f"{one.requests:,}",
        "per tick": lambda one: f"{one.per_tick:.1f}",
        "connections": lambda one: f"{one.connections:,}",
        "threads": lambda one: str(one.threads),
        "CPU s": lambda one: f"{one.cpu_seconds:.1f}",
        "of a core": lambda one: f"{one.core_share:.0%}",
        "stall ms": lambda one: f"{one.stall_ms:.0f}",
        "of CPU": lambda one: f"{one.busy_ms:.0f}",
        "collector ms": lambda one: f"{one.collector_ms:.0f}",
        "burst": lambda one: f"{one.burst:.1f}",
        "delay p50": lambda one: f"{one.delay_p50:.2f} s",
        "p99": lambda one: f"{one.delay_p99:.2f} s",
    }
    return list(columns), [[show(one) for show in columns.values()] for one in results]


if __name__ == "__main__":
    sys.exit(main())
