"""`read_table` as a task calls it: over real HTTP against the sandbox."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hedra_provider.tables import read_table
from hedra_provider.tables.reading import MAX_NAMED_FAULTS
from tests.airflow_names import AirflowException, AirflowFailException

if TYPE_CHECKING:
    from pathlib import Path

    from hedra_provider.testing import Sandbox

pytestmark = pytest.mark.hedra_sandbox(media=False)

GOOD = {"name": "one", "text": "Hello", "voice": "Ada", "portrait": "portrait.jpg"}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "portrait.jpg").touch()
    path = tmp_path / "clips.json"
    path.write_text(json.dumps([GOOD]))
    return path


def errors_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("inputs", [None, "", " ", "{folder}", "{folder}/"])
def test_inputs_lie_beside_the_table_or_in_the_folder_of_inputs(
    hedra_sandbox: Sandbox, table: Path, inputs: str | None
):
    (row,) = read_table(str(table), inputs and inputs.format(folder=table.parent))
    assert row["image"] == f"{table.parent}/portrait.jpg"
    assert row["voice_id"]


def test_inputs_in_another_folder(
    hedra_sandbox: Sandbox, table: Path, tmp_path_factory: pytest.TempPathFactory
):
    elsewhere = tmp_path_factory.mktemp("inputs")
    with pytest.raises(
        AirflowFailException,
        match=r"row 1: portrait: '.*' can't be opened on this worker .*: there is no such file",
    ):
        read_table(str(table), str(elsewhere))
    (elsewhere / "portrait.jpg").touch()
    assert read_table(str(table), f"file://{elsewhere}")[0]["image"] == f"file://{elsewhere}/portrait.jpg"


def test_bad_rows_fail_without_retry_and_without_raw_characters(
    hedra_sandbox: Sandbox, table: Path, caplog: pytest.LogCaptureFixture
):
    """The reason is an error of the log too: Airflow's own begins with "Task failed with exception"."""
    table.write_text(json.dumps([{**GOOD, "text": "a\0b"}, GOOD, {**GOOD, "name": "\udc00"}]))
    with pytest.raises(AirflowFailException) as failure:
        read_table(str(table))
    head, *faults = str(failure.value).splitlines()
    assert head.endswith("clips.json can't be used; nothing was uploaded or spent.")
    assert faults == [
        "row 1: text holds a NUL (U+0000) at position 2: remove it",
        "row 3: name holds a lone surrogate (U+DC00) at position 1: remove it",
    ]
    assert errors_of(caplog) == [str(failure.value)]
    assert [row["path"] for row in hedra_sandbox.ledger()["requests"]] == ["/voices"]


def test_a_table_that_is_wrong_in_every_row_gets_a_message_of_bounded_length(
    hedra_sandbox: Sandbox, table: Path
):
    table.write_text(json.dumps([1] * (MAX_NAMED_FAULTS + 5)))
    with pytest.raises(AirflowFailException) as failure:
        read_table(str(table))
    lines = str(failure.value).splitlines()
    assert (len(lines), lines[-1]) == (MAX_NAMED_FAULTS + 2, "and 5 more faults")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("[]", "it has no rows"),
        ("name,portrait,text,voice\n", "it has no rows"),
        ("a,b\n", "must name the columns"),
        (b"\xff", "it is not UTF-8"),
        (None, "there is no such file"),
    ],
)
def test_a_file_that_is_not_a_table_fails_without_retry(
    hedra_sandbox: Sandbox, table: Path, content: str | bytes | None, expected: str
):
    if content is None:
        table.unlink()
    else:
        table.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(AirflowFailException, match=expected):
        read_table(str(table))


def test_an_answer_that_did_not_come_is_left_to_the_retries(
    hedra_sandbox: Sandbox, table: Path, no_pauses: None
):
    hedra_sandbox.faults({"on": "GET /voices", "times": 99, "when": "before", "status": 503})
    with pytest.raises(AirflowException) as failure:
        read_table(str(table))
    assert not isinstance(failure.value, AirflowFailException)
