"""The v3 column of "what you do and what is paid" (docs/explanation/paid-once.md), by the operators.

Each row in both durable places: Airflow's task state, and a ``state_path``. What a real Airflow does to its
tasks (clears, deleted runs, kills) is in ``tests/system``; each order of events within a submit is in
``tests/submission/v3``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from hedra_provider.operators import HedraAvatarVideoOperator
from hedra_provider.sandbox.v3.models import VOICES
from tests.airflow_names import AirflowException, AirflowFailException, TaskDeferred
from tests.faults.clock import MovedClock, moved_clock
from tests.media import png
from tests.operators.helpers import Logged
from tests.tasks import TaskInstance, fire

if TYPE_CHECKING:
    from pathlib import Path

    from hedra_provider.testing import Sandbox

MINUTE, HOUR = 60.0, 3600.0
KEY_HOURS = 24.0
"""How long the sandbox remembers an idempotency key; of Hedra it is not known."""
SUBMIT = "POST /v3/models/{model}"
EVERY_SUBMIT_CUT = {"on": SUBMIT, "when": "after", "times": None, "reset": True}
NO_SUBMIT_ARRIVES = {"on": SUBMIT, "when": "before", "times": None, "reset": True}
SPEECH, AVATAR = "elevenlabs-v3", "hedra-avatar"

pytestmark = pytest.mark.hedra_sandbox(api=3, media=False)


class TaskState:
    """Airflow's accessor of the state of one task run, without Airflow."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self.values.get(key)

    def set(self, key: str, value: Any, *, retention: Any) -> None:
        self.values[key] = value


@dataclass
class Shop:
    """
    A connection with a v3 key, and the task runs that use it.

    :param state_path: Of the connection; None: the records are in the task state.
    """

    sandbox: Sandbox
    patch: pytest.MonkeyPatch
    portrait: str
    voice: str
    clock: MovedClock
    state_path: str | None
    extra: dict[str, Any] = field(default_factory=dict)
    states: dict[str, TaskState] = field(default_factory=dict)

    def connect(self, api_key: str | None = None, *, api: int = 3, **extra: Any) -> None:
        """Put the connection into the environment."""
        connection = json.loads(self.sandbox.connection_v3 if api == 3 else self.sandbox.connection)
        self.extra |= extra
        connection["extra"] = {**self.extra, **({"state_path": self.state_path} if self.state_path else {})}
        if api_key is not None:
            connection["password"] = api_key
            self.sandbox.change_key(api_key)
        self.patch.setenv("AIRFLOW_CONN_HEDRA_DEFAULT", json.dumps(connection))

    def attempt(
        self,
        try_number: int = 1,
        *,
        max_tries: int = 3,
        run_id: str = "manual__1",
        began: str = "",
        **changes: Any,
    ) -> dict[str, Any]:
        """Run a try to its end. ``max_tries`` moves at a clear, ``began`` when a run is made again."""
        ti = TaskInstance(try_number=try_number, max_tries=max_tries, run_id=run_id)
        context: Any = {"ti": ti, "task_instance": ti, "dag_run": SimpleNamespace(start_date=began)}
        if AIRFLOW_V_3_3_PLUS:
            context["task_state_store"] = self.states.setdefault(run_id, TaskState())
        arguments = {"task_id": "avatar", "image": self.portrait, "resolution": "540p", "deferrable": True}
        sound = {} if "text" in changes or "audio" in changes else {"audio": self.voice}
        operator = HedraAvatarVideoOperator(**(arguments | sound | changes))
        method, event = "execute", {}
        for _ in range(20):
            try:
                result: dict[str, Any] = getattr(operator, method)(context, **event)
                return result
            except TaskDeferred as deferred:
                method, event = deferred.method_name, {"event": fire(deferred.trigger)}
                operator = HedraAvatarVideoOperator(**(arguments | sound | changes))
        raise AssertionError("deferred for ever")

    def paid(self) -> list[str]:
        """The models that were paid for, in their order."""
        return [row["model"] for row in self.sandbox.submissions_v3 if row["usd"]]

    def jobs(self) -> list[str]:
        """The jobs that were paid for, in their order."""
        return [row["job_id"] for row in self.sandbox.submissions_v3 if row["usd"]]

    def delete_run(self, run_id: str = "manual__1") -> None:
        """Delete a run: Airflow deletes the state of its tasks with it."""
        self.states.pop(run_id, None)


