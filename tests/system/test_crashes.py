"""A worker, a scheduler or a triggerer is killed at the worst moments: one payment, and the whole file.

The sandbox holds the request of that moment, its socket shows which process sent it, and that process dies by
SIGKILL. Nobody cleans up after it: Airflow misses its heartbeat and tries again.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from testbed import worker_processes
from tests.system.stories import FOREVER, Story

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

    from testbed.crashable_airflow import CrashableAirflow
    from tests.system.stories import Begin, RunStory

pytestmark = pytest.mark.crash

HELD_SECONDS = 50
STATUS_REQUEST = ("GET", "/generations/{id}/status")
SUBMIT = ("POST", "/generations")
ROW = ("GET", "/generations")
UPLOAD = ("POST", "/assets/{id}/upload")
FILE = ("GET", "/files/{id}")


def held(method: str, path: str, **more: Any) -> dict[str, Any]:
    return {"on": f"{method} {path}", "delay_seconds": HELD_SECONDS, **more}


@dataclass(frozen=True)
class Killed:
    """
    A worker that is killed.

    :param at: The request that is held then.
    :param faults: What the sandbox does; nothing after the death.
    :param runner: Whether the process that runs the code is killed too, or its supervisor alone.
    :param seconds: How long the generation takes.
    :param dag_id: A DAG of ``dags/crash.py`` with retries.
    """

    at: tuple[str, str]
    faults: tuple[dict[str, Any], ...]
    runner: bool = True
    seconds: float = FOREVER
    media: bool = False
    dag_id: str = "crashed"

    def __call__(self, begin: Begin) -> None:
        """Kill it, and see the next try end well."""
        with begin(self.dag_id, seconds=self.seconds, media=self.media) as story:
            story.hedra.faults(*self.faults)
            story.start()
            story.kill_worker(*self.at, runner=self.runner)
            if self.dag_id == "crashed_on_the_worker":
                story.wait_for("running", try_number=2)
                story.hedra.advance(FOREVER)
            story.finish(try_number=2)
            story.assert_paid(1)


STORIES: dict[str, RunStory] = {
    "during the upload": Killed(UPLOAD, (held(*UPLOAD),)),
    "after the upload": Killed(UPLOAD, (held(*UPLOAD, when="after"),)),
    "before the submit": Killed(STATUS_REQUEST, (held(*STATUS_REQUEST),)),
    # It is on its way when the worker dies, and Hedra sees to it when the next try may be there.
    "in the submit": Killed(SUBMIT, (held(*SUBMIT),)),
    "after the submit": Killed(SUBMIT, (held(*SUBMIT, when="after"),)),
    "after the submit's answer": Killed(
        STATUS_REQUEST, (held(*STATUS_REQUEST, skip=1),), dag_id="crashed_on_the_worker"
    ),
    # The code goes on without its supervisor, and the next try begins beside it.
    "its supervisor alone, before the submit": Killed(STATUS_REQUEST, (held(*STATUS_REQUEST),), runner=False),
    "its supervisor alone, after the submit": Killed(SUBMIT, (held(*SUBMIT, when="after"),), runner=False),
    "before the XCom": Killed(ROW, (held(*ROW),), seconds=2),
    "during the download": Killed(
        FILE, ({"on": " ".join(FILE), "cut_at": 100}, held(*FILE)), seconds=2, media=True
    ),
}


@pytest.mark.parametrize("story", STORIES)
def test_a_killed_worker_pays_once(outcome_of: dict[str, Future[None]], story: str):
    outcome_of[story].result()


def test_a_killed_scheduler_and_triggerer_pay_once(
    outcome_of: dict[str, Future[None]], crashable_airflow: CrashableAirflow, tmp_path: Path
):
    for story in outcome_of.values():
        # What this kills is nobody else's.
        story.exception()
    with ExitStack() as stack:
        submitting, waiting = (
            stack.enter_context(Story(crashable_airflow, tmp_path, name, "crashed"))
            for name in ("submitting", "waiting")
        )
        waiting.hedra.faults({"on": "POST /generations", "when": "after", "delay_seconds": 3})
        waiting.start()
        supervisor, runner = waiting.worker(waiting.wait_until_held(*SUBMIT))
        waiting.wait_for("deferred")
        submitting.hedra.faults(held(*SUBMIT, when="after"))
        submitting.start()
        submitting.wait_until_held(*SUBMIT)
        # What is deferred has no process that could be killed, but the one that ran it and may run others.
        assert not runner.is_running()
        # The worker that submits lives on, as an orphan; the next scheduler gives its task to another.
        crashable_airflow.kill("scheduler")
        worker_processes.kill(supervisor)
        crashable_airflow.kill("triggerer")
        submitting.hedra.faults()
        waiting.hedra.advance(FOREVER)
        crashable_airflow.revive("scheduler")
        crashable_airflow.revive("triggerer")
        assert waiting.finish(noted=False) == 1
        waiting.assert_paid(1)
        submitting.finish(noted=False)
        submitting.assert_paid(1)
