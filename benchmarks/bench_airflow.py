"""Many videos at once in a real Airflow: the workers that they hold and the API requests that they send.

    python -m benchmarks.bench_airflow [--videos 500] [--by-http 8] [--window-seconds 60]

"ours" is a deferred `HedraAvatarVideoOperator`. The alternative, without this provider, is `HttpOperator` and
`HttpSensor` with a `response_check`, which needs a worker. The benchmark submits all videos. Then no
generation makes progress for a while, and the benchmark counts workers and requests. Then it moves the
sandbox's clock, so that all generations complete. Each of our tasks starts two processes, so 500 take a
quarter of an hour on two cores. Prints a table and writes ``benchmarks/results/airflow.json``.
"""

from __future__ import annotations

import argparse
import io
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from benchmarks.report import publish, text_table
from hedra_provider.api.client import HedraClient
from hedra_provider.api.sized_file import SizedFile
from hedra_provider.sandbox.faults import template
from hedra_provider.transfer.upload import store_asset
from testbed.airflow_api import FINISHED
from testbed.airflow_home import DAGS
from testbed.local_airflow import LocalAirflow
from testbed.sandbox_process import sandbox

if TYPE_CHECKING:
    from testbed.sandbox_process import SandboxAddress

FOREVER_SECONDS = 36_000
WORKERS = 4
TARGET_REQUESTS = 5


@dataclass
class Seen:
    """
    The figures of one way to wait. The window is the time in which all videos wait.

    :param videos: Number of videos.
    :param state: State of the DAG run.
    :param paid: Submits that were charged.
    :param wall_seconds: Seconds from the start to the end of the run, including the window.
    :param workers_while_waiting: Workers held, on average over the window.
    :param worker_seconds_each: Seconds of a worker for each video, outside the window.
    :param requests_while_waiting: API requests per second in the window.
    :param requests_each: API requests for each video, outside the window.
    :param kinds: Number of API requests by method and path.
    """

    videos: int
    state: str
    paid: int
    wall_seconds: float
    workers_while_waiting: float
    worker_seconds_each: float
    requests_while_waiting: float
    requests_each: float
    kinds: dict[str, int]


class Watch:
    """
    Counts the workers of a run at each call.

    :param airflow: The Airflow that runs it.
    :param run: DAG id and run id.
    """

    def __init__(self, airflow: LocalAirflow, run: tuple[str, str]) -> None:
        self._airflow, self._run = airflow, run
        self._last = time.monotonic()
        self.worker_seconds = 0.0

    def counts(self) -> Counter[str]:
        """Return the number of tasks by state. Tasks that run now count as running since the last call."""
        path = f"/dags/{self._run[0]}/dagRuns/{self._run[1]}/taskInstances"
        states = Counter[str]()
        for state in ("running", "deferred", "success", "failed"):
            answer = self._airflow.call("GET", path, state=state, limit=1)
            states[state] = int(answer["total_entries"])
        now = time.monotonic()
        self.worker_seconds += states["running"] * (now - self._last)
        self._last = now
        return states

    def until(self, done: Any, seconds: float, what: str) -> None:
        """Count until the counts meet a condition."""
        deadline = time.monotonic() + seconds
        while not done(self.counts()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} did not come within {seconds:.0f} s: {self.counts()}")
            self._airflow.check_alive()
            time.sleep(1)


def measure(
    airflow: LocalAirflow, hedra: SandboxAddress, dag_id: str, conf: dict[str, Any], window_seconds: float
) -> Seen:
    """Run a DAG over so many videos, and return its figures."""
    videos = int(conf["videos"])
    back_door(hedra, "faults", [])
    began, start = time.monotonic(), len(api_requests(hedra))
    paid_before = paid(hedra)
    run = dag_id, airflow.trigger(dag_id, conf)
    watch = Watch(airflow, run)
    # By HTTP, each waiting video holds a worker.
    waiting = videos if dag_id == "ours" else min(videos, WORKERS)

    def all_wait(states: Counter[str]) -> bool:
        return (
            paid(hedra) - paid_before >= waiting
            and states["deferred" if dag_id == "ours" else "running"] >= waiting
        )

    watch.until(all_wait, 60 + 10 * videos, "the wait of all")
    settle(hedra)
    watch.counts()
    held_before, asked_before, at = watch.worker_seconds, len(api_requests(hedra)), time.monotonic()
    while time.monotonic() < at + window_seconds:
        watch.counts()
        time.sleep(1)
    window = time.monotonic() - at
    held, asked = watch.worker_seconds - held_before, len(api_requests(hedra)) - asked_before
    state = finish(airflow, hedra, run, watch, 60 + 10 * videos)
    if state != "success":
        print_failure(airflow, run)
    requests = api_requests(hedra)[start:]
    return Seen(
        videos=videos,
        state=state,
        paid=paid(hedra) - paid_before,
        wall_seconds=round(time.monotonic() - began, 1),
        workers_while_waiting=round(held / window, 2),
        worker_seconds_each=round((watch.worker_seconds - held) / videos, 2),
        requests_while_waiting=round(asked / window, 2),
        requests_each=round((len(requests) - asked) / videos, 2),
        kinds=dict(Counter(requests).most_common()),
    )


def finish(
    airflow: LocalAirflow, hedra: SandboxAddress, run: tuple[str, str], watch: Watch, seconds: float
) -> str:
    """Complete all generations until the run has ended; return its state."""
    deadline, complete = time.monotonic() + seconds, 0
    while (state := airflow.run_state(*run)) not in FINISHED:
        if time.monotonic() > deadline:
            raise TimeoutError(f"The run is {state} after {seconds:.0f} s: {watch.counts()}")
        # Only if there are new generations: moving the clock lets all URLs expire.
        if (submitted := paid(hedra)) > complete:
            back_door(hedra, "clock", {"advance_seconds": FOREVER_SECONDS})
            complete = submitted
        watch.counts()
        airflow.check_alive()
        time.sleep(1)
    return state


