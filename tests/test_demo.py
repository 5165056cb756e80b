"""What `make demo-live` shows before it pays, and the costs in the demo's table. The sandbox plays Hedra."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest

from scripts import demo, demo_report

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox


class Screen(demo.Screen):
    def __init__(self) -> None:
        self.text = ""

    def print(self, text: str, end: str = "\n") -> None:
        self.text += text + end


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def ask(monkeypatch: pytest.MonkeyPatch, key: str, base_url: str, answer: str) -> tuple[bool, str]:
    """Return whether the demo would go on, and what it shows before."""
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    screen = Screen()
    return demo.agreed(screen, key, base_url, 6.7), screen.text


@pytest.mark.hedra_sandbox(api="3", media=False, usd=12.5)
@pytest.mark.parametrize(("answer", "agreed"), [("y\n", True), ("\n", False), ("no\n", False), ("", False)])
def test_a_v3_key_shows_dollars_and_asks(
    hedra_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, answer: str, agreed: bool
):
    result, shown = ask(monkeypatch, hedra_sandbox.api_key, hedra_sandbox.base_url, answer)
    assert result is agreed
    assert "6.7 s of hedra-avatar in 720p at 0.05 USD/s: about 0.34 USD" in shown
    assert "Balance: 12.5 USD\nSpend this? [y/N]" in shown
    assert ("Nothing was spent." in shown) is not agreed
    assert [row["method"] for row in hedra_sandbox.ledger()["requests"]] == ["GET"]


@pytest.mark.hedra_sandbox(media=False, credits=500)
def test_a_v2_key_shows_credits_and_asks(hedra_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch):
    result, shown = ask(monkeypatch, hedra_sandbox.api_key, hedra_sandbox.base_url, "yes\n")
    assert result
    assert "about 21 credits" in shown
    assert "Credits remaining: 500\n" in shown
    assert {row["method"] for row in hedra_sandbox.ledger()["requests"]} == {"GET"}


def test_without_a_terminal_nothing_is_asked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    screen = Screen()
    assert not demo.agreed(screen, "id:secret", "http://127.0.0.1:9", 1.0)
    assert "needs a terminal" in screen.text


@pytest.mark.hedra_sandbox(api="3", media=False)
def test_a_rejected_key_is_named(hedra_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch):
    result, shown = ask(monkeypatch, "another:key", hedra_sandbox.base_url, "y\n")
    assert not result
    assert "401" in shown
    assert "another:key" not in shown


def test_costs_are_in_the_currency_of_the_key():
    nothing = {"requests": [], "submissions": [], "submissions_v3": []}
    v2 = nothing | {"submissions": [{"generation_id": "a", "credits": 21}]}
    v3 = nothing | {"submissions_v3": [{"job_id": "job_a", "usd": 0.335}, {"job_id": "job_b", "usd": 9}]}
    assert demo_report.from_ledger(v2, "a")["paid"] == "21 credits (of the sandbox), in 1 submission(s)"
    assert demo_report.from_ledger(v3, "job_a")["paid"] == "0.335 USD (of the sandbox), in 1 submission(s)"
