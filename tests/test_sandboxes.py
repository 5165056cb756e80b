"""The sandboxes that tests share, each as if it were new."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hedra_provider.api import calls
from hedra_provider.api.client import HedraClient
from hedra_provider.testing import Sandboxes

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox


def credits_of(sandbox: Sandbox, key: str | None = None) -> int | None:
    with HedraClient(key or sandbox.api_key, base_url=sandbox.base_url) as client:
        return client.run(calls.get_credits()).remaining


def test_each_set_of_options_has_its_own_sandbox():
    with Sandboxes() as sandboxes:
        poor, poorer = sandboxes.get(media=False, credits=2), sandboxes.get(media=False, credits=1)
        assert (credits_of(poor), credits_of(poorer)) == (2, 1)
        assert sandboxes.get(credits=2, media=False) is poor
        # The first workspace is the connection's.
        one, two = (sandboxes.get(media=False, workspaces=dict.fromkeys(names, 9)) for names in ("ab", "ba"))
        extras = [json.loads(sandbox.connection)["extra"]["workspace_id"] for sandbox in (one, two)]
        assert extras == ["a", "b"]
    with pytest.raises(RuntimeError, match="not running"):
        poor.ledger()


def test_each_test_gets_a_fresh_sandbox():
    with Sandboxes() as sandboxes:
        sandbox = sandboxes.get(media=False)
        key = sandbox.api_key
        sandbox.advance(1000)
        sandbox.faults({"on": "GET /billing/credits", "patch": {"remaining": 1}, "times": None})
        assert credits_of(sandbox) == 1
        sandbox.change_key("another-key-of-the-sandbox")
        assert sandboxes.get(media=False) is sandbox
        assert sandbox.ledger()["requests"] == []
        assert credits_of(sandbox, key) == 10_000


@pytest.mark.hedra_sandbox(media=False, credits=3)
@pytest.mark.parametrize("_", range(2))
def test_the_same_marker_is_the_same_sandbox(hedra_sandbox: Sandbox, hedra_sandboxes: Sandboxes, _: int):
    assert hedra_sandboxes.get(media=False, credits=3) is hedra_sandbox


@pytest.mark.hedra_sandbox(media=False, max_bytes=1000)
def test_what_a_reset_leaves_is_not_shared(hedra_sandbox: Sandbox, hedra_sandboxes: Sandboxes):
    assert hedra_sandboxes.get(media=False, max_bytes=1000) is not hedra_sandbox
