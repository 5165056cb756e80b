"""A mapped run on API v3 at its rate limit, in a real Airflow: all videos, each paid once, no try lost.

Hedra allows 60 requests in 60 seconds. Here a window is a fifth of that, so that the run takes two minutes.
The polls take their default share, 30 requests in 60 seconds. ``HEDRA_TEXTS=100`` runs more than CI does.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from concurrent.futures import Future

    from tests.system.stories import Begin, RunStory

pytestmark = pytest.mark.crash

TEXTS = int(os.environ.get("HEDRA_TEXTS", "15"))
REQUESTS, WINDOW_SECONDS = 60, 12.0
SECONDS = 8.0


def many_texts(begin: Begin) -> None:
    """Each text becomes a speech and a video, whatever Hedra's rate limit allows at a time."""
    limits = {"requests_per_window": REQUESTS, "window_seconds": WINDOW_SECONDS}
    with begin("many_texts", api=3, seconds=SECONDS, **limits) as story:
        story.conf |= {"texts": TEXTS, "destination": f"{story.folder}/videos/"}
        story.start()
        assert story.airflow.wait_for_run(*story.key, seconds=240 + 8 * TEXTS) == "success"
        tasks = [row for row in story.airflow.task_instances(*story.key) if row["task_id"] == "clip"]
        assert len(tasks) == TEXTS
        assert {(row["state"], row["try_number"]) for row in tasks} == {("success", 1)}
        models = Counter(row["model"] for row in story.paid())
        assert (models["hedra-avatar"], sum(models.values())) == (TEXTS, 2 * TEXTS)
        videos = {path.stem: path.read_bytes() for path in (story.folder / "videos").iterdir()}
        made = {row["generation_id"] for row in story.paid() if row["model"] == "hedra-avatar"}
        assert videos.keys() == made
        for one, content in videos.items():
            story.hedra.advance(WINDOW_SECONDS)
            assert content == story.file_of(one)


STORIES: dict[str, RunStory] = {"many texts": many_texts}


@pytest.mark.parametrize("story", STORIES)
def test_a_mapped_run_at_the_rate_limit(outcome_of: dict[str, Future[None]], story: str):
    outcome_of[story].result()
