"""Foreign text in rows that Airflow maps over: whether it stays text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.security.conftest import HOME
from tests.security.leaks import forget

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox
    from tests.security.conftest import Run

pytestmark = pytest.mark.hedra_sandbox(media=False)


@pytest.mark.parametrize("dag_id", ["foreign_expand", "foreign_group"])
def test_mapped_text_passes_exactly(hedra_sandbox: Sandbox, run_dag: Run, dag_id: str):
    from tests.security.dags.foreign import ROWS

    states = run_dag(dag_id)
    assert set(states.values()) == {"success"}, states
    assert sorted(row["request"]["text"] for row in hedra_sandbox.submissions) == sorted(ROWS)


def test_expand_kwargs_renders_foreign_text(hedra_sandbox: Sandbox, run_dag: Run):
    """Airflow's doing, and why the docs warn: should this fail one day, the warning can go."""
    run_dag("foreign_expand_kwargs")
    forget("foreign_expand_kwargs", HOME)
    assert [row["request"]["text"] for row in hedra_sandbox.submissions] == [hedra_sandbox.api_key]
