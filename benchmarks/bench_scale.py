"""How does the poller scale? Requests per generation and memory as the number grows, on a simulated clock.

    python benchmarks/bench_scale.py [--counts 1000,10000,100000]

The poller's planner (:mod:`hedra_provider.polling.planner`) runs unchanged. The API, its latency of 200 ms
and the clock are simulated. So an hour takes seconds, and only the processor time depends on the machine.
Generations take 5 to 15 minutes, and the poll interval is 30 s. "fixed interval" is the number of requests if
each generation were polled alone at that interval. A hundred thousand generations at 30 s are 3,333 polls a
second: 17 requests of 200 ids.

Memory is what Python allocated for the poller and its waits, without the simulated API, in a second run.

The second table is about a single generation. It compares requests and delay with a fixed interval, and with
the shorter fixed interval that would notice the end as early. The poll interval is an upper limit. So without
an estimate, a single generation is polled as often as at a fixed interval. An estimate makes the notice
earlier; it does not save requests at the same interval.

The third table is about v3 (:mod:`hedra_provider.polling.job_planner`): its API allows 60 requests a minute,
polls take half of them. The requests a minute are those while all jobs run. A job is detected by the first
answer that shows its end, and its wait ends with its result. Results queue if more jobs end than requests are
left.

Prints tables, writes ``benchmarks/results/scale.json``.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import sys
import time
import tracemalloc
from typing import Any

from benchmarks.report import publish, text_table
from hedra_provider.polling.planner import Planner
from hedra_provider.polling.tracked import Ended, Subscription, Update
from testbed.job_simulation import JobWorld
from testbed.simulation import World, generation_id

COUNTS = "1000,10000,100000"
POLL_INTERVAL_SECONDS = 30.0
ALONE_INTERVAL_SECONDS = 15.0
JOB_COUNTS = (1, 10, 100, 1000)
JOB_INTERVAL_SECONDS = 15.0
TAKES_SECONDS = (300.0, 900.0)
ARRIVING_SECONDS = 60.0


def crowd(count: int) -> dict[str, Any]:
    """Simulate so many waits; return the figures."""
    jitter = random.Random(count)
    world = World(keep=False)
    fixed = 0.0
    for number in range(count):
        begin = jitter.uniform(0, ARRIVING_SECONDS)
        seconds = jitter.uniform(*TAKES_SECONDS)
        one = world.make(number, begins=begin, seconds=seconds)
        world.wait(one, poll_interval=POLL_INTERVAL_SECONDS, begin=begin, first_poll_after=3.0)
        fixed += 1 + seconds // POLL_INTERVAL_SECONDS
    began = time.process_time()
    world.run()
    cpu = time.process_time() - began
    requests, delays = sum(world.requests.values()), world.delays()
    if len(delays) != count:
        raise RuntimeError(f"{count - len(delays)} of {count} were not noticed.")
    return {
        "waiting": count,
        "requests": requests,
        "per_generation": requests / count,
        "fixed_interval_per_generation": fixed / count,
        "delay_p50": delays[count // 2],
        "delay_p99": delays[int(count * 0.99)],
        "cpu_us_per_generation_second": cpu / (count * sum(TAKES_SECONDS) / 2) * 1e6,
        "bytes_per_generation": memory(count) / count,
    }


def memory(count: int) -> int:
    """Return the bytes of a poller with so many waits."""
    ids = [generation_id(number) for number in range(count)]

    def notify(update: Update) -> None:
        assert not isinstance(update, Ended)

    gc.collect()
    tracemalloc.start()
    planner = Planner(random.Random(1).random)
    for number, one in enumerate(ids):
        wait = Subscription(one, notify, began=0.0, deadline=1e9, poll_interval=POLL_INTERVAL_SECONDS)
        planner.add(wait, 0.0, number / count)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(planner) == count
    return held


def alone(*, eta: bool, runs: int = 300) -> dict[str, Any]:
    """Simulate a single wait many times, of 30 s to 10 min each."""
    requests = fixed = late = fixed_late = equal = 0.0
    for seed in range(runs):
        seconds = random.Random(seed).uniform(30, 600)
        world = World(latency=0.0, eta=eta, seed=seed)
        world.wait(world.make(0, seconds=seconds), poll_interval=ALONE_INTERVAL_SECONDS)
        world.run()
        requests += len(world.polls)
        late += world.delays()[0]
        polls = -(-seconds // ALONE_INTERVAL_SECONDS)
        fixed += 1 + polls
        fixed_late += polls * ALONE_INTERVAL_SECONDS - seconds
        equal += 1 + seconds
    mean_late = late / runs
    return {
        "eta": eta,
        "requests": requests / runs,
        "delay": mean_late,
        "fixed_requests": fixed / runs,
        "fixed_delay": fixed_late / runs,
        # A fixed interval notices an end half an interval late, on average.
        "fixed_as_early_interval": 2 * mean_late,
        "fixed_as_early_requests": 1 + (equal - runs) / runs / (2 * mean_late),
    }


def jobs(count: int) -> dict[str, Any]:
    """Simulate waits for so many jobs of v3; return the figures."""
    jitter = random.Random(count)
    world = JobWorld(keep=False)
    for number in range(count):
        begin = jitter.uniform(0, ARRIVING_SECONDS)
        one = world.make(number, begins=begin, seconds=jitter.uniform(*TAKES_SECONDS))
        world.wait(one, poll_interval=JOB_INTERVAL_SECONDS, begin=begin, first_poll_after=3.0)
    world.run()
    detected, ended = world.detection_delays(), world.delays()
    if len(ended) != count:
        raise RuntimeError(f"{count - len(ended)} of {count} were not noticed.")
    waiting_seconds = TAKES_SECONDS[0] - ARRIVING_SECONDS
    while_all_wait = [at for at, _ in world.sent if ARRIVING_SECONDS <= at < TAKES_SECONDS[0]]
    return {
        "waiting": count,
        "requests_per_minute": len(while_all_wait) / waiting_seconds * 60.0,
        "most_in_a_window": max(world.windows.values()),
        "rate_limited": world.rate_limited,
        "detection_p50": detected[count // 2],
        "detection_max": detected[-1],
        "result_p50": ended[count // 2],
        "result_max": ended[-1],
    }


def main() -> int:
    """Measure all; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--counts", default=COUNTS, help="default: %(default)s")
    given = parser.parse_args()
    crowds = [crowd(count) for count in map(int, given.counts.split(","))]
    singles = [alone(eta=False), alone(eta=True)]
    of_v3 = [jobs(count) for count in JOB_COUNTS]
    head = ["waiting", "requests", "each", "fixed interval, each", "delay p50", "p99", "CPU us", "bytes each"]
    rows = [
        [
            f"{one['waiting']:,}",
            f"{one['requests']:,}",
            f"{one['per_generation']:.2f}",
            f"{one['fixed_interval_per_generation']:.1f}",
            f"{one['delay_p50']:.1f} s",
            f"{one['delay_p99']:.1f} s",
            f"{one['cpu_us_per_generation_second']:.1f}",
            f"{one['bytes_per_generation']:.0f}",
        ]
        for one in crowds
    ]
    table = text_table(head, rows)
    alone_head = [
        "one alone, 15 s",
        "requests",
        "delay",
        "fixed 15 s",
        "delay",
        "fixed, as early",
        "requests",
    ]
    alone_rows = [
        [
            "with eta_sec" if one["eta"] else "without",
            f"{one['requests']:.1f}",
            f"{one['delay']:.1f} s",
            f"{one['fixed_requests']:.1f}",
            f"{one['fixed_delay']:.1f} s",
            f"{one['fixed_as_early_interval']:.1f} s",
            f"{one['fixed_as_early_requests']:.1f}",
        ]
        for one in singles
    ]
    plain, with_eta = singles
    missed = [
        name
        for name, met in {
            "alone: no more requests than a fixed interval": plain["requests"] <= plain["fixed_requests"],
            "alone: noticed no later": plain["delay"] <= plain["fixed_delay"] + 1e-6,
            "with an eta: under half of the requests": with_eta["requests"]
            < with_eta["fixed_as_early_requests"] / 2,
            "v3: no 429": not any(one["rate_limited"] for one in of_v3),
        }.items()
        if not met
    ]
    results = json.loads(json.dumps({"crowds": crowds, "alone": singles, "jobs": of_v3}))
    job_head = [
        "v3, 15 s",
        "requests a minute",
        "most in a minute",
        "detected p50",
        "last",
        "result p50",
        "last",
    ]
    job_rows = [
        [
            f"{one['waiting']:,}",
            f"{one['requests_per_minute']:.1f}",
            f"{one['most_in_a_window']}",
            *(
                f"{one[figure]:.0f} s"
                for figure in ("detection_p50", "detection_max", "result_p50", "result_max")
            ),
        ]
        for one in of_v3
    ]
    tables = "\n\n".join([table, text_table(alone_head, alone_rows), text_table(job_head, job_rows)])
    title = "The poller on a simulated clock, generations of 5 to 15 min at 30 s"
    publish("scale", title, tables, results, missed=missed, keep=given.counts == COUNTS)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
