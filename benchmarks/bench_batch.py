"""Many clips at once: the example `hedra_clips_from_table` in a real Airflow, against a slow plan.

    python -m benchmarks.bench_batch [--clips 300] [--rate 5] [--max-parallel 10] [--seconds 10] [--pool 10]

The sandbox runs in its own process. It answers 429 above its rate of requests and above its number of
parallel generations. The figures come from its ledger. Prints a table and writes
``benchmarks/results/batch.json``. Ends with 1 if a clip is missing, a clip was paid for twice, or the rate
was exceeded for longer than a tick.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.report import publish, text_table
from hedra_provider.sandbox.faults import template
from testbed.airflow_home import DAGS
from testbed.local_airflow import LocalAirflow
from testbed.sandbox_process import sandbox

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DAG_ID = "hedra_clips_from_table"
POOL = "hedra"
TICK_SECONDS = 15
"""The example's poll interval, in seconds. No burst above the rate may last longer."""
VOICES = ("Ada", "Walt", "Nia")


@dataclass(frozen=True)
class Plan:
    """
    The parameters of a run.

    :param clips: Rows of the table.
    :param rate: API requests per second; the sandbox answers more with 429.
    :param max_parallel: Generations at once; the sandbox answers more with 429.
    :param seconds: Seconds that a generation takes.
    :param pool: Slots of the Airflow pool that counts deferred tasks; 0 for none.
    """

    clips: int = 300
    rate: float = 5.0
    max_parallel: int = 10
    seconds: float = 10.0
    pool: int = 10


@dataclass(frozen=True)
class Batch:
    """
    The outcome of a run.

    :param state: State of the DAG run.
    :param wall_seconds: Seconds from the start to the end of the run.
    :param done: Clips that the sandbox completed and whose file exists.
    :param paid_twice: Charged submits in addition to the first of each clip.
    :param tries: Attempts of the clips' tasks; one for each clip at best.
    :param requests: All API requests.
    :param kinds: API requests by method and path.
    :param rate_limited: API requests answered 429.
    :param busiest_second: The most requests within any second.
    :param above_rate_seconds: The longest time in which each second saw more requests than the rate.
    """

    state: str
    wall_seconds: float
    done: int
    paid_twice: int
    tries: int
    requests: int
    kinds: dict[str, int]
    rate_limited: int
    busiest_second: int
    above_rate_seconds: int


def run_batch(plan: Plan, folder: Path, *, timeout_seconds: float) -> Batch:
    """
    Run the DAG over a generated table, in a new Airflow and against a new sandbox.

    :param plan: The parameters of the run.
    :param folder: The home folder of both.
    :param timeout_seconds: Seconds that the run may take.
    :raises TimeoutError: If it took longer.
    """
    dags, clips = folder / "dags", folder / "clips"
    shutil.copytree(DAGS, dags, ignore=shutil.ignore_patterns("__pycache__"))
    table = dags / "include" / "batch.csv"
    write_table(table, plan.clips)
    limits = ("--rate", str(plan.rate), "--max-parallel", str(plan.max_parallel))
    times = ("--seconds", str(plan.seconds), "--queue-seconds", "0", "--credits", str(100 * plan.clips))
    with sandbox(*limits, *times, "--no-media") as hedra:
        env = {"AIRFLOW_CONN_HEDRA_DEFAULT": hedra.connection}
        if plan.pool:
            env["HEDRA_CLIPS_POOL"] = POOL
        with LocalAirflow(folder / "home", dags, env) as airflow:
            if plan.pool:
                pool = {"name": POOL, "slots": plan.pool, "include_deferred": True}
                airflow.call("POST", "/pools", pool)
            conf = {"table": str(table), "destination": str(clips)}
            conf |= {"max_credits": None, "max_cost": None}
            airflow.wait_for_dag(DAG_ID, seconds=120)
            began = time.monotonic()
            run_id = airflow.trigger(DAG_ID, conf)
            state = airflow.wait_for_run(DAG_ID, run_id, seconds=timeout_seconds)
            wall_seconds = time.monotonic() - began
            tries = sum(ti["try_number"] for ti in clip_instances(airflow, run_id, plan.clips))
        ledger = hedra.back_door("ledger")
    return judge(ledger, plan, clips, state=state, wall_seconds=round(wall_seconds, 1), tries=tries)


