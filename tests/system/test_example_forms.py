"""The trigger forms of the example DAGs, as a new user opens them. No Airflow runs."""

from __future__ import annotations

import runpy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.forms import sent_as_it_opens
from tests.system.conftest import ROOT

EXAMPLES = sorted((ROOT / "dags").glob("*.py"), key=lambda path: path.name)
SINGLE_VIDEOS = [path for path in EXAMPLES if path.stem != "hedra_clips_from_table"]


def load(path: Path) -> Any:
    return runpy.run_path(str(path))["dag"]


def form_of(dag: Any) -> dict[str, dict[str, Any]]:
    """Return the parameters of a DAG as the REST API hands them to the form."""
    params = {name: dag.params.get_param(name) for name in dag.params}
    return {name: {"value": param.value, "schema": param.schema} for name, param in params.items()}


def fill_in(dag: Any, **values: Any) -> None:
    """Put values of the form into the parameters of a DAG, and validate them as Airflow does for a run."""
    dag.params.update(values)
    dag.params.validate()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_form_can_be_sent_as_it_opens(path: Path):
    dag = load(path)
    fill_in(dag, **sent_as_it_opens(form_of(dag)))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_what_may_be_empty_takes_null_and_what_may_not_takes_no_empty_text(path: Path):
    """The form sends null for a field that was emptied."""
    for name, param in form_of(load(path)).items():
        schema = param["schema"]
        if isinstance(schema["type"], list):
            fill_in(load(path), **{name: None})
        elif schema["type"] == "string":
            assert "enum" in schema or schema["minLength"] == 1, name
            with pytest.raises(Exception, match=name):
                fill_in(load(path), **{name: ""})


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_field_has_a_title_and_what_a_new_user_needs_is_in_sight(path: Path):
    """The form opens with the fields of a section folded (Airflow 3.3.2)."""
    form = form_of(load(path))
    assert [name for name, param in form.items() if "title" not in param["schema"]] == []
    in_sight = {name for name, param in form.items() if "section" not in param["schema"]}
    assert in_sight & {"image", "table"}
    assert in_sight >= {"destination", "max_credits"}
    # Omnia is in v2 only.
    assert ("max_cost" in in_sight) == (path.stem != "hedra_omnia_motion")


@pytest.mark.parametrize("path", SINGLE_VIDEOS, ids=lambda path: path.stem)
def test_a_single_video_has_a_budget_and_a_file_for_each_run(path: Path):
    form = form_of(load(path))
    assert form["max_credits"]["schema"]["type"] == ["null", "integer"]
    # A folder: its files are named after their generations.
    assert form["destination"]["value"].endswith("/")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_retries_of_an_example_come_soon_and_its_page_is_short(path: Path):
    assert {task.retry_delay for task in load(path).tasks} == {timedelta(seconds=30)}
    assert len(path.read_text("utf-8").splitlines()) <= 150


def test_the_rows_of_a_table_stay_out_of_the_log():
    tasks = load(ROOT / "dags" / "hedra_clips_from_table.py").tasks
    shown = [task.task_id for task in tasks if getattr(task, "show_return_value_in_logs", False)]
    assert shown == []
