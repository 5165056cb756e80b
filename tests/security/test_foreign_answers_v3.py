"""Nothing that API v3 names chooses a path or an endpoint; whatever it answers, one job is paid for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider.operators import HedraAvatarVideoOperator
from tests.faults.clock import moved_clock
from tests.security.test_foreign_data import error_of
from tests.tasks import TaskInstance, run

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox

FOREIGN = {
    "traversal": "../../etc/x",
    "absolute": "/etc/x",
    "a job's id that leads out": "job_a/../../x",
    "nul": "job_a\0b",
    "jinja": "{{ conn.hedra_default.password }}",
    "parent": "..",
    "lines": "job_a\r\nINFO done",
    "long": "job_" + "a" * 5000,
}

pytestmark = pytest.mark.hedra_sandbox(api=3, media=False)


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    """A search of Hedra's jobs pauses for ten minutes: let a clock move instead, also that of the sandbox."""
    with moved_clock():
        yield


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize(
    ("on", "field"),
    [
        ("POST /v3/models/{model}", "job_id"),
        ("GET /v3/jobs/{id}", "model"),
        ("GET /v3/jobs/{id}", "outputs"),
    ],
)
def test_what_an_answer_names_chooses_no_path(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path, on: str, field: str, foreign: str
):
    value: Any = FOREIGN[foreign]
    if field == "outputs":
        value = [{"asset_id": value, "content_type": value, "url": value, "status": "COMPLETED"}]
    hedra_sandbox.faults({"on": on, "times": None, "patch": {field: value}})
    records = Path(json.loads(hedra_sandbox.connection_v3)["extra"]["state_path"])
    folder = tmp_path / "out"
    before = files_in(tmp_path)
    for numbers in ({"try_number": 1}, {"try_number": 2}):
        operator = HedraAvatarVideoOperator(
            task_id="a", image=portrait, audio=voice, resolution="540p", destination=f"{folder}/", timeout=60
        )
        error_of(lambda operator=operator, numbers=numbers: run(operator, TaskInstance(**numbers)))
    paid = [row for row in hedra_sandbox.submissions_v3 if row["usd"]]
    assert len(paid) == 1
    for path in files_in(tmp_path) - before:
        assert path.parent == folder
        assert path.stem == paid[0]["job_id"]
    # Two folders deep: one for each key, one for the jobs.
    assert {len(path.relative_to(records).parts) for path in files_in(records)} == {2}
    paths = [row["path"] for row in hedra_sandbox.ledger()["requests"] if row["origin"] == "api"]
    known = ("/v3/models/", "/v3/files", "/v3/jobs", "/v3/balance")
    assert [path for path in paths if not path.startswith(known)] == []
