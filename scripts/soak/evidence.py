"""Reads what a soak left: Airflow's metadata database, the sandbox's ledger, files, logs."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from scripts.soak.judgement import FOLLOWING, PAYING, Paid, Result, TaskRun
from scripts.soak.storm import DAG_IDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from testbed.sandbox_process import SandboxAddress

OF_OUR_POLLER = ("nobody thought of", "The poller failed")
"""What the poller says of an error that it does not know."""

EXPECTED_ERRORS = frozenset(
    {"AirflowException", "AirflowFailException", "AirflowSensorTimeout", "TaskDeferred"}
)
"""What the provider raises. Another exception that came through its code is a mistake of ours."""

V3_DAG = DAG_IDS[3]
PACKAGE = "/hedra_provider/"
ERRORS_SHOWN = 3


def read_metadata(database: Path) -> tuple[dict[str, str], list[TaskRun]]:
    """
    Return the state of each run, and all task instances with what they left in XCom.

    :param database: SQLite; nobody writes to it any more.
    """
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        runs = dict(connection.execute("SELECT run_id, state FROM dag_run").fetchall())
        instances = connection.execute(
            "SELECT dag_id, run_id, task_id, map_index, state FROM task_instance"
        ).fetchall()
        values = connection.execute("SELECT run_id, task_id, map_index, key, value FROM xcom").fetchall()
    xcoms = {(run, task, index, key): _decoded(value) for run, task, index, key, value in values}
    tasks = [
        TaskRun(run, task, index, state, tuple(_results(xcoms, run, task, index)), 3 if dag == V3_DAG else 2)
        for dag, run, task, index, state in instances
    ]
    return runs, tasks


def _decoded(value: Any) -> Any:
    # A JSON column that holds JSON as text.
    for _ in range(2):
        if isinstance(value, str | bytes):
            try:
                value = json.loads(value)
            except ValueError:
                break
    return value


def _results(
    xcoms: Mapping[tuple[str, str, int, str], Any], run: str, task: str, index: int
) -> Iterator[Result]:
    if task not in PAYING[2] and task not in FOLLOWING:
        return
    many = xcoms.get((run, task, index, "generations"))
    # The download operator returns its facts; all others leave them under a key of its own.
    one = xcoms.get((run, task, index, "return_value" if task == "fetch" else "generation"))
    for result in many or ([one] if one else []):
        yield Result(result["generation_id"], result.get("uri"), result.get("bytes"))
        if speech := result.get("speech"):
            yield Result(speech["generation_id"], is_speech=True)


def read_ledger(hedra: SandboxAddress, api: int = 2) -> tuple[list[Paid], dict[str, int]]:
    """
    Return what was charged, with what became of it, and the sums.

    :param hedra: The sandbox.
    :param api: The version of its API: amounts are credits (2), or millionths of a US dollar (3).
    """
    return _read_ledger_v3(hedra) if api == 3 else _read_ledger_v2(hedra)


def _read_ledger_v3(hedra: SandboxAddress) -> tuple[list[Paid], dict[str, int]]:
    ledger = hedra.back_door("ledger")
    paid = []
    with httpx.Client(trust_env=False, headers={"X-API-Key": hedra.api_key}, timeout=30.0) as client:
        for row in ledger["submissions_v3"]:
            if row["usd"]:
                job = _job(client, f"{hedra.base_url}/jobs/{row['job_id']}")
                file = _read(job["outputs"][0]["url"]) if job["status"] == "COMPLETED" else None
                values = row["body"]["input"]
                # The prompt of a video and the text of a speech are named after the task run.
                owner = str(values.get("prompt") or values.get("text"))
                paid.append(
                    Paid(row["job_id"], owner, _micro(row["usd"]), job["status"] == "FAILED", file, 3)
                )
    return paid, {"used": _micro(ledger["usd"]["spent"]), "refunded": _micro(ledger["usd"]["refunded"])}


def _job(client: httpx.Client, url: str) -> dict[str, Any]:
    while (answer := client.get(url)).status_code == httpx.codes.TOO_MANY_REQUESTS:
        time.sleep(float(answer.headers["Retry-After"]))
    job: dict[str, Any] = answer.raise_for_status().json()
    return job


def _micro(usd: float) -> int:
    return round(usd * 1_000_000)


def _read_ledger_v2(hedra: SandboxAddress) -> tuple[list[Paid], dict[str, int]]:
    ledger = hedra.back_door("ledger")
    with httpx.Client(trust_env=False, headers={"X-API-Key": hedra.api_key}, timeout=30.0) as client:
        statuses = _statuses(client, hedra.base_url)
        paid = []
        for row in ledger["submissions"]:
            if row["credits"]:
                one = row["generation_id"]
                status = statuses[one]["status"]
                file = _file_of(client, hedra.base_url, one) if status == "complete" else None
                owner = str(row["request"].get("name"))
                paid.append(Paid(one, owner, row["credits"], status == "error", file))
    return paid, ledger["credits"]


def _statuses(client: httpx.Client, base_url: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    while True:
        page = client.get(f"{base_url}/generations", params={"limit": 100, "offset": len(found)})
        rows = page.raise_for_status().json()["data"]
        if not rows:
            return found
        found |= {row["id"]: row for row in rows}


def _file_of(client: httpx.Client, base_url: str, generation_id: str) -> tuple[int, str]:
    status = client.get(f"{base_url}/generations/{generation_id}/status").raise_for_status().json()
    return _read(status["url"])


def _read(url: str) -> tuple[int, str]:
    content = httpx.get(url, trust_env=False).raise_for_status().content
    return len(content), sha256(content).hexdigest()[:16]


def read_files(folder: Path) -> tuple[dict[str, tuple[int, str]], list[str]]:
    """Return the files below a folder by URI, with size and hash, and the unfinished ones apart."""
    files, parts = {}, []
    for path in sorted(folder.rglob("*")):
        if path.name.startswith(".") or path.name.endswith(".part"):
            parts.append(str(path))
        elif path.is_file():
            content = path.read_bytes()
            files[f"file://{path.resolve()}"] = len(content), sha256(content).hexdigest()[:16]
    return files, parts


def temporary_files(folder: Path) -> list[str]:
    """Return the provider's files in what was TMPDIR."""
    return [str(path) for path in sorted(folder.rglob("*")) if "hedra" in path.relative_to(folder).as_posix()]


def read_complaints(logs: Path) -> list[str]:
    """Return words of the poller in logs, and exceptions that are none of the provider's own."""
    found = []
    for path in sorted(logs.rglob("*.log")):
        with path.open(errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                if any(words in line for words in OF_OUR_POLLER):
                    found.append(f"{path}:{number}: {line[:300]}")
                elif PACKAGE in line and '"error_detail"' in line:
                    found += [f"{path}:{number}: {said}" for said in _unexpected(line)]
    return found


def _unexpected(line: str) -> Iterator[str]:
    """Describe an exception in a task's log that left the provider's code and is not one of its own."""
    try:
        chain = json.loads(line)["error_detail"]
    except (ValueError, KeyError):
        return
    # The first is the one that was raised last, the others are its causes.
    last = chain[0]
    frames = [frame for frame in last["frames"] if PACKAGE in frame["filename"]]
    if frames and last["exc_type"] not in EXPECTED_ERRORS:
        where = f"{frames[-1]['filename'].rpartition(PACKAGE)[2]}:{frames[-1]['lineno']}"
        yield f"{last['exc_type']}: {str(last['exc_value'])[:300]} at {where}"
