"""Records in a folder that all workers share. For an object storage see ``test_object_storage``."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from hedra_provider.api.errors import HedraConfigurationError, HedraStateError
from hedra_provider.storage.state_path import StatePathStore, require_state_path
from hedra_provider.submission.v3.record import TryRecord

JOB = "job_0f9d9d3c-7d0e-4b0c-9b51-6d1f1c4f2a90"


def record(try_id: str = "0001-a", *, key: str = "run", group: str = "group") -> TryRecord:
    return TryRecord(key=key, try_id=try_id, attempt_group=group)


@pytest.fixture
def store(tmp_path: Path) -> StatePathStore:
    return StatePathStore(str(tmp_path / "state"), "run")


def test_each_attempt_has_a_file_and_readers_see_all(store: StatePathStore, tmp_path: Path):
    assert store.read() == []
    store.write(record("0001-a"))
    store.write(record("0002-b"))
    store.write(record("0002-b", group="after a clear"))
    assert [(one.try_id, one.attempt_group) for one in store.read()] == [
        ("0001-a", "group"),
        ("0002-b", "after a clear"),
    ]
    assert len([one for one in tmp_path.rglob("*") if one.is_file()]) == 2


def test_another_process_reads_what_was_written(store: StatePathStore, tmp_path: Path):
    store.write(record())
    assert StatePathStore(f"file://{tmp_path}/state/", "run").read() == [record()]
    assert StatePathStore(str(tmp_path / "state"), "another run").read() == []


def test_a_job_is_named_by_one_key(store: StatePathStore, tmp_path: Path):
    other = StatePathStore(str(tmp_path / "state"), "another run")
    assert (store.is_named_elsewhere(JOB), other.is_named_elsewhere(JOB)) == (False, False)
    store.name_job(JOB)
    store.name_job(JOB)
    assert (store.is_named_elsewhere(JOB), other.is_named_elsewhere(JOB)) == (False, True)


@pytest.mark.parametrize("foreign", ["../../escaped", "a/b", "..", "", "x" * 300, "j\0b"])
def test_no_id_leads_out_of_the_folder(store: StatePathStore, tmp_path: Path, foreign: str):
    store.name_job(foreign)
    store.write(record(foreign))
    (found,) = store.read()
    assert found.try_id == foreign
    inside = tmp_path / "state"
    assert [one.name for one in tmp_path.iterdir()] == [inside.name]
    assert len([one for one in inside.rglob("*") if one.is_file()]) == 2


def test_a_writer_that_dies_leaves_no_half_record(
    store: StatePathStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store.write(record("0001-a"))

    def die(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", die)
    with pytest.raises(KeyboardInterrupt):
        store.write(record("0001-a", group="changed"))
    monkeypatch.undo()
    assert store.read() == [record("0001-a")]


def test_a_folder_that_cant_be_written_is_a_retryable_error(tmp_path: Path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    store = StatePathStore(str(blocked / "state"), "run")
    with pytest.raises(HedraStateError, match="can't be written on this worker") as caught:
        store.write(record())
    assert caught.value.retryable
    assert "Nothing is submitted" in str(caught.value)


def test_a_file_that_is_no_record_stops(store: StatePathStore, tmp_path: Path):
    store.write(record())
    (file,) = tmp_path.rglob("*.json")
    file.write_text("{")
    with pytest.raises(HedraStateError, match="state_path") as caught:
        store.read()
    assert not caught.value.retryable


def test_a_relative_path_is_invalid():
    with pytest.raises(HedraConfigurationError, match="relative"):
        StatePathStore("state", "run")


def test_without_a_path_the_error_names_it():
    with pytest.raises(HedraConfigurationError, match="durable place") as caught:
        require_state_path(None, "run", "Outside a task there is no other place for it")
    assert caught.value.param == "state_path"
    assert "state_path" in str(caught.value)


def test_attempts_that_write_at_once_keep_each_others_records(tmp_path: Path):
    def write(number: int) -> None:
        for _ in range(10):
            StatePathStore(str(tmp_path), "run").write(record(f"{number:04}"))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(StatePathStore(str(tmp_path), "run").read()) == 8
