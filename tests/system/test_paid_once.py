"""What retries, other runs, keys and commands cost: ``docs/explanation/paid-once.md`` in a real Airflow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from hedra_provider.submission.v3.sending import RESEND_PAUSES_SECONDS
from tests.system.stories import LOST, Story, wait_until_paid

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

    from testbed.crashable_airflow import CrashableAirflow
    from tests.system.stories import Begin, RunStory

pytestmark = pytest.mark.crash

SENDS = (None, *RESEND_PAUSES_SECONDS)
"""How often one try sends a v3 submit whose answers are lost."""


def cut_off(begin: Begin) -> None:
    """With ``retries=3``, the connection is cut after each submit."""
    with begin("cut_off") as story:
        story.hedra.faults(*LOST)
        story.start()
        story.finish(try_number=2)
        story.assert_paid(1)


def timed_out(begin: Begin) -> None:
    """The task's timeout ends before its generation, and it is cleared while that runs on."""
    with begin("impatient") as story:
        story.start()
        story.wait_for("failed")
        log, (paid,) = story.log(1), story.paid()
        for what in (paid["generation_id"], "runs on", f"this costs {paid['credits']} credits", "adopts it"):
            assert what in log
        story.clear()
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


def edited_and_back(begin: Begin) -> None:
    """An edit is paid for; what was there before it is still there."""
    with begin("deferred") as story:
        story.start()
        story.finish()
        story.edit()
        story.clear()
        story.finish(try_number=2)
        story.assert_paid(2)
        story.edit_back()
        story.clear()
        story.finish(try_number=3)
        story.assert_paid(2, gave=0)


def deleted_and_made_again(begin: Begin) -> None:
    """A run of the same id is the same run, also to what it asks for."""
    with begin("deferred") as story:
        story.start()
        story.finish()
        story.delete()
        story.start()
        story.finish()
        assert "Adopting generation" in story.log(1)
        story.assert_paid(1)
        story.delete(workers=1)
        story.edit()
        story.start()
        story.finish()
        story.assert_paid(2)


def another_run(begin: Begin) -> None:
    """Another run is another video."""
    with begin("deferred") as story:
        story.start()
        story.finish()
        story.assert_paid(1)
        story.start(f"{story.run_id}_again")
        story.finish()
        story.assert_paid(2)


def shared_key(begin: Begin) -> None:
    """Runs that share an ``idempotency_key`` share what it made, unless they ask for something else."""
    with begin("shared") as story:
        story.conf["key"] = "shop/blue shoe"
        first = story.run_id
        story.start()
        story.finish()
        story.start(f"{first}_again")
        story.finish()
        story.assert_paid(1)
        story.run_id = f"{first}_edited"
        story.edit()
        story.start()
        story.finish()
        story.assert_paid(2)


@dataclass(frozen=True)
class Rotated:
    """
    The API key is rotated while the task waits.

    :param named: Whether the connection has an ``id_namespace``.
    """

    named: bool

    def __call__(self, begin: Begin) -> None:
        """What is waited for comes all the same; a clear finds it where the ids have a name of their own."""
        extra = {"id_namespace": "shop"} if self.named else {}
        with begin("deferred", extra=extra) as story:
            story.start()
            story.wait_for("deferred")
            story.rotate_key()
            if self.named:
                story.clear()
            story.finish(try_number=2 if self.named else 1)
            story.assert_paid(1)
            story.clear()
            if not self.named:
                wait_until_paid(story, 2)
            story.finish(try_number=3 if self.named else 2)
            story.assert_paid(1 if self.named else 2)


def cut_off_v3(begin: Begin) -> None:
    """With ``retries=3`` and a v3 key, each submit of the first try is cut, and one of the second."""
    with begin("cut_off", api=3) as story:
        story.hedra.faults(
            {"on": "POST /v3/models/{model}", "when": "after", "times": len(SENDS) + 1, "reset": True}
        )
        story.start()
        assert story.finish(try_number=2) == 2
        rows = story.hedra.submissions_v3
        # Each was the same submit: the same bytes with the same key.
        assert len(rows) == len(SENDS) + 2
        assert len({(row["idempotency_key"], row["body_sha256"]) for row in rows}) == 1
        story.assert_paid(1)


def spoken_and_another_portrait(begin: Begin) -> None:
    """A clear with another request for the video does not pay the speech again."""
    with begin("spoken", api=3, seconds=2) as story:
        story.start()
        story.finish()
        story.assert_paid(2)
        story.edit()
        story.clear()
        story.finish(try_number=2)
        story.assert_paid(3)


def deleted_and_made_again_with_state_path(begin: Begin) -> None:
    """With a ``state_path`` the records outlive the run."""
    with begin("deferred", api=3, state_path=True) as story:
        story.start()
        story.finish()
        story.delete()
        story.start()
        story.finish()
        assert "Adopting generation" in story.log(1)
        story.assert_paid(1)


STORIES: dict[str, RunStory] = {
    "timed out": timed_out,
    "cut off": cut_off,
    "failed at Hedra": failed_at_hedra,
    "edited and back": edited_and_back,
    "deleted and made again": deleted_and_made_again,
    "another run": another_run,
    "a shared key": shared_key,
    "a rotated key, ids named": Rotated(named=True),
    "a rotated key, ids not named": Rotated(named=False),
    "v3, cut off": cut_off_v3,
    "v3, another portrait": spoken_and_another_portrait,
    "v3, deleted and made again, state_path": deleted_and_made_again_with_state_path,
}


@pytest.mark.parametrize("story", STORIES)
def test_what_is_paid(outcome_of: dict[str, Future[None]], story: str):
    outcome_of[story].result()


def test_a_backfill_pays_for_each_run(
    outcome_of: dict[str, Future[None]], crashable_airflow: CrashableAirflow, tmp_path: Path
):
    """Reprocessing a backfill is a clear."""
    for story in outcome_of.values():
        # Airflow makes no backfills while others write to SQLite.
        story.exception()
    with Story(crashable_airflow, tmp_path, "backfill", "daily") as story:
        story.conf["destination"] = f"{story.folder}/"
        for reprocess, first_try in (("none", 1), ("completed", 2)):
            for run_id in story.backfill(("2024-01-01", "2024-01-02"), reprocess):
                story.run_id = run_id
                story.finish(try_number=first_try)
            story.wait_until_backfilled()
            assert len(story.paid()) == 2
        files = {path.stem for path in story.folder.iterdir()}
        assert files == {row["generation_id"] for row in story.paid()}
