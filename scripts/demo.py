"""The avatar pipeline as an Airflow DAG, from a portrait and a voice to `out/avatar.mp4`.

python -m scripts.demo [--image FACE] [--audio VOICE] [--api 3]  against the sandbox: no key, no cost
python -m scripts.demo --live                                    against Hedra: shows the cost and asks first
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts import demo_report
from testbed.airflow_home import DAGS, OUT, ROOT, environment, migrate
from testbed.sandbox_process import SandboxAddress, sandbox

if TYPE_CHECKING:
    from collections.abc import Sequence

DAG_ID = "hedra_avatar_video"
ASPECT_RATIO = "9:16"
RESOLUTION = "720p"
HOME = ROOT / ".airflow" / "demo"
LOG = OUT / "demo.log"
VIDEO = OUT / "avatar.mp4"
RECORDS = HOME / "records"
"""The place for records of v3 submits to Hedra; those to the sandbox end with it."""
GENERATION_LINE = re.compile(r"Generation (?:job_)?[0-9a-f-]{36}: ([^.\n]*)\.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit status: 0 if every task succeeded and the file is what was asked for."""
    options = parse(arguments)
    # SIGTERM raises too, so that the sandbox is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for path in (options.image, options.audio):
        if not path.is_file():
            return fail(f"There is no file {path}.")
    if options.live and not (key := os.environ.get("HEDRA_API_KEY", "").strip()):
        return fail("make demo-live takes the API key from the environment variable HEDRA_API_KEY.")
    OUT.mkdir(exist_ok=True)
    VIDEO.unlink(missing_ok=True)
    LOG.write_bytes(b"")
    audio_seconds = demo_report.audio_seconds(options.audio)
    with ExitStack() as stack:
        screen = stack.enter_context(Screen(LOG))
        if options.live:
            if not agreed(screen, key, options.base_url, audio_seconds):
                return 1
            fields = {"conn_type": "hedra", "password": key, "host": options.base_url or ""}
            connection = with_state_path(fields, RECORDS)
            address = None
        else:
            screen.say("starting the sandbox, a local Hedra")
            address = stack.enter_context(
                sandbox("--seconds", "4", "--queue-seconds", "1", "--api", options.api)
            )
            screen.say(f"it answers at {address.base_url}")
            records = stack.enter_context(tempfile.TemporaryDirectory(prefix="hedra-demo-"))
            connection = with_state_path(json.loads(address.connection), Path(records))
        env = environment(HOME, DAGS, {"AIRFLOW_CONN_HEDRA_DEFAULT": connection})
        screen.say("preparing Airflow's database")
        migrate(HOME, env, LOG)
        os.environ.clear()
        os.environ.update(env)
        conf = {
            "image": str(options.image),
            "audio": str(options.audio),
            "aspect_ratio": ASPECT_RATIO,
            "resolution": RESOLUTION,
            "destination": str(VIDEO),
        }
        tasks, generation_id = run_dag(screen, conf)
        return report(screen, tasks, generation_id, address, audio_seconds)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make demo", description=(__doc__ or "").split("\n", 1)[0])
    inputs = DAGS / "include"
    parser.add_argument("--image", type=Path, default=inputs / "portrait.jpg", help="who speaks")
    parser.add_argument("--audio", type=Path, default=inputs / "speech.wav", help="what is said: WAV or MP3")
    parser.add_argument("--api", choices=("2", "3"), default="2", help="the sandbox's API (default: 2)")
    parser.add_argument("--live", action="store_true", help="use Hedra and the key in HEDRA_API_KEY")
    parser.add_argument("--base-url", help="with --live: another base URL than Hedra's")
    options = parser.parse_args(arguments)
    options.image, options.audio = options.image.resolve(), options.audio.resolve()
    return options


def with_state_path(fields: dict[str, Any], folder: Path) -> str:
    """Return a connection with a place for records, which v3 needs and v2 does not use."""
    return json.dumps(fields | {"extra": fields.get("extra", {}) | {"state_path": str(folder)}})


def fail(message: str) -> int:
    """Say what is wrong, in one line."""
    print(message, file=sys.stderr)
    return 1


