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
from tests.system.stories import Story, wait

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

UPLOAD_V3 = ("POST", "/v3/files")
SUBMIT_V3 = ("POST", "/v3/models/{model}")
AVATAR_V3 = ("POST", "/v3/models/hedra-avatar")
STATUS_V3 = ("GET", "/v3/jobs/{id}/status")
RESULT_V3 = ("GET", "/v3/jobs/{id}")


def held(method: str, path: str, **more: Any) -> dict[str, Any]:
    return {"on": f"{method} {path}", "delay_seconds": HELD_SECONDS, **more}


@dataclass(frozen=True)
class Killed:
    """
    A worker that is killed.

    :param at: The request that is held then.
    :param faults: What the sandbox does; nothing after the death.
    :param runner: Whether the process that runs the code is killed too, or its supervisor alone.
    :param seconds: How long the generation takes; None: until a test lets it end.
    :param dag_id: A DAG of ``dags/crash.py`` with retries.
    :param api: The version of the connection's key.
    :param state_path: Whether the connection has one.
    :param paid: How many jobs a run pays for.
    """

    at: tuple[str, str]
    faults: tuple[dict[str, Any], ...]
    runner: bool = True
    seconds: float | None = None
    media: bool = False
    dag_id: str = "crashed"
    api: int = 2
    state_path: bool = False
    paid: int = 1

    def __call__(self, begin: Begin) -> None:
        """Kill it, and see the next try end well."""
        options: dict[str, Any] = {"media": self.media}
        if self.seconds is not None:
            options["seconds"] = self.seconds
        with begin(self.dag_id, api=self.api, state_path=self.state_path, **options) as story:
            story.hedra.faults(*self.faults)
            story.start()
            story.kill_worker(*self.at, runner=self.runner)
            if self.dag_id == "crashed_on_the_worker":
                story.wait_for("running", try_number=2)
                story.let_it_end()
            story.finish(try_number=2)
            story.assert_paid(self.paid)


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
    # With a v3 key: the crash points of docs/explanation/paid-once.md. What follows the submit's answer and
    # asks Hedra nothing is killed in tests/submission/v3.
    "v3, before the upload": Killed(UPLOAD_V3, (held(*UPLOAD_V3),), api=3),
    "v3, between upload and intent": Killed(UPLOAD_V3, (held(*UPLOAD_V3, skip=1, when="after"),), api=3),
    "v3, between intent and submit": Killed(SUBMIT_V3, (held(*SUBMIT_V3),), api=3),
    "v3, after the submit": Killed(SUBMIT_V3, (held(*SUBMIT_V3, when="after"),), api=3),
    "v3, after the submit, state_path": Killed(
        SUBMIT_V3, (held(*SUBMIT_V3, when="after"),), api=3, state_path=True
    ),
    "v3, its supervisor alone, after the submit": Killed(
        SUBMIT_V3, (held(*SUBMIT_V3, when="after"),), api=3, runner=False
    ),
    "v3, in the wait": Killed(STATUS_V3, (held(*STATUS_V3),), api=3, dag_id="crashed_on_the_worker"),
    "v3, between speech and video": Killed(
        AVATAR_V3, (held(*AVATAR_V3),), api=3, dag_id="crashed_spoken", seconds=2, paid=2
    ),
    # The triggerer asks for it first.
    "v3, before the download": Killed(RESULT_V3, (held(*RESULT_V3, skip=1),), api=3, seconds=2),
    "v3, during the download": Killed(
        FILE, ({"on": " ".join(FILE), "cut_at": 100}, held(*FILE)), api=3, seconds=2, media=True
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
        # One story of each kind for each version of the API, and all meet the same kills.
        submitting, waiting = (
            [
                stack.enter_context(Story(crashable_airflow, tmp_path, f"{name} {api}", "crashed", api=api))
                for api in (2, 3)
            ]
            for name in ("submitting", "waiting")
        )
        supervisors = set()
        for story, submit in zip(waiting, (SUBMIT, SUBMIT_V3), strict=True):
            story.hedra.faults({"on": " ".join(submit), "when": "after", "delay_seconds": 3})
            story.start()
            supervisor, runner = story.worker(story.wait_until_held(*submit))
            story.wait_for("deferred")
            # What is deferred has no process that could be killed, but the one that ran it.
            wait(lambda runner=runner: not runner.is_running(), 30, lambda: "the end of a worker")
            supervisors.add(supervisor)
        for story, submit in zip(submitting, (SUBMIT, SUBMIT_V3), strict=True):
            story.hedra.faults(held(*submit, when="after"))
            story.start()
            story.wait_until_held(*submit)
        # The workers that submit live on, as orphans; the next scheduler gives their tasks to others.
        crashable_airflow.kill("scheduler")
        worker_processes.kill(*supervisors)
        crashable_airflow.kill("triggerer")
        for story in (*submitting, *waiting):
            story.hedra.faults()
        for story in waiting:
            story.let_it_end()
        crashable_airflow.revive("scheduler")
        crashable_airflow.revive("triggerer")
        for story in waiting:
            assert story.finish(noted=False) == 1
            story.assert_paid(1)
        for story in submitting:
            story.finish(noted=False)
            story.assert_paid(1)