def print_failure(airflow: LocalAirflow, run: tuple[str, str]) -> None:
    """Print the end of a failed task's log, which is deleted when the benchmark ends."""
    found = airflow.call("GET", f"/dags/{run[0]}/dagRuns/{run[1]}/taskInstances", state="failed", limit=1)
    for task in found["task_instances"]:
        log = airflow.logs(*run, task["task_id"], task["try_number"], task["map_index"])
        print(f"{found['total_entries']} failed, e.g.:", *log.splitlines()[-15:], sep="\n", file=sys.stderr)


def settle(hedra: SandboxAddress) -> None:
    """Wait until no submit has come for some seconds."""
    last = -1
    while (now := paid(hedra)) != last:
        last = now
        time.sleep(5)


def back_door(hedra: SandboxAddress, name: str, body: Any) -> None:
    """Set something at the sandbox's back door."""
    method = "PUT" if name == "faults" else "POST"
    url = httpx.URL(hedra.base_url).join(f"/_sandbox/{name}")
    httpx.request(method, url, json=body, trust_env=False).raise_for_status()


def api_requests(hedra: SandboxAddress) -> list[str]:
    """Return all requests to the API, by method and path."""
    rows = hedra.back_door("ledger")["requests"]
    return [f"{row['method']} {template(row['path'])}" for row in rows if row["origin"] == "api"]


def paid(hedra: SandboxAddress) -> int:
    """Return how many submits were charged."""
    return sum(bool(row["credits"]) for row in hedra.back_door("ledger")["submissions"])


def inputs(hedra: SandboxAddress) -> dict[str, str]:
    """Upload a portrait and a voice; return their assets."""
    found = {}
    with HedraClient(hedra.api_key, base_url=hedra.base_url) as client:
        for kind, name in (("image", "portrait.jpg"), ("audio", "speech.wav")):
            content = (DAGS / "include" / name).read_bytes()
            file = SizedFile(io.BytesIO(content), len(content), name)
            found[kind] = client.run(store_asset(file, kind)).asset_id
    return found


def main() -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--videos", type=int, default=500, help="of ours (default: %(default)s)")
    parser.add_argument("--by-http", type=int, default=8, help="of the alternative (default: %(default)s)")
    parser.add_argument("--window-seconds", type=float, default=60.0, help="in which all wait")
    options = parser.parse_args()
    # So that what was started is stopped then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    seen: dict[str, Seen] = {}
    with tempfile.TemporaryDirectory(prefix="hedra-airflow-") as name:
        for dag_id, videos in (("ours", options.videos), ("by_http", options.by_http)):
            seen[dag_id] = in_an_airflow(Path(name) / dag_id, dag_id, videos, options.window_seconds)
    head = ["", "ours", "HttpOperator + HttpSensor"]
    rows = [
        [label, *(show(getattr(seen[dag_id], field)) for dag_id in seen)]
        for label, field in (
            ("videos", "videos"),
            ("paid", "paid"),
            ("wall time, s", "wall_seconds"),
            ("workers held while all wait", "workers_while_waiting"),
            ("worker-seconds each besides", "worker_seconds_each"),
            ("requests per second while all wait", "requests_while_waiting"),
            ("requests each besides", "requests_each"),
            ("the run", "state"),
        )
    ]
    window = f"all wait for {options.window_seconds:.0f} s"
    title = f"Videos in the making in a real Airflow with {WORKERS} workers; {window}"
    missed = missed_by(seen["ours"])
    results = {name: asdict(one) for name, one in seen.items()}
    is_usual = options.videos == parser.get_default("videos")
    publish("airflow", title, text_table(head, rows), results, missed=missed, keep=is_usual)
    return 1 if missed else 0


def missed_by(ours: Seen) -> list[str]:
    """Return the targets that this provider misses."""
    targets = {
        "the run succeeds": ours.state == "success",
        "each video is paid for once": ours.paid == ours.videos,
        "no worker held while all wait": ours.workers_while_waiting == 0,
        f"under {TARGET_REQUESTS} requests for each": sum(ours.kinds.values())
        < TARGET_REQUESTS * ours.videos,
    }
    return [name for name, met in targets.items() if not met]


def in_an_airflow(folder: Path, dag_id: str, videos: int, window_seconds: float) -> Seen:
    """Measure one way to wait, in an Airflow and against a sandbox of its own."""
    options = (
        "--queue-seconds",
        "0",
        "--seconds",
        str(FOREVER_SECONDS),
        "--credits",
        "1000000",
        "--no-media",
    )
    with sandbox(*options) as hedra:
        http = {"conn_type": "http", "host": hedra.base_url, "extra": {"X-API-Key": hedra.api_key}}
        env = {
            "AIRFLOW_CONN_HEDRA_DEFAULT": hedra.connection,
            "AIRFLOW_CONN_HEDRA_HTTP": json.dumps(http),
            "AIRFLOW__CORE__PARALLELISM": str(WORKERS),
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "10000",
        }
        conf = {"videos": videos, "folder": str(folder / "videos"), **inputs(hedra)}
        with LocalAirflow(folder / "home", Path(__file__).parent / "dags", env) as airflow:
            return measure(airflow, hedra, dag_id, conf, window_seconds)


def show(value: Any) -> str:
    """Return a cell."""
    return value if isinstance(value, str) else f"{value:,}"


if __name__ == "__main__":
    sys.exit(main())
