"""What a clear costs in every state of a task, and what another run costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.stories import FOREVER, Story, wait

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from pathlib import Path

    from tests.system.stories import Begin, MortalAirflow

pytestmark = pytest.mark.crash

LOST = (
    {"on": "POST /generations", "when": "after", "times": None, "reset": True},
    {"on": "GET /generations/{id}/status", "skip": 1, "times": 5, "reset": True},
)
"""Submits are done, but not answered; and the looks that follow the first one are not answered, either."""

CHANGES = ("same", "edited", "new")
"""What is other after the clear: nothing, the text, or what a clear means (``on_clear="new"``)."""


@dataclass(frozen=True)
class Cleared:
    """
    A task that is cleared in a state.

    :param state: The state.
    :param change: One of ``CHANGES``.
    :param dag_id: A DAG of ``dags/crash.py``; its twin with ``on_clear="new"`` ends in ``_new``.
    :param lost: Whether the submit's answer gets lost, and the looks for it, so that the try fails.
    """

    state: str
    change: str
    dag_id: str
    lost: bool = False

    def __call__(self, begin: Begin) -> None:
        """Clear it; the same request costs nothing more, another exactly one more."""
        dag_id = self.dag_id + ("_new" if self.change == "new" else "")
        with begin(dag_id) as story:
            story.hedra.faults(*(LOST if self.lost else ()))
            story.start()
            if self.state == "success":
                story.finish()
            story.wait_for(self.state)
            wait_until_paid(story, 1)
            story.hedra.faults()
            if self.change == "edited":
                story.edit()
            story.clear()
            wait_until_paid(story, 1 if self.change == "same" else 2)
            if self.state == "running":
                story.hedra.advance(FOREVER)
            story.finish(try_number=2)
            story.assert_paid(1 if self.change == "same" else 2)


def wait_until_paid(story: Story, times: int) -> None:
    """Wait until the sandbox was paid so often; that it is never more often is asserted at the end."""
    wait(lambda: len(story.paid()) >= times, 90, lambda: f"{story.run_id} to pay {times} times")


STATES: dict[str, dict[str, Any]] = {
    "deferred": {"dag_id": "deferred"},
    "running": {"dag_id": "on_the_worker"},
    "failed": {"dag_id": "deferred", "lost": True},
    "up_for_retry": {"dag_id": "retried_later", "lost": True},
    "success": {"dag_id": "deferred"},
}


def cleared_at_the_submit(begin: Begin) -> None:
    """The task is cleared while its submit is done but not answered."""
    with begin("deferred") as story:
        story.hedra.faults({"on": "POST /generations", "when": "after", "delay_seconds": 40})
        story.start()
        story.wait_until_held("POST", "/generations")
        story.clear()
        story.finish(try_number=2)
        story.assert_paid(1)


def timed_out(begin: Begin) -> None:
    """The wait is over before the generation is."""
    with begin("impatient") as story:
        story.start()
        story.wait_for("failed")
        story.hedra.advance(FOREVER)
        story.clear()
        story.finish(try_number=2)
        story.assert_paid(1)


def cut_off(begin: Begin) -> None:
    """The connection is cut after each submit."""
    with begin("cut_off") as story:
        story.hedra.faults(*LOST)
        story.start()
        story.finish(try_number=2)
        story.assert_paid(1)


def failed_at_hedra(begin: Begin) -> None:
    """The generation itself failed and was refunded: a clear pays for another."""
    error = {"type": "MODERATION_FAILED", "reason_code": "MODERATION_LIKENESS", "message": "a face"}
    with begin("deferred") as story:
        story.hedra.faults({"on": "POST /generations", "generation_error": error})
        story.start()
        story.finish("failed")
        assert story.hedra.ledger()["credits"]["used"] == 0
        story.clear()
        story.finish(try_number=2)
        story.assert_paid(2, refunded=1)


def deleted_and_made_again(begin: Begin) -> None:
    """A run of the same id is the same run."""
    with begin("deferred") as story:
        story.start()
        story.finish()
        story.delete()
        story.start()
        story.finish()
        assert "Adopting generation" in story.log(1)
        story.assert_paid(1)


def another_run(begin: Begin) -> None:
    """Another run is another video."""
    with begin("deferred") as story:
        story.start()
        story.finish()
        story.assert_paid(1)
        story.start(f"{story.run_id}_again")
        story.finish()
        story.assert_paid(2)


STORIES: dict[str, Callable[[Begin], None]] = {
    "timed out": timed_out,
    "cut off": cut_off,
    "cleared at the submit": cleared_at_the_submit,
    "failed at Hedra": failed_at_hedra,
    "deleted and made again": deleted_and_made_again,
    "another run": another_run,
    **{
        f"{state}, {change}": Cleared(state, change, **settings)
        for state, settings in STATES.items()
        for change in CHANGES
    },
}


@pytest.mark.parametrize("story", STORIES)
def test_what_was_paid_for(told: dict[str, Future[None]], story: str):
    told[story].result()


def test_a_backfill_pays_for_each_run(
    told: dict[str, Future[None]], mortal_airflow: MortalAirflow, tmp_path: Path
):
    """Reprocessing a backfill is a clear."""
    for story in told.values():
        # Airflow on SQLite can't make backfills while others write.
        story.exception()
    with Story(mortal_airflow, tmp_path, "backfill", "daily") as story:
        story.destination = f"{story.folder}/"
        for reprocess, first_try in (("none", 1), ("completed", 2)):
            for run_id in story.backfill(("2024-01-01", "2024-01-02"), reprocess):
                story.run_id = run_id
                story.finish(try_number=first_try)
            story.wait_until_backfilled()
            assert len(story.paid()) == 2
        assert {path.stem for path in story.folder.iterdir()} == {
            row["generation_id"] for row in story.paid()
        }