class Screen:
    """
    The terminal, which gets one line per event, while stdout and stderr go to a log.

    Airflow and its tasks write to stdout regardless of settings, so the file descriptors are redirected.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._started = time.monotonic()
        self._kept: list[int] = []

    def __enter__(self) -> Screen:
        """Move stdout and stderr to the log."""
        sys.stdout.flush()
        sys.stderr.flush()
        self._kept = [os.dup(1), os.dup(2)]
        target = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(target, 1)
        os.dup2(target, 2)
        os.close(target)
        return self

    def __exit__(self, *_: object) -> None:
        """Move them back."""
        sys.stdout.flush()
        sys.stderr.flush()
        for number, kept in zip((1, 2), self._kept, strict=True):
            os.dup2(kept, number)
            os.close(kept)

    def say(self, text: str) -> None:
        """Print a line with the seconds since the start."""
        self.print(f"{time.monotonic() - self._started:6.1f} s  {text}")

    def print(self, text: str, end: str = "\n") -> None:
        """Print to the terminal."""
        os.write(self._kept[0], f"{text}{end}".encode())


class TaskProgress:
    """An Airflow listener that says which task runs."""

    def __init__(self, screen: Screen) -> None:
        from airflow.listeners import hookimpl

        def running(previous_state: Any, task_instance: Any) -> None:
            self._say(task_instance, "starts")

        def success(previous_state: Any, task_instance: Any) -> None:
            self._say(task_instance, "done")

        def failed(previous_state: Any, task_instance: Any, error: Any) -> None:
            self._say(task_instance, f"FAILED: {error}")

        self._screen = screen
        self._times: dict[str, tuple[float, float]] = {}
        self.on_task_instance_running = hookimpl(running)
        self.on_task_instance_success = hookimpl(success)
        self.on_task_instance_failed = hookimpl(failed)

    def _say(self, task_instance: Any, what: str) -> None:
        now = time.monotonic()
        name = task_instance.task_id
        start, _ = self._times.setdefault(name, (now, now))
        self._times[name] = (start, now)
        # A task that comes back from the triggerer starts a second time.
        if what != "starts" or start == now:
            self._screen.say(f"{name:<16} {what}")

    def tasks(self, states: dict[str, str]) -> list[demo_report.Task]:
        """Return tasks with their states, those that ran first and in their order."""
        order = [*self._times, *(name for name in states if name not in self._times)]
        return [demo_report.Task(name, states[name], self._seconds(name)) for name in order]

    def _seconds(self, name: str) -> float | None:
        start, end = self._times.get(name, (0.0, 0.0))
        return end - start if name in self._times else None


class GenerationProgress(threading.Thread):
    """Prints the lines about the generation that the trigger and the operators log."""

    def __init__(self, screen: Screen, log: Path) -> None:
        super().__init__(daemon=True)
        self._screen = screen
        self._log = log
        self._ended = threading.Event()

    def run(self) -> None:
        """Follow the log."""
        with self._log.open(errors="replace") as lines:
            lines.seek(0, os.SEEK_END)
            rest = ""
            while not self._ended.is_set():
                rest += lines.read()
                *whole, rest = rest.split("\n")
                for line in whole:
                    if found := GENERATION_LINE.search(line):
                        self._screen.say(f"{'':<16} {found[1]}")
                self._ended.wait(0.2)

    def end(self) -> None:
        """Stop following."""
        self._ended.set()
        self.join()


def run_dag(screen: Screen, conf: dict[str, str]) -> tuple[list[demo_report.Task], str | None]:
    """Run the DAG as `dag.test()` does: in this process, without scheduler and triggerer."""
    screen.say(f"loading Airflow and the DAG {DAG_ID}; all they say goes to {LOG.relative_to(ROOT)}")
    from airflow.dag_processing.dagbag import DagBag
    from airflow.models.xcom import XComModel
    from airflow.sdk.listener import get_listener_manager
    from airflow.utils.session import create_session

    bag = DagBag(str(DAGS / f"{DAG_ID}.py"))
    if DAG_ID not in bag.dags:
        problem = "".join(bag.import_errors.values()).strip() or "it is not in its file"
        screen.say(f"the DAG could not be read: {problem.splitlines()[-1]}")
        return [], None
    listener = TaskProgress(screen)
    get_listener_manager().add_listener(listener)
    progress = GenerationProgress(screen, LOG)
    progress.start()
    try:
        run = bag.dags[DAG_ID].test(run_conf=conf)
    finally:
        progress.end()
    tasks = listener.tasks({ti.task_id: str(ti.state) for ti in run.get_task_instances()})
    wanted = XComModel.get_many(run_id=run.run_id, key="generation_id", task_ids="submit", dag_ids=DAG_ID)
    with create_session() as session:
        row = session.scalars(wanted).first()
        return tasks, XComModel.deserialize_value(row) if row else None


def agreed(screen: Screen, key: str, base_url: str | None, audio_seconds: float) -> bool:
    """Print the expected cost of a run against Hedra, and ask whether to continue."""
    from hedra_provider.api.client import HedraClient
    from hedra_provider.api.errors import HedraError

    if not sys.stdin.isatty():
        screen.print("make demo-live spends money and asks before: it needs a terminal.")
        return False
    try:
        with HedraClient(api_key=key, base_url=base_url) as client:
            if client.api_version == 3:
                price = demo_report.estimate_v3(audio_seconds, RESOLUTION)
                balance = f"Balance: {client.get_balance().balance} USD"
            else:
                price = demo_report.estimate(client.list_models(types=["video"]), audio_seconds, RESOLUTION)
                balance = f"Credits remaining: {client.get_credits().remaining}"
    except HedraError as error:
        screen.print(str(error))
        return False
    screen.print(price)
    screen.print(balance)
    screen.print("Spend this? [y/N] ", end="")
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    screen.print("Nothing was spent.")
    return False


def report(
    screen: Screen,
    tasks: list[demo_report.Task],
    generation_id: str | None,
    address: SandboxAddress | None,
    audio_seconds: float,
) -> int:
    """Print what happened; return the exit status."""
    if address:
        facts = demo_report.from_ledger(address.back_door("ledger"), generation_id)
    else:
        facts = demo_report.from_hedra(generation_id)
    # What comes after a failed task says nothing new.
    quiet = ("success", "upstream_failed")
    problems = [f"task {task.name} is {task.state}" for task in tasks if task.state not in quiet]
    if not tasks:
        problems.append("the DAG did not run")
    if VIDEO.exists():
        video = demo_report.measure(VIDEO)
        facts |= {"file": str(VIDEO.relative_to(ROOT))} | video.facts()
        problems += video.problems(ASPECT_RATIO, RESOLUTION, audio_seconds)
    else:
        problems.append("there is no video")
    screen.print("\n" + demo_report.table(tasks, {"generation": generation_id or "none"} | facts))
    if problems:
        screen.print("\nNot as it should be: " + "; ".join(problems))
        screen.print(f"Airflow's log: {LOG.relative_to(ROOT)}")
        return 1
    checked = f"H.264 and AAC, {ASPECT_RATIO}, {RESOLUTION}, as long as its audio"
    screen.print(f"\n{VIDEO.relative_to(ROOT)} is what was asked for: {checked}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