def write_table(path: Path, clips: int) -> None:
    """Write a table of short, different texts."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "text", "voice", "language", "portrait"])
        for number in range(clips):
            text = f"This is clip {number}. It was asked for once."
            writer.writerow(
                [f"clip-{number:05}", text, VOICES[number % len(VOICES)], "English", "portrait.jpg"]
            )


def clip_instances(airflow: LocalAirflow, run_id: str, clips: int) -> list[dict[str, Any]]:
    """Return the task instances that made the clips, page by page."""
    path, found = f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances", []
    for offset in range(0, clips + 100, 100):
        found += airflow.call("GET", path, limit=100, offset=offset)["task_instances"]
    return [ti for ti in found if ti["task_id"] == "clip.video"]


def judge(ledger: Mapping[str, Any], plan: Plan, clips: Path, **run: Any) -> Batch:
    """Return the outcome, from the sandbox's ledger and the stored files."""
    paid = Counter(row["request"]["name"] for row in ledger["submissions"] if row["credits"])
    there = {path.stem for path in clips.glob("*.mp4") if path.stat().st_size}
    asked = [row for row in ledger["requests"] if row["origin"] == "api"]
    times = sorted(row["at"] for row in asked)
    return Batch(
        done=len(there & paid.keys()),
        paid_twice=sum(paid.values()) - len(paid),
        requests=len(asked),
        kinds=dict(Counter(f"{row['method']} {template(row['path'])}" for row in asked).most_common()),
        rate_limited=sum(row["status"] == 429 for row in asked),
        busiest_second=busiest_second(times),
        above_rate_seconds=above_rate_seconds(times, plan.rate),
        **run,
    )


def busiest_second(times: Sequence[float]) -> int:
    """
    Return the most requests within any second.

    :param times: When they came, in seconds, in order.
    """
    most, first = 0, 0
    for last, at in enumerate(times):
        while times[first] <= at - 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most


def above_rate_seconds(times: Sequence[float], rate: float) -> int:
    """Return how many seconds in a row saw more requests than the rate, at the most."""
    per_second = Counter(int(at) for at in times)
    longest = row = 0
    for second in range(int(min(times, default=0)), int(max(times, default=0)) + 1):
        row = row + 1 if per_second[second] > rate else 0
        longest = max(longest, row)
    return longest


def main() -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    usual = Plan()
    parser.add_argument("--clips", type=int, default=usual.clips, help="rows (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=usual.rate, help="requests per second")
    parser.add_argument("--max-parallel", type=int, default=usual.max_parallel, help="generations at once")
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="of a generation")
    parser.add_argument("--pool", type=int, default=usual.pool, help="slots of the pool; 0: no pool")
    plan = Plan(**vars(parser.parse_args()))
    # So that what was started is stopped then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="hedra-batch-") as name:
        batch = run_batch(plan, Path(name), timeout_seconds=120.0 + 20.0 * plan.clips)
    rows = [
        ["wall time", f"{batch.wall_seconds:.0f} s"],
        ["clips done", f"{batch.done} of {plan.clips}"],
        ["paid twice", str(batch.paid_twice)],
        ["tries per clip", f"{batch.tries / plan.clips:.2f}"],
        ["requests per clip", f"{batch.requests / plan.clips:.1f}"],
        *([f"  {kind}", f"{count / plan.clips:.1f}"] for kind, count in batch.kinds.items()),
        ["answered 429", str(batch.rate_limited)],
        ["busiest second", f"{batch.busiest_second} requests"],
        ["longest time above the rate", f"{batch.above_rate_seconds} s"],
    ]
    title = (
        f"{plan.clips} clips of {plan.seconds:g} s, at {plan.rate:g} requests per second and "
        f"{plan.max_parallel} generations at once; pool: {plan.pool or 'none'}; the run: {batch.state}"
    )
    missed = missed_by(batch, plan)
    results = {"plan": asdict(plan), **asdict(batch)}
    publish("batch", title, text_table(["what", "seen"], rows), results, missed=missed, keep=plan == usual)
    return 1 if missed else 0


def missed_by(batch: Batch, plan: Plan) -> list[str]:
    """Return the targets that a run misses."""
    targets = {
        "every clip done": batch.state == "success" and batch.done == plan.clips,
        "none paid twice": not batch.paid_twice,
        "no burst above the rate for longer than a tick": batch.above_rate_seconds <= TICK_SECONDS,
    }
    return [name for name, met in targets.items() if not met]


if __name__ == "__main__":
    sys.exit(main())
