"""A text with a v3 key: the speech is a job of its own, and the avatar is another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider.operators import HedraAvatarVideoOperator
from tests.airflow_names import TaskDeferred
from tests.operators.helpers import Logged
from tests.tasks import TaskInstance, context_of, fire

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox

pytestmark = pytest.mark.hedra_sandbox(api="3", media=False)

TEXT = "Good morning."


def spoken(portrait: str, **changes: Any) -> Any:
    given = {"task_id": "avatar", "image": portrait, "text": TEXT, "voice": "Ada", "poll_interval": 0.05}
    return HedraAvatarVideoOperator(**(given | changes))


def run(operator: Any, ti: TaskInstance) -> Any:
    """Execute an operator to its end, through all its deferrals; each is continued by a new process."""
    step, kwargs = operator.execute, {}
    for _ in range(5):
        try:
            return step(context_of(ti), **kwargs)
        except TaskDeferred as deferred:
            kwargs = {"event": fire(deferred.trigger)}
            step = getattr(operator, deferred.method_name)
    raise AssertionError("deferred for ever")


@pytest.mark.parametrize("deferrable", [False, True])
def test_the_speech_is_paid_for_then_the_avatar(
    hedra_sandbox: Sandbox, portrait: str, logged: Logged, deferrable: bool
):
    ti = TaskInstance()
    result = run(spoken(portrait, deferrable=deferrable), ti)
    speech, video = hedra_sandbox.submissions_v3
    assert (speech["model"], video["model"]) == ("elevenlabs-v3", "hedra-avatar")
    assert ti.xcoms["speech_generation_id"] == speech["job_id"] == result["speech"]["generation_id"]
    assert ti.xcoms["generation_id"] == video["job_id"] == result["generation_id"]
    assert ti.pushed.index("speech_generation_id") < ti.pushed.index("generation_id")
    asset_id = result["speech"]["asset_id"]
    assert video["body"]["input"]["audio"] == {"source": "asset", "asset_id": asset_id}
    assert result["speech"]["cost"] == pytest.approx(speech["usd"])
    assert len(hedra_sandbox.requests("POST", "/v3/files")) == 1
    log = logged()
    assert speech["job_id"] in log
    assert video["job_id"] in log
