"""A whole table is added up before its first row is paid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider.operators import (
    HedraAvatarVideoOperator,
    HedraCreditsCheckOperator,
    HedraUploadAssetOperator,
)
from tests.airflow_names import AirflowFailException
from tests.media import wav
from tests.tasks import run

if TYPE_CHECKING:
    from pathlib import Path

    from hedra_provider.testing import Sandbox

ROWS = [{"text": "Good morning. " * 20}, {"text": "Hello. " * 20, "resolution": "1080p", "speed": "0.9"}]


def check(rows: list[dict[str, Any]], **arguments: Any) -> dict[str, Any]:
    return run(HedraCreditsCheckOperator(task_id="check", requests=rows, **arguments))


def test_it_adds_up(hedra_sandbox: Sandbox):
    one, other = check(ROWS[:1]), check(ROWS[1:])
    both = check(ROWS)
    assert both["requests"] == 2
    assert (both["low"], both["high"]) == (one["low"] + other["low"], one["high"] + other["high"])
    assert both["available"] == 10_000
    assert hedra_sandbox.requests("POST") == []


def test_what_is_paid_lies_in_the_estimate(hedra_sandbox: Sandbox, tmp_path: Path):
    from hedra_provider.api import calls
    from hedra_provider.hooks import HedraHook
    from tests.media import png

    (tmp_path / "a.png").write_bytes(png())
    with HedraHook().get_conn() as client:
        voice = client.run(calls.list_voices())[0].id
    row = {"text": "Good morning. " * 3, "resolution": "540p"}
    estimate = check([row])
    paid = run(HedraAvatarVideoOperator(task_id="a", image=str(tmp_path / "a.png"), voice_id=voice, **row))[
        "credit_cost"
    ]
    assert estimate["low"] <= paid <= estimate["high"]


def test_an_audio_of_known_length_is_exact(hedra_sandbox: Sandbox, tmp_path: Path):
    (tmp_path / "a.wav").write_bytes(wav(10))
    audio = run(HedraUploadAssetOperator(task_id="u", source=str(tmp_path / "a.wav")))["asset_id"]
    found = check([{"audio": audio}, {"audio": audio, "resolution": "540p"}])
    assert (found["low"], found["high"]) == (45, 45)


def test_a_limit(hedra_sandbox: Sandbox):
    need = check(ROWS)["high"]
    assert check(ROWS, max_credits=str(need))["high"] == need
    with pytest.raises(
        AirflowFailException, match=f"2 requests together may cost .*{need}.* max_credits is {need - 1}"
    ):
        check(ROWS, max_credits=need - 1)


@pytest.mark.hedra_sandbox(workspaces={"poor": 10})
def test_what_is_there(hedra_sandbox: Sandbox):
    with pytest.raises(AirflowFailException, match="Workspace poor has 10 credits; up to") as raised:
        check(ROWS)
    assert "Nothing was submitted" in str(raised.value)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"audio": "/a/path.wav", "model": "no/such"}, r"requests\[0\].*can't be told"),
        ("text", r"requests\[0\] is str, not a dict"),
    ],
)
def test_a_row_that_cannot_be_priced_is_named(hedra_sandbox: Sandbox, row: Any, says: str):
    with pytest.raises(AirflowFailException, match=says):
        check([row])


def test_an_empty_table_costs_nothing(hedra_sandbox: Sandbox):
    assert check([])["high"] == 0