@pytest.fixture(
    params=[
        "state_path",
        pytest.param(
            "task state", marks=pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="needs Airflow 3.3")
        ),
    ]
)
def shop(
    request: pytest.FixtureRequest,
    hedra_sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    portrait: str,
    voice: str,
    tmp_path: Path,
) -> Iterator[Shop]:
    with moved_clock() as clock:
        path = str(tmp_path / "records") if request.param == "state_path" else None
        shop = Shop(hedra_sandbox, monkeypatch, portrait, voice, clock, path)
        shop.connect()
        yield shop


@pytest.fixture
def another_portrait(tmp_path: Path) -> str:
    path = tmp_path / "another.png"
    path.write_bytes(png(width=300))
    return str(path)


def spoken(**changes: Any) -> dict[str, Any]:
    return {"text": "Good morning", "voice_id": VOICES[0]["id"], **changes}


def test_a_retry_pays_nothing_again_whatever_it_renders_to(shop: Shop):
    first = shop.attempt()
    retry = shop.attempt(2, text_prompt="rendered otherwise now")
    assert retry["generation_id"] == first["generation_id"] == shop.jobs()[0]
    assert shop.paid() == [AVATAR]
    assert len(shop.sandbox.requests("POST", "/v3/files")) == 2


def test_a_retry_of_two_steps_pays_nothing_again(shop: Shop):
    first = shop.attempt(**spoken())
    retry = shop.attempt(2, **spoken(text="rendered otherwise now"))
    assert retry["generation_id"] == first["generation_id"]
    assert shop.paid() == [SPEECH, AVATAR]


def test_a_clear_pays_only_for_what_changed_and_nothing_on_the_way_back(shop: Shop):
    first = shop.attempt()
    assert shop.attempt(2, max_tries=4)["generation_id"] == first["generation_id"]
    edited = shop.attempt(3, max_tries=5, text_prompt="A singing person")
    assert edited["generation_id"] != first["generation_id"]
    assert shop.attempt(4, max_tries=6)["generation_id"] == first["generation_id"]
    assert shop.paid() == [AVATAR] * 2


def test_another_portrait_is_another_request(shop: Shop, another_portrait: str):
    first = shop.attempt()
    edited = shop.attempt(2, max_tries=4, image=another_portrait)
    assert edited["generation_id"] != first["generation_id"]
    assert shop.paid() == [AVATAR] * 2


def test_a_failed_job_is_replaced_and_was_refunded(shop: Shop):
    shop.sandbox.faults({"on": SUBMIT, "generation_error": {"code": "INTERNAL", "message": "no luck"}})
    with pytest.raises(AirflowException):
        shop.attempt()
    assert shop.attempt(2)["generation_id"] == shop.jobs()[1]
    usd = shop.sandbox.ledger()["usd"]
    assert (usd["spent"], usd["refunded"]) == pytest.approx((usd["refunded"],) * 2)


def test_on_clear_new_pays_at_each_clear_and_at_no_retry(shop: Shop):
    for try_number, max_tries, paid in ((1, 3, 1), (2, 3, 1), (3, 5, 2), (4, 5, 2), (5, 7, 3)):
        shop.attempt(try_number, max_tries=max_tries, on_clear="new")
        assert len(shop.paid()) == paid


@pytest.mark.parametrize(("hours", "paid"), [(1, [AVATAR]), (25, [SPEECH, AVATAR])])
def test_a_later_clear_with_another_portrait_pays_the_speech_again_after_24_hours(
    shop: Shop, another_portrait: str, hours: int, paid: list[str]
):
    shop.attempt(**spoken())
    shop.clock.sleep(hours * HOUR)
    shop.attempt(2, max_tries=4, **spoken(image=another_portrait))
    assert shop.paid() == [SPEECH, AVATAR, *paid]


