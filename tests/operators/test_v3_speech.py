"""A text with a v3 key: the speech is a job of its own, and the avatar is another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider.hooks import HedraHook
from hedra_provider.operators import HedraAvatarVideoOperator
from hedra_provider.testing import CONNECTION_VARIABLE
from tests.airflow_names import AirflowException, AirflowFailException, TaskDeferred
from tests.operators.helpers import Logged
from tests.tasks import TaskInstance, context_of, fire

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox, Sandboxes

pytestmark = pytest.mark.hedra_sandbox(api="3", media=False)

TEXT, SPEECH, AVATAR = "Good morning.", "elevenlabs-v3", "hedra-avatar"
DARK = {"on": f"POST /v3/models/{AVATAR}", "generation_error": {"error_message": "dark"}}


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


def test_an_avatar_that_failed_is_made_again_of_the_same_speech(hedra_sandbox: Sandbox, portrait: str):
    hedra_sandbox.faults(DARK)
    ti = TaskInstance()
    with pytest.raises(AirflowException, match="dark"):
        run(spoken(portrait), ti)
    assert ti.xcoms["generation"]["status"] == "error"
    result = run(spoken(portrait), TaskInstance(try_number=2))
    speech, failed, video = hedra_sandbox.submissions_v3
    assert [row["model"] for row in (speech, failed, video)] == [SPEECH, AVATAR, AVATAR]
    assert result["generation_id"] == video["job_id"]
    assert result["speech"]["generation_id"] == speech["job_id"]


def test_a_speech_that_failed_is_no_result_and_is_made_again(hedra_sandbox: Sandbox, portrait: str):
    hedra_sandbox.faults({"on": f"POST /v3/models/{SPEECH}", "generation_error": {"error_message": "hoarse"}})
    ti = TaskInstance()
    with pytest.raises(AirflowException, match="hoarse"):
        run(spoken(portrait), ti)
    assert "generation" not in ti.xcoms
    assert "generation_id" not in ti.xcoms
    run(spoken(portrait), TaskInstance(try_number=2))
    assert [row["model"] for row in hedra_sandbox.submissions_v3] == [SPEECH, SPEECH, AVATAR]


@pytest.mark.hedra_sandbox(api="3", media=False, seconds=60)
def test_a_try_that_ends_in_its_speech_is_continued_by_the_next(hedra_sandbox: Sandbox, portrait: str):
    with pytest.raises(TaskDeferred):
        spoken(portrait, deferrable=True).execute(context_of(TaskInstance()))
    # Without the portrait: a speech that runs needs no request.
    with pytest.raises(TaskDeferred) as deferred:
        spoken("/nowhere.png", deferrable=True).execute(context_of(TaskInstance(try_number=2)))
    (speech,) = hedra_sandbox.submissions_v3
    assert deferred.value.trigger.generation_ids == [speech["job_id"]]
    hedra_sandbox.advance(60)
    with pytest.raises(TaskDeferred) as deferred:
        spoken(portrait, deferrable=True).execute(context_of(TaskInstance(try_number=3)))
    _, video = hedra_sandbox.submissions_v3
    assert deferred.value.trigger.generation_ids == [video["job_id"]]


def test_a_clear_adopts_both_and_another_text_pays_for_both(hedra_sandbox: Sandbox, portrait: str):
    first = run(spoken(portrait), TaskInstance())
    cleared = run(spoken(portrait), TaskInstance(try_number=2, max_tries=3))
    assert (cleared["generation_id"], cleared["adopted"]) == (first["generation_id"], True)
    assert cleared["speech"] == first["speech"]
    assert len(hedra_sandbox.submissions_v3) == 2
    run(spoken(portrait, text="Good night."), TaskInstance(try_number=3, max_tries=4))
    assert [row["model"] for row in hedra_sandbox.submissions_v3] == 2 * [SPEECH, AVATAR]


@pytest.mark.parametrize("hours", [25, 100])
def test_a_speech_that_hedra_erased_is_paid_for_again(
    hedra_sandbox: Sandbox, portrait: str, logged: Logged, hours: int
):
    hedra_sandbox.faults(DARK)
    with pytest.raises(AirflowException, match="dark"):
        run(spoken(portrait), TaskInstance())
    hedra_sandbox.advance(hours * 3600)
    result = run(spoken(portrait), TaskInstance(try_number=2))
    assert [row["model"] for row in hedra_sandbox.submissions_v3] == [SPEECH, AVATAR, SPEECH, AVATAR]
    assert result["speech"]["generation_id"] == hedra_sandbox.submissions_v3[2]["job_id"]
    assert "The speech is submitted and paid for again" in logged()


def test_a_complete_speech_without_an_output_is_paid_for_once(hedra_sandbox: Sandbox, portrait: str):
    hedra_sandbox.faults({"on": "GET /v3/jobs/{id}", "patch": {"outputs": []}, "times": None})
    for try_number in (1, 2):
        with pytest.raises(AirflowException, match="is complete, but Hedra names no output of it"):
            run(spoken(portrait), TaskInstance(try_number=try_number))
    assert [row["model"] for row in hedra_sandbox.submissions_v3] == [SPEECH]
    hedra_sandbox.faults()
    run(spoken(portrait), TaskInstance(try_number=3))
    assert [row["model"] for row in hedra_sandbox.submissions_v3] == [SPEECH, AVATAR]


def test_a_task_that_does_not_wait_waits_for_the_speech_alone(hedra_sandbox: Sandbox, portrait: str):
    result = run(spoken(portrait, wait_for_completion=False), TaskInstance())
    _, video = hedra_sandbox.submissions_v3
    assert result["generation_id"] == video["job_id"]


@pytest.mark.parametrize(
    ("given", "voice"),
    [
        ({"voice": "jonas"}, "Jonas"),
        ({"voice": {"language": "Spanish", "gender": "female"}}, "Luc\u00eda"),
        ({"voice": '{"language": "fr"}'}, "Camille"),
    ],
)
@pytest.mark.parametrize("api", ["2", "3"])
def test_a_voice_is_found_by_name_or_labels_with_both_kinds_of_key(
    hedra_sandboxes: Sandboxes,
    portrait: str,
    monkeypatch: pytest.MonkeyPatch,
    api: str,
    given: Any,
    voice: str,
):
    sandbox = hedra_sandboxes.get(api=api, media=False)
    monkeypatch.setenv(CONNECTION_VARIABLE, sandbox.connection)
    (wanted,) = [one for one in catalogue_voices() if one.name == voice]
    run(spoken(portrait, wait_for_completion=False, **given), TaskInstance())
    if api == "2":
        sent = sandbox.submissions[0]["request"]["audio_generation"]["voice_id"]
    else:
        sent = sandbox.submissions_v3[0]["body"]["input"]["voice_id"]
    assert sent == wanted.id


def catalogue_voices() -> Any:
    hook = HedraHook()
    return hook.run(hook.service.voices())


@pytest.mark.parametrize("api", ["2", "3"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"voice": "Nobody"}, "no voice has the name or the id 'Nobody'"),
        ({"voice_id": "x"}, "voice and voice_id are both given"),
        ({"voice": None}, "text is given without voice_id"),
    ],
)
def test_a_voice_that_does_not_decide_costs_nothing(
    hedra_sandboxes: Sandboxes,
    portrait: str,
    monkeypatch: pytest.MonkeyPatch,
    api: str,
    given: Any,
    message: str,
):
    sandbox = hedra_sandboxes.get(api=api, media=False)
    monkeypatch.setenv(CONNECTION_VARIABLE, sandbox.connection)
    with pytest.raises(AirflowFailException, match=message):
        run(spoken(portrait, **given), TaskInstance())
    assert sandbox.requests("POST") == []


def test_the_language_and_the_speed_go_to_the_speech(hedra_sandbox: Sandbox, portrait: str):
    run(
        spoken(portrait, language="German", speed=1.1, stability=0.5, wait_for_completion=False),
        TaskInstance(),
    )
    sent = hedra_sandbox.submissions_v3[0]["body"]["input"]
    assert (sent["language"], sent["speed"], sent["stability"]) == ("de", 1.1, 0.5)
