"""Deals the blows, keeps runs in flight, and afterwards lets everything come to its end."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx

from scripts.soak.chaos import CLOCK_JUMP_SECONDS, EVERY_SECONDS, Blow
from scripts.soak.judgement import Life
from testbed.worker_processes import kill_busy_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from testbed.crashable_airflow import CrashableAirflow
    from testbed.sandbox_process import SandboxAddress

DAG_IDS = {2: "soak", 3: "soak_v3"}
"""The DAG for each version of Hedra's API."""
CONNECTIONS = {2: ("hedra_default",), 3: ("hedra_v3", "hedra_v3_state_path")}
"""The connections of the runs, one after another: v3 keeps its records in the task state or in a folder."""
TICK_SECONDS = 1.0
HEALS_AT_MOST = 4
LOST_SECONDS = 45.0
CLEARED_STATES = ("running", "deferred", "success", "up_for_retry", "failed")


class Storm:
    """
    A soak under way.

    :param hedra: The sandbox for each version of Hedra's API.
    :param folder: Where each run gets a folder for its files.
    :param report: Receives a line for each thing that happens.
    """

    def __init__(
        self,
        airflow: CrashableAirflow,
        hedra: Mapping[int, SandboxAddress],
        folder: Path,
        report: Callable[[str], None],
    ) -> None:
        self.airflow = airflow
        self.hedra = hedra
        self.folder = folder
        self.report = report
        self.done: Counter[str] = Counter(dict.fromkeys(EVERY_SECONDS, 0))
        self.faults_met: Counter[str] = Counter()
        self.ended: list[str] = []
        self.healed: Counter[str] = Counter()
        self._queued: dict[tuple[str, int], float] = {}
        self._started = 0
        self._memory: dict[int, tuple[float, list[tuple[float, float]]]] = {}
        self._voice_ids = {api: _first_voice(api, address) for api, address in hedra.items()}
        self._dags = [DAG_IDS[api] for api in hedra]

    def rage(self, blows: Sequence[Blow], seconds: float, parallel_runs: int) -> None:
        """Keep so many runs in flight, and deal the blows at their times."""
        began, left = time.monotonic(), list(blows)
        while (now := time.monotonic() - began) < seconds:
            self._watch()
            while left and left[0].at_seconds <= now:
                self._deal(left.pop(0))
            self._attempt("start runs", lambda: self._keep_in_flight(parallel_runs))
            time.sleep(TICK_SECONDS)

    def calm(self, seconds: float) -> bool:
        """
        Stop the faults, clear what failed for good, and wait until all runs have succeeded.

        :return: Whether they have.
        """
        self._put_faults({})
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._watch()
            self._attempt("find lost tasks", self._find_lost)
            if self._attempt("see the runs", self._all_succeeded):
                return True
            time.sleep(TICK_SECONDS * 2)
        return False

    @property
    def lives(self) -> list[Life]:
        """The memory of each triggerer over time."""
        return [Life(pid, samples) for pid, (_, samples) in self._memory.items()]

    # Watching

    def _watch(self) -> None:
        for words in self.airflow.revive_what_ended():
            self.ended.append(words)
            self.report(words)
        pid, mib = self.airflow.triggerer_memory()
        now = time.monotonic()
        born, samples = self._memory.setdefault(pid, (now, []))
        samples.append((round(now - born, 1), round(mib, 1)))

    def _keep_in_flight(self, parallel_runs: int) -> None:
        going = sum(len(self.airflow.runs(dag_id, "running", "queued")) for dag_id in self._dags)
        for _ in range(parallel_runs - going):
            apis = list(self.hedra)
            api, number = apis[self._started % len(apis)], self._started // len(apis)
            self._started += 1
            run_id = f"soak_{self._started:04}"
            conf = {
                "folder": str(self.folder / run_id),
                "voice_id": self._voice_ids[api],
                "connection": CONNECTIONS[api][number % len(CONNECTIONS[api])],
            }
            body = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
            try:
                self.airflow.ask("POST", f"/dags/{DAG_IDS[api]}/dagRuns", body)
            except httpx.HTTPStatusError as error:
                # Asked again after an answer that came too late.
                if error.response.status_code != httpx.codes.CONFLICT:
                    raise

    def _all_succeeded(self) -> bool:
        for dag_id in self._dags:
            for run_id in self.airflow.runs(dag_id, "failed"):
                if self.healed[run_id] < HEALS_AT_MOST:
                    self.healed[run_id] += 1
                    self._heal(dag_id, run_id)
        return not any(self.airflow.runs(dag_id, "failed", "running", "queued") for dag_id in self._dags)

    def _find_lost(self) -> None:
        """
        Restart the scheduler where a task stays queued: the next one takes it over.

        Whose process is killed before Airflow knows that it has started stays queued for good under the
        LocalExecutor, which can't take a task back (seen on 3.3.2).
        """
        now = time.monotonic()
        queued = {(row["id"], row["try_number"]) for row in self.airflow.tasks("~", "~", "queued")}
        self._queued = {task: self._queued.get(task, now) for task in queued}
        lost = [task for task, since in self._queued.items() if now - since > LOST_SECONDS]
        if lost:
            self.report(f"{len(lost)} tasks stay queued; restarting the scheduler")
            self.airflow.restart_scheduler()
            self._queued.clear()

    def _heal(self, dag_id: str, run_id: str) -> None:
        """Clear what used up its retries; of a failed generation that a sensor found, the task that paid."""
        failed = self.airflow.tasks(dag_id, run_id, "failed", "upstream_failed")
        tasks: list[Any] = [[row["task_id"], row["map_index"]] for row in failed]
        if any(row["task_id"] in ("wait", "fetch") for row in failed):
            tasks.append("submit")
        for row in failed:
            if row["state"] == "failed":
                tries = f"{row['try_number']} of {row['max_tries'] + 1} tries"
                why = self._attempt("read a log", partial(self.airflow.last_error, row)) or "it was killed"
                self.report(f"{run_id} {row['task_id']} failed for good, {tries}: {why}")
        self.report(f"clearing {tasks} of {run_id}")
        self.airflow.clear(dag_id, run_id, tasks, downstream=True)

    # Blows

    def _deal(self, blow: Blow) -> None:
        deal: Callable[[Blow], str] = {
            "faults": self._new_faults,
            "worker": self._kill_worker,
            "triggerer": self._kill_component,
            "scheduler": self._kill_component,
            "clear": self._clear_one,
            "clock": self._jump,
        }[blow.kind]
        what = self._attempt(blow.kind, lambda: deal(blow))
        if what:
            self.done[blow.kind] += 1
            self.report(f"{blow.at_seconds:7.1f} s  {blow.kind}: {what}")

    def _attempt(self, what: str, do: Callable[[], Any]) -> Any:
        """Do something that a busy Airflow may reject: the next round tries again."""
        try:
            return do()
        except httpx.HTTPError as error:
            self.report(f"could not {what}: {error}")
            return None

    def _new_faults(self, blow: Blow) -> str:
        self._put_faults(blow.faults)
        new = (fault for api in self.hedra for fault in blow.faults[api])
        return ", ".join(f"{fault['on']} {_in_short(fault)}" for fault in new)

    def _put_faults(self, faults: Mapping[int, Sequence[dict[str, Any]]]) -> None:
        for api in self.hedra:
            for fault in self._door(api, "GET", "faults"):
                self.faults_met[_in_short(fault)] += fault["applied"]
            self._door(api, "PUT", "faults", list(faults.get(api, ())))

    def _kill_worker(self, blow: Blow) -> str:
        return blow.how if kill_busy_worker(self.airflow.scheduler_pid, blow.chance, blow.how) else ""

    def _kill_component(self, blow: Blow) -> str:
        # Each scheduler that dies alone leaves its idle workers: not for an hour.
        self.airflow.end_orphans()
        self.airflow.kill(blow.kind, group=blow.how == "group")
        self.airflow.revive(blow.kind, wait=False)
        return blow.how

    def _clear_one(self, blow: Blow) -> str:
        rows = self.airflow.tasks("~", "~", *CLEARED_STATES)
        if not rows:
            return ""
        rows.sort(key=lambda row: (row["dag_run_id"], row["task_id"], row["map_index"]))
        row = rows[int(blow.chance * len(rows))]
        mapped = row["map_index"] >= 0
        task = [row["task_id"], row["map_index"]] if mapped else row["task_id"]
        # With all that follows: a task that reads the XCom of one that runs again would find none.
        self.airflow.clear(row["dag_id"], row["dag_run_id"], [task], downstream=True)
        return f"{row['dag_run_id']} {row['task_id']} ({row['state']})"

    def _jump(self, _: Blow) -> str:
        for api in self.hedra:
            self._door(api, "POST", "clock", {"advance_seconds": CLOCK_JUMP_SECONDS[api]})
        return ", ".join(f"v{api} {CLOCK_JUMP_SECONDS[api]:.0f} s" for api in self.hedra)

    def _door(self, api: int, method: str, path: str, body: Any = None) -> Any:
        url = httpx.URL(self.hedra[api].base_url).join(f"/_sandbox/{path}")
        answer = httpx.request(method, url, json=body, trust_env=False, timeout=30.0)
        return answer.raise_for_status().json()


def _first_voice(api: int, hedra: SandboxAddress) -> str:
    """Return the id of a voice."""
    path = "voices" if api == 2 else "models/elevenlabs-v3/voices"
    answer = httpx.get(f"{hedra.base_url}/{path}", headers={"X-API-Key": hedra.api_key}, trust_env=False)
    found = answer.raise_for_status().json()
    return str((found if api == 2 else found["data"])[0]["id"])


def _in_short(fault: dict[str, Any]) -> str:
    """Return what kind of fault it is."""
    if fault.get("generation_error"):
        return "generation error"
    if fault.get("reset"):
        return f"cut {fault.get('when') or 'before'}"
    if fault.get("status"):
        return str(fault["status"])
    for key, words in (("body", "garbage"), ("cut_at", "cut body"), ("patch", "odd answer")):
        if fault.get(key) is not None:
            return words
    return "slow"
