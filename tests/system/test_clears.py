"""What a clear costs in every state of a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.stories import LOST, LOST_V3, Story, wait, wait_until_paid

if TYPE_CHECKING:
    from concurrent.futures import Future

    from tests.system.stories import Begin, RunStory

pytestmark = pytest.mark.crash

CHANGES = ("same", "edited", "new")
"""What is other after the clear: nothing, the text, or what a clear means (``on_clear="new"``)."""


@dataclass(frozen=True)
class Cleared:
    """
    A task that is cleared in a state.

    :param state: The state.
    :param change: One of ``CHANGES``.
    :param dag_id: A DAG of ``dags/crash.py``; its twin with ``on_clear="new"`` ends in ``_new``.
    :param lost: Whether the submit's answer gets lost, and the searches for it fail, so that the try fails.
    :param api: The version of the connection's key.
    """

    state: str
    change: str
    dag_id: str
    lost: bool = False
    api: int = 2

    def __call__(self, begin: Begin) -> None:
        """Clear it; the same request costs nothing more, another exactly one more."""
        dag_id = self.dag_id + ("_new" if self.change == "new" else "")
        with begin(dag_id, api=self.api) as story:
            lost = LOST_V3 if self.api == 3 else LOST
            story.hedra.faults(*(lost if self.lost else ()))
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
                story.wait_for("running", try_number=2)
                story.let_it_end()
                assert_log_says_what_runs_on(story.log(1), story)
            story.finish(try_number=2)
            story.assert_paid(1 if self.change == "same" else 2)


def assert_log_says_what_runs_on(log: str, story: Story) -> None:
    """The log of a try that was stopped says what it leaves behind."""
    paid = story.paid()[0]
    said = next(line for line in log.splitlines() if "runs on" in line)
    cost = f"costs {paid['credits']} credits" if story.api == 2 else f"costs {paid['credits']:.2f} USD"
    for what in (paid["generation_id"], "runs on", cost, "adopts"):
        assert what in said


STATES: dict[str, dict[str, Any]] = {
    "deferred": {"dag_id": "deferred"},
    "running": {"dag_id": "on_the_worker"},
    "failed": {"dag_id": "deferred", "lost": True},
    "up_for_retry": {"dag_id": "retried_later", "lost": True},
    "success": {"dag_id": "deferred"},
}


@dataclass(frozen=True)
class ClearedAtTheSubmit:
    """
    The task is cleared while its submit is done but not answered.

    :param api: The version of the connection's key.
    """

    api: int

    def __call__(self, begin: Begin) -> None:
        """Clear it; the next try finds what the first one submitted."""
        path = "/v3/models/{model}" if self.api == 3 else "/generations"
        with begin("deferred", api=self.api) as story:
            story.hedra.faults({"on": f"POST {path}", "when": "after", "delay_seconds": 40})
            story.start()
            story.wait_until_held("POST", path)
            story.clear()
            story.finish(try_number=2)
            story.assert_paid(1)


def marked_failed_while_deferred(begin: Begin) -> None:
    """The task is marked failed while it is deferred, and cleared while its generation runs on."""
    with begin("deferred") as story:
        first = story.run_id
        story.start()
        story.wait_for("deferred")
        # SQLite gives the id of the youngest trigger, once that is deleted, to the next one: a triggerer that
        # was not quick enough goes on with the old one. So there is a younger one.
        story.start(f"{first}_younger")
        story.wait_for("deferred")
        story.run_id = first
        wait(lambda: ": processing" in story.log(1), 120, lambda: "the trigger's first poll")
        story.mark("failed")
        story.wait_for("failed")
        wait(lambda: "runs on" in story.log(1), 60, lambda: "the last words of the task")
        assert_log_says_what_runs_on(story.log(1), story)
        story.clear()
        story.finish(try_number=2)
        # The younger run ends at the same time, and writes to the same destination.
        assert story.airflow.wait_for_run(story.dag_id, f"{first}_younger") == "success"
        story.assert_paid(2, gave=0)


def marked_failed(begin: Begin) -> None:
    """The task is marked failed while it runs, and cleared while its generation runs on."""
    with begin("on_the_worker") as story:
        story.start()
        wait_until_paid(story, 1)
        story.wait_for("running")
        story.mark("failed")
        story.wait_for("failed")
        wait(lambda: "runs on" in story.log(1), 60, lambda: "the last words of the task")
        assert_log_says_what_runs_on(story.log(1), story)
        story.clear()
        story.wait_for("running", try_number=2)
        story.let_it_end()
        story.finish(try_number=2)
        story.assert_paid(1)


STORIES: dict[str, RunStory] = {
    "cleared at the submit": ClearedAtTheSubmit(2),
    "v3, cleared at the submit": ClearedAtTheSubmit(3),
    "marked failed while running": marked_failed,
    "marked failed while deferred": marked_failed_while_deferred,
    **{
        f"{state}, {change}": Cleared(state, change, **settings)
        for state, settings in STATES.items()
        for change in CHANGES
    },
    # Each state and each change once: how Airflow counts tries and clears is the same code for both versions,
    # and tests/operators/test_what_is_paid_v3.py has the other pairs.
    **{
        f"v3, {state}, {change}": Cleared(state, change, **STATES[state], api=3)
        for state, change in (
            ("deferred", "same"),
            ("running", "edited"),
            ("failed", "same"),
            ("up_for_retry", "edited"),
            ("success", "new"),
        )
    },
}


@pytest.mark.parametrize("story", STORIES)
def test_a_clear_pays_only_for_what_changed(outcome_of: dict[str, Future[None]], story: str):
    outcome_of[story].result()
