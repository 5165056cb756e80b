"""Run DAGs in a loop against a sandbox with random faults, kill what runs them, and see that nothing is lost.

    python -m scripts.soak [--seconds 3600] [--seed N] [--parallel-runs 3] [--api both]

At the end chaos stops, what failed for good is cleared, and everything must succeed. Then ledger, metadata
database, files and logs must agree, and the memory of the triggerer must be flat. Prints a table and writes
``out/soak.json``; ends with 1 if something differs.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.soak.chaos import plan_blows
from scripts.soak.evidence import read_complaints, read_files, read_ledger, read_metadata, temporary_files
from scripts.soak.judgement import Evidence, Verdict, judge, thirds_mib
from scripts.soak.storm import CONNECTIONS, DAG_IDS, Storm
from testbed.airflow_home import DAGS, OUT, ROOT
from testbed.crashable_airflow import CrashableAirflow
from testbed.sandbox_process import SandboxAddress, sandbox

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = ROOT / ".airflow" / "soak"
CHAOS_SHARE = 0.8
CALM_AT_MOST_SECONDS = 180.0
"""Beyond the asked time, for what is left then: with start, end and judgement within five minutes."""

REQUEST_TIMEOUT_SECONDS = 6
"""Shorter than the longest of the slow answers."""

API_TIMEOUT_SECONDS = 30.0
"""For an answer of Airflow's REST API."""

GENERATIONS = ("--seconds", "4", "--queue-seconds", "1", "--no-media")
RICH = {
    2: ("--api", "2", "--credits", "100000000"),
    # Ten times Hedra's limit, for runs that do in minutes what others do in an hour.
    3: ("--api", "3", "--usd", "1000000", "--requests-per-window", "600"),
}
"""The sandbox for each version of Hedra's API. Each has a clock of its own."""

APIS = {"2": (2,), "3": (3,), "both": (2, 3)}


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="make soak", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=3600.0, help="how long (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="of faults and kills; a new one by default")
    parser.add_argument("--parallel-runs", type=int, default=3, help="at once (default: %(default)s)")
    parser.add_argument(
        "--api", choices=APIS, default="both", help="versions of Hedra's API (default: %(default)s)"
    )
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    asked = f"--seconds {options.seconds:g} --seed {seed} --parallel-runs {options.parallel_runs}"
    asked += f" --api {options.api}"
    print(f'{parser.prog} ARGS="{asked}"', flush=True)
    # Both end the program by an exception, so that what was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    began = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    try:
        with ExitStack() as stack:
            hedra = {api: stack.enter_context(sandbox(*GENERATIONS, *RICH[api])) for api in APIS[options.api]}
            storm = soak(hedra, options.seconds, seed, options.parallel_runs)
            evidence = gather(hedra, storm)
    except KeyboardInterrupt:
        print(f"\nStopped. What was there is in {FOLDER.relative_to(ROOT)}.")
        return 1
    except (RuntimeError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    verdicts = judge(evidence)
    report(verdicts, evidence, storm, {"seed": seed, "seconds": round(time.monotonic() - began, 1)})
    if any(verdict.wrong for verdict in verdicts):
        print(f"\nAirflow's home and the files are in {FOLDER.relative_to(ROOT)}.")
        return 1
    shutil.rmtree(FOLDER)
    return 0


def soak(hedra: Mapping[int, SandboxAddress], seconds: float, seed: int, parallel_runs: int) -> Storm:
    """Run an Airflow of its own through a storm and the calm after it; what is left is in :data:`FOLDER`."""
    dags, temporary = FOLDER / "dags", FOLDER / "tmp"
    shutil.copytree(DAGS / "include", dags / "include")
    shutil.copy(Path(__file__).parent / "dags" / "soak.py", dags)
    temporary.mkdir()
    env = {"TMPDIR": str(temporary)}
    for api, address in hedra.items():
        for name in CONNECTIONS[api]:
            connection: dict[str, Any] = json.loads(address.connection)
            connection["extra"] = {"timeout": REQUEST_TIMEOUT_SECONDS}
            if name.endswith("_state_path"):
                connection["extra"]["state_path"] = str(FOLDER / "records")
            env[f"AIRFLOW_CONN_{name.upper()}"] = json.dumps(connection)
    with CrashableAirflow(FOLDER / "home", dags, env, timeout_seconds=API_TIMEOUT_SECONDS) as airflow:
        for api in hedra:
            airflow.wait_for_dag(DAG_IDS[api], seconds=120)
        began = time.monotonic()
        storm = Storm(airflow, hedra, FOLDER / "files", lambda line: print(line, flush=True))
        chaos_seconds = seconds * CHAOS_SHARE
        storm.rage(plan_blows(seed, chaos_seconds), chaos_seconds, parallel_runs)
        print("Chaos is over; what is left may finish now.", flush=True)
        storm.calm(seconds + CALM_AT_MOST_SECONDS - (time.monotonic() - began))
    return storm


def gather(hedra: Mapping[int, SandboxAddress], storm: Storm) -> Evidence:
    """Read what is left, when Airflow has stopped."""
    runs, tasks = read_metadata(FOLDER / "home" / "airflow.db")
    ledgers = {api: read_ledger(address, api) for api, address in hedra.items()}
    files, parts = read_files(FOLDER / "files")
    return Evidence(
        runs=runs,
        tasks=tasks,
        paid=[paid for rows, _ in ledgers.values() for paid in rows],
        spent={api: sums for api, (_, sums) in ledgers.items()},
        files=files,
        leftovers=parts + temporary_files(FOLDER / "tmp"),
        complaints=read_complaints(FOLDER / "home" / "logs"),
        ended=storm.ended,
        lives=storm.lives,
        done=storm.done,
    )


def report(verdicts: list[Verdict], evidence: Evidence, storm: Storm, facts: dict[str, Any]) -> None:
    """Print the table and write the JSON."""
    print()
    for verdict in verdicts:
        print(f"{'WRONG' if verdict.wrong else 'good':6} {verdict.what:40} {verdict.figure}")
    for verdict in verdicts:
        for wrong in verdict.wrong:
            print(f"\n{verdict.what}: {wrong}")
    met = {kind: number for kind, number in storm.faults_met.most_common() if number}
    print(f"\nfaults met: {', '.join(f'{number} {kind}' for kind, number in met.items())}")
    print(f"runs that were cleared because they had failed for good: {len(storm.healed)}")
    OUT.mkdir(exist_ok=True)
    content = {
        **facts,
        "good": not any(verdict.wrong for verdict in verdicts),
        "verdicts": [asdict(verdict) for verdict in verdicts],
        "runs": len(evidence.runs),
        "tasks": len(evidence.tasks),
        "blows": dict(storm.done),
        "faults_met": met,
        "healed_runs": dict(storm.healed),
        "triggerers": [
            {"pid": life.pid, "seconds": life.seconds, "first_and_last_third_mib": thirds_mib(life.samples)}
            for life in evidence.lives
        ],
    }
    (OUT / "soak.json").write_text(json.dumps(content, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
