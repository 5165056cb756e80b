"""How much time does importing this provider add to a DAG file?

    python benchmarks/bench_import.py [--runs 15]

Airflow parses DAG files again and again, each time in a new process. So each parse imports the provider
again.

The baseline is what every DAG file imports::

    from airflow.sdk import DAG, BaseOperator, BaseSensorOperator

The names are used too, because ``airflow.sdk`` loads each at its first use. The baseline contains Airflow's
discovery of providers, which loads ``hedra_provider`` and ``hedra_provider.provider_info``, and on Airflow
3.3 httpx and pydantic, which Airflow's task SDK needs itself. Each figure is the time that an import adds to
the baseline, taken within one fresh interpreter after the baseline was imported there; the subjects
alternate, so that a machine that gets slower is slower for all. A DAG processor has loaded more than the
baseline (e.g. ``airflow.triggers.base``), so there the figures are smaller.

Times are wall-clock times. CPU is the processor time of the same work; other processes do not change it. A
DAG file's row is its whole parse: the provider's modules, all other imports, and the creation of its tasks.

The last row is the API client, which no DAG file imports: it loads when a task executes.

Prints a table and writes ``benchmarks/results/import.json``. Ends with 1 if the target is missed, or if an
import loads the API client although it should not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import publish, text_table
from testbed.airflow_home import DAGS, ROOT, environment

TARGET_MS = 60.0
TIMEOUT_SECONDS = 120.0

BASELINE = "from airflow.sdk import DAG, BaseOperator, BaseSensorOperator"
BOTH = "operators + sensors"
CLIENT = "the API client, for later"

CHEAP = frozenset(f"hedra_provider.api{name}" for name in ("", ".errors", ".redaction", ".values"))
"""What a DAG file may load of the API's package: no HTTP, no answers."""

_PROBE = """
import json, runpy, sys, time
began = time.perf_counter()
{baseline}
ready, ready_cpu = time.perf_counter(), time.process_time()
known = set(sys.modules)
{statement}
done, done_cpu = time.perf_counter(), time.process_time()
new = sorted(set(sys.modules) - known)
print("\\n" + json.dumps({{
    "baseline_ms": (ready - began) * 1000,
    "added_ms": (done - ready) * 1000,
    "added_cpu_ms": (done_cpu - ready_cpu) * 1000,
    "new_modules": len(new),
    "api_modules": sorted(name for name in sys.modules if name.startswith("hedra_provider.api")),
    "new_libraries": sorted({{name.partition(".")[0] for name in new}} - sys.stdlib_module_names),
}}))
"""


@dataclass(frozen=True)
class Subject:
    """
    An import or a parse that is measured in addition to the baseline.

    :param name: Its name in the table.
    :param statement: The Python statement.
    :param has_target: Whether it must stay under :data:`TARGET_MS`.
    :param loads_client: Whether it may load the API client.
    """

    name: str
    statement: str
    has_target: bool = False
    loads_client: bool = False


def subjects() -> list[Subject]:
    """Return the subjects: the modules, each DAG file, and for comparison the API client."""
    dags = [
        Subject(f"parse {path.relative_to(ROOT)}", f"runpy.run_path({str(path)!r}, run_name={path.stem!r})")
        for path in sorted(DAGS.glob("*.py"))
    ]
    return [
        Subject("operators", "import hedra_provider.operators", has_target=True),
        Subject("sensors", "import hedra_provider.sensors", has_target=True),
        Subject(BOTH, "import hedra_provider.operators, hedra_provider.sensors", has_target=True),
        *dags,
        Subject(
            CLIENT,
            "import hedra_provider.api.client, hedra_provider.submission.submit, "
            "hedra_provider.transfer.download",
            loads_client=True,
        ),
    ]


def probe(subject: Subject, env: dict[str, str]) -> dict[str, Any]:
    """
    Measure once, in a fresh interpreter.

    :raises RuntimeError: If the import or the DAG file failed.
    """
    program = _PROBE.format(baseline=BASELINE, statement=subject.statement)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise RuntimeError(f"{subject.name} failed: {words[-1]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(runs: int) -> dict[str, Any]:
    """Measure every subject so many times, alternating; return statistics by name."""
    measured = subjects()
    with tempfile.TemporaryDirectory(prefix="hedra-bench-") as home:
        env = environment(Path(home), DAGS)
        # Compiles the bytecode first: in production, Python reads it from disk too.
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        for subject in measured:
            probe(subject, env)
        rounds = []
        for number in range(runs):
            if sys.stderr.isatty():
                print(f"\rround {number + 1} of {runs}", end="", file=sys.stderr, flush=True)
            rounds.append([probe(subject, env) for subject in measured])
    if sys.stderr.isatty():
        print(file=sys.stderr)
    baseline = [found["baseline_ms"] for one_round in rounds for found in one_round]
    return {
        "runs": runs,
        "target_ms": TARGET_MS,
        "baseline": {"statement": BASELINE, **_spread(baseline)},
        "added": {
            subject.name: {
                **_spread([found["added_ms"] for found in column]),
                "median_cpu_ms": round(statistics.median(found["added_cpu_ms"] for found in column), 2),
                "new_modules": column[0]["new_modules"],
                "new_libraries": column[0]["new_libraries"],
                "api_modules": sorted({name for found in column for name in found["api_modules"]}),
                "has_target": subject.has_target,
                "loads_client": subject.loads_client,
            }
            for subject, column in zip(measured, zip(*rounds, strict=True), strict=True)
        },
    }


def faults(results: dict[str, Any]) -> list[str]:
    """Return the faults: missed targets, and imports that load the API client."""
    found = []
    for name, row in results["added"].items():
        client = sorted(set(row["api_modules"]) - CHEAP)
        if client and not row["loads_client"]:
            found.append(f"{name}: loads {', '.join(client)}")
        if row["has_target"] and row["median_ms"] >= results["target_ms"]:
            found.append(f"{name}: {row['median_ms']} ms, the target is under {results['target_ms']:g} ms")
    return found


def main() -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=15, help="default: %(default)s")
    runs = max(1, min(parser.parse_args().runs, 200))
    results = measure(runs)
    results["faults"] = faults(results)
    rows = [_row("baseline: airflow.sdk", results["baseline"], "", "", "", "")]
    for name, row in results["added"].items():
        target = f"< {TARGET_MS:g}" if row["has_target"] else ""
        modules = [str(row["new_modules"]), str(len(row["api_modules"]))]
        rows.append(_row(f"+ {name}", row, f"{row['median_cpu_ms']:.1f}", target, *modules))
    head = ["milliseconds", "median", "min", "max", "CPU", "target", "new modules", "hedra_provider.api.*"]
    title = f"What importing adds to a DAG file ({runs} fresh interpreters each)"
    publish("import", title, text_table(head, rows), results, missed=results["faults"])
    return 1 if results["faults"] else 0


def _spread(milliseconds: list[float]) -> dict[str, float]:
    return {
        "median_ms": round(statistics.median(milliseconds), 2),
        "min_ms": round(min(milliseconds), 2),
        "max_ms": round(max(milliseconds), 2),
    }


def _row(name: str, spread: dict[str, Any], *rest: str) -> list[str]:
    return [name, *(f"{spread[key]:.1f}" for key in ("median_ms", "min_ms", "max_ms")), *rest]


if __name__ == "__main__":
    sys.exit(main())