@pytest.mark.parametrize("hours", [0, 1, KEY_HOURS + 1])
def test_a_deleted_run_that_is_made_again(shop: Shop, hours: float):
    """
    Airflow deletes the task's state with the run, and by ``[state_store] clear_on_success`` at its end.

    With a ``state_path`` nothing is forgotten. Without it, a job of the last five minutes may be that of a
    lost submit; an older one is not.
    """
    first = shop.attempt(began="yesterday")
    shop.delete_run()
    shop.clock.sleep(hours * HOUR)
    if shop.state_path:
        again = shop.attempt(began="today")
        assert (again["generation_id"], shop.paid()) == (first["generation_id"], [AVATAR])
    elif not hours:
        # Hedra knows the idempotency key, and not these bytes: their upload handles are new.
        with pytest.raises(AirflowFailException, match=first["generation_id"]) as raised:
            shop.attempt(began="today")
        assert "Nothing more is submitted" in str(raised.value)
        assert shop.paid() == [AVATAR]
        again = shop.attempt(2, began="today", generation_id=first["generation_id"])
        assert (again["generation_id"], shop.paid()) == (first["generation_id"], [AVATAR])
    else:
        shop.attempt(began="today")
        assert shop.paid() == [AVATAR] * 2


def test_another_run_pays_for_itself(shop: Shop):
    """A backfill, too: it makes runs."""
    shop.attempt()
    shop.attempt(run_id="backfill__2024-01-01")
    assert shop.paid() == [AVATAR] * 2


def test_a_shared_idempotency_key_pays_once_for_one_request(shop: Shop):
    if shop.state_path is None:
        with pytest.raises(AirflowFailException, match="state_path"):
            shop.attempt(idempotency_key="shop/blue shoe")
        assert shop.sandbox.requests("POST", "/v3/files") == []
        return
    first = shop.attempt(idempotency_key="shop/blue shoe")
    other = shop.attempt(run_id="manual__2", idempotency_key="shop/blue shoe")
    assert (other["generation_id"], other["adopted"]) == (first["generation_id"], True)
    shop.attempt(run_id="manual__3", idempotency_key="shop/blue shoe", text_prompt="A singing person")
    assert shop.paid() == [AVATAR] * 2


@pytest.mark.parametrize("extra", [{}, {"id_namespace": "shop"}], ids=["no id_namespace", "id_namespace"])
def test_a_rotated_key_finds_what_was_paid(shop: Shop, extra: dict[str, Any]):
    shop.connect(**extra)
    first = shop.attempt()
    shop.connect("rotated:secret")
    assert shop.attempt(2)["generation_id"] == first["generation_id"]
    assert shop.attempt(3, max_tries=5)["generation_id"] == first["generation_id"]
    assert shop.paid() == [AVATAR]


def test_a_rotated_key_cant_send_again_and_pays_nothing(shop: Shop):
    """The record of the bytes is encrypted with the old key, and the list shows the new owner's jobs only."""
    shop.sandbox.faults(EVERY_SUBMIT_CUT)
    with pytest.raises(AirflowException):
        shop.attempt()
    shop.sandbox.faults()
    shop.connect("rotated:secret")
    with pytest.raises(AirflowFailException, match="another owner"):
        shop.attempt(2)
    assert shop.paid() == [AVATAR]


def test_a_job_that_is_named_is_adopted_and_retries_keep_to_it(shop: Shop):
    shop.attempt(run_id="deleted")
    shop.delete_run("deleted")
    (job,) = shop.jobs()
    assert shop.attempt(generation_id=job)["generation_id"] == job
    assert shop.attempt(2)["generation_id"] == job
    assert shop.paid() == [AVATAR]


@pytest.mark.hedra_sandbox(media=False)
def test_a_task_that_submitted_with_a_v2_key_stops_with_a_v3_key(shop: Shop):
    shop.connect(api=2)
    generation_id = shop.attempt()["generation_id"]
    shop.connect(api=3)
    for try_number, max_tries in ((2, 3), (3, 5)):
        with pytest.raises(AirflowFailException, match=generation_id) as raised:
            shop.attempt(try_number, max_tries=max_tries)
        assert "v2 key" in str(raised.value)
    assert shop.paid() == []
    assert shop.sandbox.requests("POST", "/v3/files") == []
    shop.attempt(4, max_tries=7, on_clear="new")
    assert shop.paid() == [AVATAR]


# The outcome of a submit is unknown


