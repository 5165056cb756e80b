"""The judgement of `make soak` finds what it is for; what a soak does is decided by its seed."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from hedra_provider.sandbox.faults import Fault
from hedra_provider.testing import Sandbox
from scripts.soak.chaos import EVERY_SECONDS, HOW, LEFT_ALONE_FROM, plan_blows
from scripts.soak.evidence import read_complaints, read_files, read_ledger, read_metadata, temporary_files
from scripts.soak.judgement import (
    MAX_GROWTH_MIB,
    PAYING,
    STORING,
    WARM_UP_SECONDS,
    Evidence,
    Life,
    Paid,
    Result,
    TaskRun,
    judge,
)
from testbed.sandbox_process import SandboxAddress

FILE = (300, "5f2a")
FILE_OF = "GET /files/{id}"
RUN = "soak_0001"


def good() -> Evidence:
    """One run without a flaw, one of whose generations failed and was replaced."""
    tasks, paid, files = [], [], {}
    places = [("avatar", -1), ("batch", -1), ("clip.video", 0), ("clip.video", 1), ("submit", -1)]
    for task_id, index in places:
        owner, results = f"{RUN}/{task_id}/{index}", []
        for number in range(PAYING[2][task_id]):
            one = f"{owner}#{number}"
            uri = f"file:///{one}" if task_id in STORING else None
            paid.append(Paid(one, owner, 30, failed=False, file=FILE))
            results.append(Result(one, uri, FILE[0] if uri else None))
            if uri:
                files[uri] = FILE
        tasks.append(TaskRun(RUN, task_id, index, "success", tuple(results)))
    chained = f"{RUN}/submit/-1#0"
    files["file:///fetched"] = FILE
    tasks += [
        TaskRun(RUN, "portrait", -1, "success"),
        TaskRun(RUN, "voice", -1, "success"),
        TaskRun(RUN, "wait", -1, "success", (Result(chained),)),
        TaskRun(RUN, "fetch", -1, "success", (Result(chained, "file:///fetched", FILE[0]),)),
    ]
    failed = Paid("failed", f"{RUN}/avatar/-1", 30, failed=True)
    return Evidence(
        runs={RUN: "success"},
        tasks=tasks,
        paid=[*paid, failed],
        spent={2: {"used": 30 * len(paid), "refunded": 30}},
        files=files,
        leftovers=[],
        complaints=[],
        ended=[],
        lives=[Life(1, memory(lambda at: 300.0 + at % 7))],
        done=dict.fromkeys(EVERY_SECONDS, 1),
    )


def good_with_v3() -> Evidence:
    """The same, and a run with a v3 key: a text is a speech and a video, and there is no batch."""
    evidence, run = good(), "soak_0002"
    tasks, paid, files = list(evidence.tasks), list(evidence.paid), dict(evidence.files)
    for task_id, index in (("avatar", -1), ("clip.video", 0), ("clip.video", 1), ("submit", -1)):
        owner = f"{run}/{task_id}/{index}"
        uri = f"file:///{owner}" if task_id in STORING else None
        results = [Result(f"{owner}#video", uri, FILE[0] if uri else None)]
        if PAYING[3][task_id] == 2:
            results.append(Result(f"{owner}#speech", is_speech=True))
        paid += [Paid(one.generation_id, owner, 50_000, failed=False, file=FILE, api=3) for one in results]
        files |= {uri: FILE} if uri else {}
        tasks.append(TaskRun(run, task_id, index, "success", tuple(results), api=3))
    chained = f"{run}/submit/-1#video"
    files["file:///fetched_v3"] = FILE
    tasks += [
        TaskRun(run, "wait", -1, "success", (Result(chained),), api=3),
        TaskRun(run, "fetch", -1, "success", (Result(chained, "file:///fetched_v3", FILE[0]),), api=3),
    ]
    paid.append(Paid("failed_v3", f"{run}/avatar/-1", 50_000, failed=True, api=3))
    return replace(
        evidence,
        runs={**evidence.runs, run: "success"},
        tasks=tasks,
        paid=paid,
        files=files,
        spent={**evidence.spent, 3: {"used": 50_000 * 7, "refunded": 50_000}},
    )


def memory(mib):
    return [(at, mib(at)) for at in range(0, 300, 2)]


def wrong_in(evidence: Evidence) -> dict[str, list[str]]:
    return {verdict.what: verdict.wrong for verdict in judge(evidence) if verdict.wrong}


def without_task(evidence: Evidence, task_id: str) -> tuple[TaskRun, list[TaskRun]]:
    task = next(task for task in evidence.tasks if task.task_id == task_id)
    return task, [other for other in evidence.tasks if other is not task]


def test_nothing_is_wrong_where_all_agree():
    assert wrong_in(good()) == {}
    assert wrong_in(good_with_v3()) == {}


@pytest.mark.parametrize(
    ("lost", "what"),
    [
        ("soak_0002/avatar/-1#speech", "each task run paid once"),
        ("soak_0002/clip.video/1#video", "each task run paid once"),
    ],
)
def test_a_speech_or_a_video_that_is_missing_with_a_v3_key_is_found(lost, what):
    evidence = good_with_v3()
    paid = [one for one in evidence.paid if one.generation_id != lost]
    owner = lost.partition("#")[0]
    assert wrong_in(replace(evidence, paid=paid))[what][0].startswith(
        f"{owner} paid for 1 generations, not 2"
    )


def test_a_speech_that_was_paid_for_twice_is_found():
    evidence = good_with_v3()
    again = Paid("again", "soak_0002/avatar/-1", 50_000, failed=False, file=FILE, api=3)
    wrong = wrong_in(replace(evidence, paid=[*evidence.paid, again]))
    assert wrong["each task run paid once"][0].startswith("soak_0002/avatar/-1 paid for 3 generations, not 2")
    assert "credits add up" in wrong


def test_a_video_without_a_file_beside_its_speech_is_found():
    evidence = good_with_v3()
    tasks = [
        replace(task, results=tuple(replace(one, uri=None) for one in task.results))
        if task.label == "soak_0002/avatar/-1"
        else task
        for task in evidence.tasks
    ]
    assert wrong_in(replace(evidence, tasks=tasks))["every file is there and whole"]


def test_a_double_payment_is_found():
    evidence = good()
    again = Paid("again", f"{RUN}/avatar/-1", 30, failed=False, file=FILE)
    wrong = wrong_in(
        replace(evidence, paid=[*evidence.paid, again], spent={2: {"used": 240, "refunded": 30}})
    )
    (found,) = wrong["each task run paid once"]
    assert found.startswith(f"{RUN}/avatar/-1 paid for 2 generations, not 1")
    assert "again" in found


def test_a_generation_that_was_charged_twice_under_its_id_is_found():
    evidence = good()
    wrong = wrong_in(replace(evidence, paid=[*evidence.paid, evidence.paid[0]]))
    assert wrong["each task run paid once"] == [f"{evidence.paid[0].generation_id} was charged 2 times"]


def test_a_failed_generation_that_was_not_replaced_is_found():
    evidence = good()
    paid = [replace(evidence.paid[0], failed=True), *evidence.paid[1:]]
    assert wrong_in(replace(evidence, paid=paid))["each task run paid once"] == [
        f"{RUN}/avatar/-1 paid for 0 generations, not 1: "
    ]


@pytest.mark.parametrize("owner", ["None", f"{RUN}/avatar/7", "soak_0009/avatar/-1", f"{RUN}/wait/-1"])
def test_a_generation_without_a_task_is_found(owner):
    evidence = good()
    orphan = Paid("orphan", owner, 30, failed=False, file=FILE)
    wrong = wrong_in(replace(evidence, paid=[*evidence.paid, orphan]))
    assert wrong["every paid generation is somebody's"] == [f"orphan of {owner!r}"]


def test_credits_that_do_not_add_up_are_found():
    wrong = wrong_in(replace(good(), spent={2: {"used": 240, "refunded": 0}}))
    assert list(wrong) == ["credits add up"]


def test_a_missing_file_is_found():
    evidence = good()
    files = dict(evidence.files)
    del files["file:///fetched"]
    wrong = wrong_in(replace(evidence, files=files))
    assert wrong == {"every file is there and whole": [f"{RUN}/fetch/-1: there is no file file:///fetched"]}


@pytest.mark.parametrize("found", [(299, "5f2a"), (300, "0000")])
def test_a_file_that_is_cut_or_another_is_found(found):
    evidence = good()
    wrong = wrong_in(replace(evidence, files={**evidence.files, "file:///fetched": found}))
    assert list(wrong) == ["every file is there and whole"]


def test_a_file_that_is_not_as_long_as_its_xcom_says_is_found():
    evidence = good()
    fetch, others = without_task(evidence, "fetch")
    shorter = replace(fetch, results=(replace(fetch.results[0], size=299),))
    wrong = wrong_in(replace(evidence, tasks=[*others, shorter]))
    assert wrong["every file is there and whole"][0].endswith("has 300 bytes, its XCom says 299")


def test_a_file_without_a_task_is_found():
    evidence = good()
    wrong = wrong_in(replace(evidence, files={**evidence.files, "file:///stray": FILE}))
    assert wrong == {"every file is there and whole": ["nobody stored file:///stray"]}


@pytest.mark.parametrize("task_id", ["avatar", "batch", "submit", "wait", "fetch"])
def test_an_xcom_that_names_another_generation_is_found(task_id):
    evidence = good()
    task, others = without_task(evidence, task_id)
    other = replace(task, results=(replace(task.results[0], generation_id="failed"), *task.results[1:]))
    wrong = wrong_in(replace(evidence, tasks=[*others, other]))
    assert wrong["XComs name the ledger's generations"][0].startswith(f"{task.label} says")


def test_a_task_that_left_no_xcom_is_found():
    evidence = good()
    task, others = without_task(evidence, "avatar")
    wrong = wrong_in(replace(evidence, tasks=[*others, replace(task, results=())]))
    assert "XComs name the ledger's generations" in wrong
    assert "every file is there and whole" in wrong


def test_a_stuck_task_and_its_run_are_found():
    evidence = good()
    task, others = without_task(evidence, "wait")
    stuck = replace(evidence, runs={RUN: "running"}, tasks=[*others, replace(task, state="deferred")])
    assert wrong_in(stuck) == {
        "every run succeeded": [f"{RUN} is running"],
        "every task succeeded": [f"{RUN}/wait/-1 is deferred"],
    }


def test_a_soak_without_runs_or_tasks_is_not_good():
    assert "every run succeeded" in wrong_in(replace(good(), runs={}))
    assert "every task succeeded" in wrong_in(replace(good(), runs={RUN: "success", "soak_0002": "success"}))


@pytest.mark.parametrize(
    ("what", "line"), [("leftovers", ".a.part"), ("complaints", "The poller failed"), ("ended", "triggerer")]
)
def test_what_is_left_over_complained_of_or_ended_is_found(what, line):
    assert list(wrong_in(replace(good(), **{what: [line]})).values()) == [[line]]


def test_a_triggerer_that_died_of_airflow_is_reported_and_not_counted():
    of_airflow = "triggerer ended with 1: StaleDataError: UPDATE statement on table 'task_instance' expected"
    judged = {verdict.what: verdict for verdict in judge(replace(good(), ended=[of_airflow, "scheduler"]))}
    ended = judged["no component ended by itself"]
    assert (ended.wrong, ended.figure) == (["scheduler"], "1, beside 1 by a race of Airflow's")


def test_a_soak_in_which_no_worker_was_killed_is_not_good():
    wrong = wrong_in(replace(good(), done={**good().done, "worker": 0}))
    assert wrong == {"blows were dealt": ["there was no worker"]}


def test_growing_memory_is_found():
    per_second = MAX_GROWTH_MIB / 100
    growing = Life(7, memory(lambda at: 300.0 + per_second * at))
    wrong = wrong_in(replace(good(), lives=[growing]))
    assert wrong["the triggerer's memory is flat"][0].startswith("triggerer 7 grew by")


def test_memory_is_judged_by_the_longest_life_after_its_warm_up():
    warming = Life(7, memory(lambda at: 300.0 if at >= WARM_UP_SECONDS else 100.0))
    short = Life(8, [(at, 100.0 + 10 * at) for at in range(100)])
    assert wrong_in(replace(good(), lives=[short, warming])) == {}


def test_memory_that_was_not_watched_for_long_enough_is_no_proof():
    assert "the triggerer's memory is flat" in wrong_in(replace(good(), lives=[]))
    assert "the triggerer's memory is flat" in wrong_in(
        replace(good(), lives=[Life(1, [(0, 1.0), (WARM_UP_SECONDS + 1, 1.0)])])
    )


@pytest.mark.parametrize("seconds", [60, 240, 2880])
def test_a_seed_decides_what_happens(seconds):
    blows = plan_blows(7, seconds)
    assert blows == plan_blows(7, seconds)
    assert blows != plan_blows(8, seconds)
    assert {blow.kind for blow in blows} == EVERY_SECONDS.keys()
    for blow in blows:
        assert 0 <= blow.at_seconds <= seconds * LEFT_ALONE_FROM.get(blow.kind, 1.0)
        assert not blow.how or blow.how in HOW[blow.kind]


def test_the_sandbox_takes_all_faults():
    for seed in range(50):
        for blow in plan_blows(seed, 240):
            found = {api: [Fault.from_json(fault) for fault in faults] for api, faults in blow.faults.items()}
            assert all(found.get(api) for api in (2, 3)) or blow.kind != "faults"
            assert all("/v3/" in fault.on or fault.on == FILE_OF for fault in found.get(3, ()))


def test_the_ledger_is_read_with_what_became_of_each_generation():
    with Sandbox(media=False, queue_seconds=0.0, seconds=0.0) as hedra:
        hedra.faults({"on": "POST /generations", "generation_error": {"type": "UNAVAILABLE"}})
        with httpx.Client(headers={"X-API-Key": hedra.api_key}, trust_env=False) as client:
            voice_id = client.get(f"{hedra.base_url}/voices").json()[0]["id"]
            ids = [
                client.post(
                    f"{hedra.base_url}/generations",
                    json={"type": "text_to_speech", "name": name, "voice_id": voice_id, "text": "Hello"},
                )
                .raise_for_status()
                .json()["id"]
                for name in ("run/a/-1", "run/b/-1")
            ]
            status = f"{hedra.base_url}/generations/{ids[1]}/status"
            # Its file is made in a thread.
            while client.get(status).json()["status"] != "complete":
                pass
        paid, sums = read_ledger(SandboxAddress(hedra.base_url, hedra.api_key, hedra.connection))
    assert [(one.generation_id, one.owner, one.failed) for one in paid] == [
        (ids[0], "run/a/-1", True),
        (ids[1], "run/b/-1", False),
    ]
    assert paid[0].file is None
    assert paid[1].file is not None
    assert paid[1].file[0] > 0
    assert (sums["used"], sums["refunded"]) == (paid[1].credits, paid[0].credits)


def test_the_ledger_of_v3_is_read_with_what_became_of_each_job():
    with Sandbox(api=3, media=False, queue_seconds=0.0, seconds=0.0) as hedra:
        hedra.faults({"on": "POST /v3/models/{model}", "generation_error": {"code": "INTERNAL"}})
        with httpx.Client(headers={"X-API-Key": hedra.api_key}, trust_env=False) as client:
            voices = client.get(f"{hedra.base_url}/models/elevenlabs-v3/voices").json()["data"]
            ids = [
                client.post(
                    f"{hedra.base_url}/models/elevenlabs-v3",
                    json={"input": {"text": name, "voice_id": voices[0]["id"]}},
                )
                .raise_for_status()
                .json()["job_id"]
                for name in ("run/a/-1", "run/b/-1")
            ]
        paid, sums = read_ledger(SandboxAddress(hedra.base_url, hedra.api_key, hedra.connection), 3)
    assert [(one.generation_id, one.owner, one.failed, one.api) for one in paid] == [
        (ids[0], "run/a/-1", True, 3),
        (ids[1], "run/b/-1", False, 3),
    ]
    assert paid[0].file is None
    assert paid[1].file is not None
    assert paid[1].credits > 0
    assert (sums["used"], sums["refunded"]) == (paid[1].credits, paid[0].credits)


def test_the_metadata_database_is_read_with_its_xcoms(tmp_path: Path):
    one, two = ({"generation_id": name, "uri": f"file:///{name}", "bytes": 3} for name in ("one", "two"))
    xcoms = [
        ("r", "avatar", -1, "generation", json.dumps(one)),
        # As some versions have it: JSON in JSON.
        ("r", "fetch", -1, "return_value", json.dumps(json.dumps(one))),
        ("r", "batch", -1, "generation", json.dumps(one)),
        ("r", "batch", -1, "generations", json.dumps([one, two])),
        ("r", "portrait", -1, "return_value", json.dumps({"asset_id": "a"})),
        ("r3", "avatar", -1, "generation", json.dumps(one | {"speech": {"generation_id": "spoken"}})),
    ]
    with closing(sqlite3.connect(tmp_path / "airflow.db")) as connection, connection:
        connection.execute("CREATE TABLE dag_run (run_id, state)")
        connection.execute("CREATE TABLE task_instance (dag_id, run_id, task_id, map_index, state)")
        connection.execute("CREATE TABLE xcom (run_id, task_id, map_index, key, value)")
        connection.execute("INSERT INTO dag_run VALUES ('r', 'running')")
        tasks = [("soak", "r", task, -1, "success") for task in ("avatar", "fetch", "batch", "portrait")]
        tasks += [("soak", "r", "wait", -1, None), ("soak_v3", "r3", "avatar", -1, "success")]
        connection.executemany("INSERT INTO task_instance VALUES (?, ?, ?, ?, ?)", tasks)
        connection.executemany("INSERT INTO xcom VALUES (?, ?, ?, ?, ?)", xcoms)
    runs, found = read_metadata(tmp_path / "airflow.db")
    assert runs == {"r": "running"}
    first, second = Result("one", "file:///one", 3), Result("two", "file:///two", 3)
    assert found == [
        TaskRun("r", "avatar", -1, "success", (first,)),
        TaskRun("r", "fetch", -1, "success", (first,)),
        TaskRun("r", "batch", -1, "success", (first, second)),
        TaskRun("r", "portrait", -1, "success"),
        TaskRun("r", "wait", -1, None),
        TaskRun("r3", "avatar", -1, "success", (first, Result("spoken", is_speech=True)), api=3),
    ]


def test_files_are_distinguished_from_parts(tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "a.mp4").write_bytes(b"abc")
    (tmp_path / "run" / ".a.mp4.12345678.hedra.part").write_bytes(b"a")
    files, parts = read_files(tmp_path)
    assert [(uri, size) for uri, (size, _) in files.items()] == [(f"file://{tmp_path}/run/a.mp4", 3)]
    assert parts == [str(tmp_path / "run" / ".a.mp4.12345678.hedra.part")]
    (tmp_path / "pymp-1").mkdir()
    (tmp_path / ".hedra-abc.mp4").write_bytes(b"")
    assert temporary_files(tmp_path) == [str(tmp_path / ".hedra-abc.mp4"), parts[0]]


def line_of(kind: str, filename: str) -> str:
    frames = [{"filename": "/airflow/task_runner.py", "lineno": 1}, {"filename": filename, "lineno": 7}]
    detail = {"exc_type": kind, "exc_value": "no", "frames": frames}
    return json.dumps({"event": "Task failed", "error_detail": [detail]}) + "\n"


def test_complaints_are_errors_that_the_provider_does_not_know(tmp_path: Path):
    ours = "/site/hedra_provider/poller.py"
    (tmp_path / "attempt=1.log").write_text(
        line_of("AirflowException", ours)
        + line_of("KeyError", "/airflow/other.py")
        + line_of("KeyError", ours)
        + "A poll failed in a way that nobody thought of.\n"
        + 'not JSON, of /hedra_provider/ with "error_detail"\n'
    )
    first, second = read_complaints(tmp_path)
    assert first.endswith("attempt=1.log:3: KeyError: no at poller.py:7")
    assert "nobody thought of" in second
