"""Money with a v3 key: limits, results, the table of requests and the balance, in US dollars."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider.operators import HedraCreditsCheckOperator
from hedra_provider.sensors import HedraCreditsSensor
from hedra_provider.testing import CONNECTION_VARIABLE
from hedra_provider.triggers import HedraCreditsTrigger
from tests.airflow_names import AirflowException, AirflowFailException
from tests.operators.helpers import Logged, avatar
from tests.tasks import SensorInstance, TaskInstance, context_of, fire, run, wait

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox

pytestmark = pytest.mark.hedra_sandbox(api="3", media=False)


def charged(sandbox: Sandbox) -> list[Any]:
    return [row["usd"] for row in sandbox.submissions_v3 if row["usd"] > 0]


def test_the_result_and_the_log_say_what_it_cost_in_dollars(
    hedra_sandbox: Sandbox, portrait: str, voice: str, logged: Logged
):
    ti = TaskInstance()
    result = run(avatar(portrait, voice, max_cost="2.50"), ti)
    (usd,) = charged(hedra_sandbox)
    assert Decimal(str(result["cost"])) == Decimal(str(usd)) == Decimal(str(result["cost_paid"]))
    assert (result["currency"], result["credit_cost"], result["credits_paid"]) == ("USD", None, None)
    assert result["expires_at"]
    json.dumps(ti.xcoms["estimate"])
    assert ti.xcoms["estimate"]["currency"] == "USD"
    assert "credit_estimate" not in ti.xcoms
    assert "USD" in logged()
    assert "credits" not in logged()


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_cost": 0.01}, "max_cost is 0.01"),
        ({"max_credits": 50}, "Give max_cost, in US dollars"),
        ({"max_credits": 50, "max_cost": "0.01"}, "max_cost is 0.01"),
        ({"max_cost": "much"}, "an amount of US dollars"),
    ],
)
def test_a_limit_stops_the_submit(
    hedra_sandbox: Sandbox, portrait: str, voice: str, limits: dict[str, Any], message: str
):
    with pytest.raises(AirflowFailException, match=message):
        run(avatar(portrait, voice, **limits))
    assert hedra_sandbox.submissions_v3 == []
    assert hedra_sandbox.requests("POST", "/v3/files") == []


def test_with_both_limits_the_dollars_count(hedra_sandbox: Sandbox, portrait: str, voice: str):
    run(avatar(portrait, voice, max_credits=1, max_cost=5))
    assert len(charged(hedra_sandbox)) == 1


@pytest.mark.hedra_sandbox(media=False)
def test_with_a_v2_key_max_cost_alone_names_max_credits(hedra_sandbox: Sandbox, portrait: str, voice: str):
    with pytest.raises(AirflowFailException, match="Give max_credits, in credits"):
        run(avatar(portrait, voice, max_cost=5))
    assert hedra_sandbox.submissions == []
    run(avatar(portrait, voice, max_cost=0.01, max_credits=500))
    assert len(hedra_sandbox.submissions) == 1


def test_a_cost_far_from_its_estimate_is_a_warning(
    hedra_sandbox: Sandbox, portrait: str, voice: str, logged: Logged, monkeypatch: pytest.MonkeyPatch
):
    fields = json.loads(hedra_sandbox.connection)
    fields["extra"]["prices"] = {"hedra-avatar": {"540p": 0.001}}
    monkeypatch.setenv(CONNECTION_VARIABLE, json.dumps(fields))
    run(avatar(portrait, voice))
    assert "above the estimate of" in logged()


def check(rows: list[dict[str, Any]], **changes: Any) -> HedraCreditsCheckOperator:
    return HedraCreditsCheckOperator(task_id="check", requests=rows, **changes)


ROWS = [{"resolution": "540p", "duration_ms": 10_000}, {"resolution": "720p", "duration_ms": 10_000}]


@pytest.mark.hedra_sandbox(api="3", media=False, usd=100)
def test_a_table_is_added_up_in_dollars(hedra_sandbox: Sandbox):
    found = run(check(ROWS, max_cost=0.75))
    assert found == {
        "requests": 2,
        "low": 0.75,
        "high": 0.75,
        "available": 100.0,
        "currency": "USD",
        "workspace_id": None,
    }
    with pytest.raises(AirflowFailException, match=r"max_cost is 0.74"):
        run(check(ROWS, max_cost=0.74))
    with pytest.raises(AirflowFailException, match="Give max_cost"):
        run(check(ROWS, max_credits=1))


@pytest.mark.hedra_sandbox(api="3", media=False, usd=0.5)
def test_a_table_that_the_wallet_can_not_pay_fails(hedra_sandbox: Sandbox):
    with pytest.raises(AirflowException, match=r"0\.50 USD"):
        run(check(ROWS))


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.hedra_sandbox(api="3", media=False, usd=20)
def test_a_sensor_waits_for_dollars(hedra_sandbox: Sandbox, deferrable: bool):
    sensor = HedraCreditsSensor(task_id="wait", minimum=10_000, minimum_usd="12.5", deferrable=deferrable)
    found = wait(sensor)
    assert found == {"available": 20.0, "minimum": 12.5, "currency": "USD", "workspace_id": None}


def test_a_sensor_without_dollars_names_them(hedra_sandbox: Sandbox):
    with pytest.raises(AirflowFailException, match="Give minimum_usd, in USD"):
        HedraCreditsSensor(task_id="wait", minimum=1).execute(context_of(SensorInstance()))


@pytest.mark.hedra_sandbox(api="3", media=False, usd=5)
def test_a_trigger_of_dollars_waits_and_times_out_in_dollars(hedra_sandbox: Sandbox):
    event = fire(HedraCreditsTrigger(minimum=12.5, currency="USD", end_time=0.0))
    assert "5.00 USD, less than 12.5" in event["failure"]["message"]
    assert fire(HedraCreditsTrigger(minimum=4.5, currency="USD", end_time=0.0))["available"] == 5.0
    other = fire(HedraCreditsTrigger(minimum=4, end_time=0.0))
    assert "pays with USD now" in other["failure"]["message"]