def test_every_submit_cut_after_it_was_charged_is_paid_once(shop: Shop):
    """With ``retries=3``: each send of three tries is cut, the last try's is answered."""
    shop.sandbox.faults(EVERY_SUBMIT_CUT)
    for try_number in (1, 2, 3):
        with pytest.raises(AirflowException) as raised:
            shop.attempt(try_number)
        assert not isinstance(raised.value, AirflowFailException)
        shop.clock.sleep(5 * MINUTE)
    shop.sandbox.faults()
    assert shop.attempt(4)["generation_id"] == shop.jobs()[0]
    rows = shop.sandbox.submissions_v3
    assert len(rows) == 10
    assert len({(row["idempotency_key"], row["body_sha256"]) for row in rows}) == 1
    assert shop.paid() == [AVATAR]


@pytest.mark.parametrize("step", [SPEECH, AVATAR])
def test_each_of_two_steps_that_is_cut_is_paid_once(shop: Shop, step: str):
    shop.sandbox.faults({**EVERY_SUBMIT_CUT, "on": f"POST /v3/models/{step}"})
    with pytest.raises(AirflowException):
        shop.attempt(**spoken())
    shop.sandbox.faults()
    shop.attempt(2, **spoken())
    assert shop.paid() == [SPEECH, AVATAR]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="keys are remembered"),
        pytest.param({"key_hours": 0.5}, id="keys are forgotten"),
    ],
)
def test_beyond_the_window_nothing_is_paid_again_and_the_candidate_is_named(
    request: pytest.FixtureRequest, shop: Shop, hedra_sandboxes: Any, options: dict[str, Any]
):
    shop.sandbox = hedra_sandboxes.get(api=3, media=False, **options)
    shop.connect()
    shop.sandbox.faults(EVERY_SUBMIT_CUT)
    with pytest.raises(AirflowException):
        shop.attempt()
    shop.clock.sleep(40 * MINUTE)
    with pytest.raises(AirflowFailException) as raised:
        shop.attempt(2)
    (job,) = shop.jobs()
    error = str(raised.value)
    for word in (job, "is unknown", "Nothing more is submitted", 'generation_id="job_..."', 'on_clear="new"'):
        assert word in error
    assert "another idempotency_key" in error
    sent = len(shop.sandbox.submissions_v3)
    # Neither does a clear of the same request, nor another retry.
    for try_number, max_tries in ((3, 3), (4, 6)):
        with pytest.raises(AirflowFailException, match=job):
            shop.attempt(try_number, max_tries=max_tries)
    assert len(shop.sandbox.submissions_v3) == sent
    assert shop.paid() == [AVATAR]
    # The ways on that the message names.
    shop.sandbox.faults()
    assert shop.attempt(5, max_tries=7, generation_id=job)["generation_id"] == job
    assert shop.paid() == [AVATAR]


def test_beyond_the_window_on_clear_new_pays(shop: Shop):
    shop.sandbox.faults(EVERY_SUBMIT_CUT)
    with pytest.raises(AirflowException):
        shop.attempt()
    shop.sandbox.faults()
    shop.clock.sleep(40 * MINUTE)
    shop.attempt(2, max_tries=4, on_clear="new")
    assert shop.paid() == [AVATAR] * 2


def test_beyond_the_window_a_submit_that_never_arrived_is_paid_once(shop: Shop):
    shop.sandbox.faults(NO_SUBMIT_ARRIVES)
    with pytest.raises(AirflowException):
        shop.attempt()
    shop.sandbox.faults()
    shop.clock.sleep(40 * MINUTE)
    shop.attempt(2)
    assert shop.paid() == [AVATAR]
    keys = {row["idempotency_key"] for row in shop.sandbox.submissions_v3}
    assert len(keys) == 1


def test_a_clear_with_another_request_names_the_submit_that_may_be_paid_too(shop: Shop, logged: Logged):
    shop.sandbox.faults(EVERY_SUBMIT_CUT)
    with pytest.raises(AirflowException):
        shop.attempt()
    shop.sandbox.faults()
    shop.attempt(2, max_tries=4, text_prompt="A singing person")
    assert shop.paid() == [AVATAR] * 2
    assert "may be accepted and paid for: its outcome is unknown" in logged()
